//! The client: sends one request and reads one response.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, LOCATION};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::budget::RateHeaders;
use super::error::{Error, KeyRefusal};
use super::options::Options;
use super::page::{NumberPage, PAGE_ROWS, Page};
use crate::domain::{Cursor, UnixMs};
use crate::http::body::{self, BodyError};
use crate::http::client::{self, ClientBuildError, ClientOptions, KEEP_IDLE};
use crate::http::{Proxy, date, failure};
use crate::secret::Secret;

/// The largest page that is read, in bytes. A usual page has a few kilobytes.
pub const PAGE_CAP: usize = 8 << 20;

/// How many bytes of the body are read if the answer is an error: enough for the error code.
const ERROR_CAP: usize = 64 << 10;

/// Asks the API for messages and numbers, with the first key that the API accepts.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    client_options: ClientOptions,
    proxy: Proxy,
    messages: Url,
    numbers: Url,
    keys: Vec<Secret>,
    current: usize,
}

/// The result of a request: the values from the headers of the answer, and the page.
#[derive(Debug)]
pub struct Response<P = Page> {
    /// The time by the API's clock, from the header `Date`.
    pub date: Option<UnixMs>,
    /// The rate limit, from the headers.
    pub rate: RateHeaders,
    /// The page, or the reason why there is no page.
    pub page: Result<P, Error>,
}

impl<P> Response<P> {
    /// Returns the HTTP status of the answer; `None` if there was no whole answer. A page has the status 200.
    pub fn status(&self) -> Option<u16> {
        match &self.page {
            Ok(_) => Some(200),
            Err(error) => error.status(),
        }
    }
}

impl Client {
    /// Builds a client that has sent nothing yet.
    ///
    /// # Errors
    /// An error if the machine cannot do HTTPS.
    pub fn build(options: &Options) -> Result<Self, ClientBuildError> {
        let client_options = ClientOptions {
            timeout: options.timeout,
            connect_timeout: options.connect_timeout,
            keep_idle: KEEP_IDLE,
            gzip: true,
        };
        let http = client::build(&client_options, &options.transport, &options.url)?;
        let below = |name| {
            let mut url = options.url.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend(["v1", name]);
            }
            url
        };
        let (messages, mut numbers) = (below("messages"), below("numbers"));
        numbers.query_pairs_mut().append_pair("scope", "all");
        let proxy = options.transport.proxy.clone();
        Ok(Self { http, client_options, proxy, messages, numbers, keys: options.keys.clone(), current: 0 })
    }

    /// Returns the URL of the list of messages. The state identifies the API of the account by this URL.
    pub fn address(&self) -> &str {
        self.messages.as_str()
    }

    /// Returns the key in use.
    pub fn key(&self) -> Option<&Secret> {
        self.keys.get(self.current)
    }

    /// Returns the number of configured keys.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Changes to the next key and returns `true`. If the last key was in use, changes to the first key and returns
    /// `false`.
    pub fn next_key(&mut self) -> bool {
        self.current += 1;
        let another = self.current < self.keys.len();
        if !another {
            self.current = 0;
        }
        another
    }

    /// Requests up to `limit` messages: the newest ones or, if there is a cursor, the ones to which it leads. `now` is
    /// used in place of the response's `Date` if the response has no `Date`. The future holds no reference to the
    /// client.
    pub fn fetch(
        &self,
        cursor: Option<&Cursor>,
        limit: u32,
        now: UnixMs,
    ) -> impl Future<Output = Response> + Send + 'static {
        self.get(&self.messages, cursor, limit, move |body, now| Page::read(body, limit, now), now)
    }

    /// Requests a page of numbers: the first page or, if there is a cursor, the page to which it leads. Everything else
    /// is as in [`Client::fetch`].
    pub fn fetch_numbers(
        &self,
        cursor: Option<&Cursor>,
        now: UnixMs,
    ) -> impl Future<Output = Response<NumberPage>> + Send + 'static {
        self.get(&self.numbers, cursor, PAGE_ROWS, |body, _| NumberPage::read(body, PAGE_ROWS), now)
    }

    fn get<P: 'static>(
        &self,
        list: &Url,
        cursor: Option<&Cursor>,
        limit: u32,
        parse: impl FnOnce(&[u8], UnixMs) -> Result<P, Error> + Send + 'static,
        now: UnixMs,
    ) -> impl Future<Output = Response<P>> + Send + 'static {
        let mut url = list.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &limit.to_string());
            if let Some(cursor) = cursor {
                query.append_pair("cursor", &cursor.0);
            }
        }
        let mut request = self.http.get(url).header(ACCEPT, "application/json");
        if let Some(value) = self.key().and_then(bearer) {
            request = request.header(AUTHORIZATION, value);
        }
        let (client_options, proxy, with_cursor) = (self.client_options, self.proxy.clone(), cursor.is_some());
        let answering_proxy = proxy.that_answers_for(list);
        async move {
            match request.send().await {
                Ok(response) => read(response, &client_options, parse, with_cursor, answering_proxy, now).await,
                Err(error) => Response {
                    date: None,
                    rate: RateHeaders::default(),
                    page: Err(Error::Transport(failure::describe_through(&proxy, &error, &client_options))),
                },
            }
        }
    }
}

