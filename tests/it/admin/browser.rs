//! A client that behaves as a browser does on the status page: it keeps the cookie, and sends forms with an `Origin`.

use std::net::SocketAddr;

use super::client::{Answer, TOKEN, parsed, raw};

/// A browser without JavaScript.
#[derive(Debug)]
pub(super) struct Browser {
    address: SocketAddr,
    base: String,
    cookie: String,
}

impl Browser {
    /// Makes a browser that is not logged in. `base` is the base path.
    pub(super) fn new(address: SocketAddr, base: &str) -> Self {
        Self { address, base: base.to_owned(), cookie: String::new() }
    }

    /// Logs in with the token.
    pub(super) fn logged_in(address: SocketAddr) -> Self {
        let mut browser = Self::new(address, "");
        browser.log_in();
        browser
    }

    /// Logs in with the token. Returns the answer.
    pub(super) fn log_in(&mut self) -> Answer {
        let answer = self.post("/login", &format!("token={TOKEN}"));
        assert_eq!(answer.status, 303, "{answer:?}");
        self.cookie = header(&answer, "set-cookie").split(';').next().unwrap().to_owned();
        answer
    }

    /// Asks for a page.
    pub(super) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Sends a form of the page.
    pub(super) fn post(&self, path: &str, form: &str) -> Answer {
        let origin = format!("http://{}", self.address);
        self.send("POST", path, &[("Origin", &origin)], form)
    }

    /// Sends a form of the page, and follows to the page that shows the result.
    pub(super) fn act(&self, path: &str, form: &str) -> Answer {
        let answer = self.post(path, form);
        assert_eq!(answer.status, 303, "{answer:?}");
        let place = header(&answer, "location");
        let place = place.split('#').next().unwrap().strip_prefix(&self.base).unwrap().to_owned();
        let page = self.get(&place);
        assert_eq!(page.status, 200, "{place}: {page:?}");
        page
    }

    /// Sends any request with the cookie.
    pub(super) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (address, base, cookie) = (self.address, &self.base, &self.cookie);
        let mut text = format!(
            "{method} {base}{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: text/html,*/*;q=0.8\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nCookie: {cookie}\r\n",
            body.len()
        );
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        let answer = parsed(&raw(address, (text + "\r\n" + body).as_bytes()));
        // Templates write a slash in a value like this.
        Answer { body: answer.body.replace("&#x2f;", "/"), ..answer }
    }
}

/// Returns the value of a header, in lower case.
pub(super) fn header(answer: &Answer, name: &str) -> String {
    let line = answer.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name}: {answer:?}")).to_owned()
}
