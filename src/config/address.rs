//! URLs of the configuration: which are accepted.
//!
//! Plain http would carry codes and keys in the clear, so beyond this machine it must be asked for. Messages never
//! show a URL: at most its host, and that only if it was written out.

use reqwest::Url;

use super::reader::{Reader, Text};
use super::written::Origin;
use super::{defaults, environment};
use crate::secret::tidy;

impl Reader<'_> {
    /// The address of the API: the base that `/v1/…` is appended to. Its path always ends with `/`.
    pub(super) fn api_url(&mut self, key: &str, allow_http: bool) -> Option<Url> {
        let text = self.text(key, "a URL in quotes")?;
        let mut url = self.parse_url(key, &text, allow_http)?;
        let path = url.path().trim_end_matches('/').to_owned();
        if let Some(base) = path.strip_suffix("/v1") {
            url.set_path(base);
            let help = match self.may_show(&text) && is_bare(&url) {
                true => format!("write \"{}\"", url.as_str().trim_end_matches('/')),
                false => "leave it out".to_owned(),
            };
            self.refuse_url(key, &text, "must not end with /v1, which the relay appends itself", Some(help));
            return None;
        }
        if !is_bare(&url) {
            let help = "the key goes into `api.key`".to_owned();
            let wrong = "must have no user, password or query";
            self.refuse_url(key, &text, wrong, Some(help));
            return None;
        }
        url.set_path(&format!("{path}/"));
        Some(url)
    }

    /// Where messages are posted.
    pub(super) fn receiver_url(&mut self, key: &str, allow_http: bool) -> Option<Url> {
        let text = self.text(key, "a URL in quotes")?;
        let url = self.parse_url(key, &text, allow_http)?;
        if text.written_out && matches!(text.origin, Origin::File(_)) && url.password().is_some() {
            let message =
                format!("`{}` holds a password; secrets do not belong in the configuration file", self.name(key));
            let help = "put the URL into a variable or a file: url = { env = \"X\" } or { file = \"path\" }".to_owned();
            self.report().warn(&text.origin, message, Some(help));
        }
        Some(url)
    }

    fn parse_url(&mut self, key: &str, text: &Text, allow_http: bool) -> Option<Url> {
        let whole = || Some("write it in full, such as \"https://crm.example.com/hooks/sms\"".to_owned());
        let written = text.bare();
        if written.is_empty() {
            self.refuse_url(key, text, "is empty", whole());
            return None;
        }
        // The URL standard drops line breaks and tabs silently.
        if written.contains(|next: char| next.is_whitespace() || next.is_control()) {
            self.refuse_url(key, text, "holds white space", whole());
            return None;
        }
        // It would be sent spelled out, to another address.
        if written.contains(tidy::is_invisible) {
            self.refuse_url(key, text, "holds an invisible character", whole());
            return None;
        }
        let url = match Url::parse(written) {
            Ok(url) => url,
            Err(error) => {
                self.refuse_url(key, text, &format!("is not a URL: {error}"), whole());
                return None;
            }
        };
        if !matches!(url.scheme(), "http" | "https") {
            self.refuse_url(key, text, "must begin with https:// or http://", whole());
        } else if url.fragment().is_some() {
            self.refuse_url(key, text, "must have no part after `#`, which is never sent", None);
        } else if url.scheme() == "http" && !allow_http && !is_this_machine(&url) {
            let host = url.host_str().filter(|_| self.may_show(text)).unwrap_or("another machine");
            let wrong = format!("goes to {host} in plain http, so everybody on the way could read what is sent");
            // Where the URL stands in the file, so does this; beside a variable or a flag only a variable works.
            let setting = match &text.origin {
                Origin::File(_) | Origin::Default => format!("`{}` = true", self.name("allow_http")),
                Origin::Flag(_) => environment::assignment(&format!("sinks.{}.allow_http", defaults::FORWARD_NAME)),
                Origin::Variable(_) => environment::assignment(&self.name("allow_http")),
            };
            let help = format!("use https, or set {setting} if the way there is safe");
            self.refuse_url(key, text, &wrong, Some(help));
        } else {
            return Some(url);
        }
        None
    }

    /// A URL that is refused is not shown: what should be its password or query may stand anywhere in it.
    fn refuse_url(&mut self, key: &str, text: &Text, wrong: &str, help: Option<String>) {
        let message = format!("`{}` {wrong}", self.name(key));
        self.report().error(&text.origin, message, help);
    }
}

fn is_bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none()
}

/// Loopback: what is sent there does not leave the machine.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine() {
        for (url, expected) in [
            ("http://127.0.0.1", true),
            ("http://127.8.9.10:1", true),
            ("http://0x7f.1", true),
            ("http://[::1]:8080/x", true),
            ("http://LOCALHOST", true),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://10.0.0.1", false),
            ("http://0.0.0.0", false),
            ("http://[::]", false),
            ("http://[::ffff:10.0.0.1]", false),
            ("http://crm", false),
        ] {
            assert_eq!(is_this_machine(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