fn bearer(key: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

async fn read<P>(
    response: reqwest::Response,
    client_options: &ClientOptions,
    parse: impl FnOnce(&[u8], UnixMs) -> Result<P, Error>,
    with_cursor: bool,
    answering_proxy: Option<String>,
    now: UnixMs,
) -> Response<P> {
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let date = text(DATE).and_then(date::parse);
    let rate = RateHeaders::read(headers, date, now);
    let now = date.unwrap_or(now);
    let json = text(CONTENT_TYPE).is_some_and(|kind| kind.contains("json"));
    let location = text(LOCATION).map(str::to_owned);
    let status = response.status();
    let cap = if status.is_success() { PAGE_CAP } else { ERROR_CAP };
    let page = match body::read_capped(response, cap).await {
        Ok(bytes) if status.is_success() => parse(&bytes, now),
        Err(BodyError::TooLarge { cap }) if status.is_success() => Err(Error::TooLarge { cap }),
        Err(BodyError::Transport(error)) if status.is_success() => {
            Err(Error::Transport(failure::describe(&error, client_options)))
        }
        // The status alone is enough if the body cannot be read.
        body => {
            let code = json.then(|| error_code(&body.unwrap_or_default())).flatten();
            Err(refusal(status, code, location.as_deref(), with_cursor, answering_proxy))
        }
    };
    Response { date, rate, page }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// Returns the error code in the JSON body of an answer. An answer with an error code is from the API.
fn error_code(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<ErrorBody>(body).ok().map(|body| word(&body.error))
}

/// Returns the meaning of an answer without a page. `answering_proxy`: the proxy that may have answered instead of the
/// API.
fn refusal(
    status: StatusCode,
    code: Option<String>,
    location: Option<&str>,
    with_cursor: bool,
    answering_proxy: Option<String>,
) -> Error {
    let meaning = || status.canonical_reason().unwrap_or("unknown status").to_owned();
    let number = status.as_u16();
    if let Some(proxy) = answering_proxy
        && (number == 407 || (matches!(number, 403 | 500..) && code.is_none()))
    {
        return Error::Proxy { status: number, proxy };
    }
    match (number, code) {
        (401, code) => Error::KeyRefused(KeyRefusal { status: number, code: code.unwrap_or_else(meaning) }),
        (403, Some(code)) => Error::KeyRefused(KeyRefusal { status: number, code }),
        (403, None) => Error::Blocked,
        (429, _) => Error::RateLimited,
        (300..=399, _) => Error::Redirected { status: number, location: host_of(location) },
        // 408 and 425 mean that the request came at the wrong moment. The request itself is right.
        (408 | 425 | 500.., _) => Error::Server(number),
        (_, code) => {
            let code = code.unwrap_or_else(meaning);
            let hint = if number == 404 && !with_cursor { "; is api.url right?" } else { "" };
            Error::Refused { status: number, code: format!("{code}{hint}") }
        }
    }
}

/// Returns an error code if it is one word. Any other text stays out of the log.
fn word(code: &str) -> String {
    let is_word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word && !code.is_empty() { code.to_owned() } else { "an unreadable error code".to_owned() }
}

/// The longest host name of the DNS.
const LONGEST_HOST: usize = 253;

fn host_of(location: Option<&str>) -> String {
    let Some(location) = location else { return "nowhere".to_owned() };
    match Url::parse(location).ok().and_then(|url| url.host_str().map(str::to_owned)) {
        Some(host) if host.len() > LONGEST_HOST => "a host with an endless name".to_owned(),
        Some(host) => host,
        None => "another path".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        let refused = |status, code: &str| Error::KeyRefused(KeyRefusal { status, code: code.to_owned() });
        let json = |code: &str| format!(r#"{{"error":"{code}","message":"told nobody"}}"#);
        let table = [
            (401, true, json("UNAUTHORIZED"), refused(401, "UNAUTHORIZED")),
            (401, false, "<html>".to_owned(), refused(401, "Unauthorized")),
            (403, true, json("SESSION_REQUIRED"), refused(403, "SESSION_REQUIRED")),
            (403, false, "<html>".to_owned(), Error::Blocked),
            (403, true, "[]".to_owned(), Error::Blocked),
            (429, true, json("RATE_LIMIT_EXCEEDED"), Error::RateLimited),
            (429, false, "<html>".to_owned(), Error::RateLimited),
            (503, true, json("X"), Error::Server(503)),
            (408, true, json("X"), Error::Server(408)),
            (400, true, json("BAD_CURSOR"), Error::Refused { status: 400, code: "BAD_CURSOR".to_owned() }),
            (410, true, json("a\\nb"), Error::Refused { status: 410, code: "an unreadable error code".to_owned() }),
        ];
        for (status, json, body, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let code = json.then(|| error_code(body.as_bytes())).flatten();
            assert_eq!(refusal(status, code, None, true, None), expected, "{status} {body}");
        }
        for (status, body, expected) in [
            (403, "<html>".to_owned(), true),
            (403, json("SESSION_REQUIRED"), false),
            (407, "<html>".to_owned(), true),
            (407, json("X"), true),
            (408, "<html>".to_owned(), false),
            (429, "<html>".to_owned(), false),
            (502, "<html>".to_owned(), true),
            (502, "{}".to_owned(), true),
            (503, json("SERVICE_UNAVAILABLE"), false),
        ] {
            let (code, proxy) = (error_code(body.as_bytes()), Some("p:3128".to_owned()));
            let error = refusal(StatusCode::from_u16(status).unwrap(), code, None, true, proxy);
            assert_eq!(matches!(error, Error::Proxy { .. }), expected, "{status} {body}");
        }
        let moved = refusal(StatusCode::FOUND, None, Some("https://user:pw@login.example/x?key=1"), false, None);
        assert_eq!(moved.to_string(), "302 redirect to login.example, not followed; is api.url right?");
    }
}
