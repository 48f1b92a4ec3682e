//! What a sink's requests carry, and the way that requests of sinks and of the API take: `method`, `headers`, `auth`,
//! `proxy`, `tls`.

use std::ffi::OsStr;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderName};
use reqwest::{Method, Url};

use super::reader::{Reader, Text};
use super::written::{Entry, Member, Origin, Value};
use crate::http::{Proxy, Tls, UnusableProxy, UnusableVariable, Way, parse_proxy, tls_files};
use crate::secret::tidy::Kind;

/// Headers that belong to the connection and not to the message.
const OF_THE_CONNECTION: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

/// Words in the name of a header whose value is probably a secret.
const SECRET_WORDS: [&str; 5] = ["key", "token", "secret", "password", "signature"];

impl Reader<'_> {
    /// How a sink's requests ask for what they ask.
    pub(super) fn method(&mut self, key: &str) -> Method {
        let words = [("POST", 0), ("PUT", 1), ("PATCH", 2)];
        match self.choice(key, &words) {
            Some(1) => Method::PUT,
            Some(2) => Method::PATCH,
            _ => Method::POST,
        }
    }

    /// The headers that the operator adds, `auth` included.
    pub(super) fn request_headers(&mut self, url: Option<&Url>) -> HeaderMap {
        let mut headers = self.own_headers("headers");
        if let Some((value, origin)) = self.auth() {
            let other = if headers.contains_key(AUTHORIZATION) {
                Some(format!("`{}` has an Authorization, too", self.name("headers")))
            } else if url.is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
                Some(format!("`{}` holds a user or password, too", self.name("url")))
            } else {
                None
            };
            if let Some(other) = other {
                let message = format!("{other}; a request has one Authorization");
                self.report().error(&origin, message, Some("leave one of them out".to_owned()));
            }
            headers.insert(AUTHORIZATION, value);
        }
        headers
    }

    fn own_headers(&mut self, key: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(entry) = self.table().entries.get(key) else { return headers };
        let Value::Map(members) = &entry.value else {
            if !matches!(entry.value, Value::Broken) {
                let message = format!("`{}` cannot be set as a whole by a variable", self.name(key));
                let help = "set each header by a variable of its own, such as …__HEADERS__X_TEAM".to_owned();
                self.report().error(&entry.origin, message, Some(help));
            }
            return headers;
        };
        for Member { name, origin, entry } in members {
            let Some(parsed) = self.header_name(key, name, origin) else { continue };
            let path = format!("{key}.{parsed}");
            let Some(text) = self.text_of(&path, entry, "a text in quotes") else { continue };
            let Some(text) = self.tidy(&path, &text, Kind::Header) else { continue };
            let Some(mut value) = self.header_value(&path, &text, text.as_str()) else { continue };
            let suspicious = SECRET_WORDS.iter().any(|word| parsed.as_str().contains(word));
            let in_the_file = text.written_out && matches!(text.origin, Origin::File(_));
            value.set_sensitive(suspicious || !in_the_file);
            if suspicious && in_the_file {
                let message = format!("`{}` looks like a secret; secrets do not belong in the file", self.name(&path));
                let help = "write { env = \"NAME\" } or { file = \"path\" } unless it is none".to_owned();
                self.report().warn(&text.origin, message, Some(help));
            }
            if headers.insert(parsed, value).is_some() {
                let message = format!("`{}` is there twice", self.name(&path));
                self.report().error(origin, message, Some("case does not count in the names of headers".to_owned()));
            }
        }
        headers
    }

    /// The name of a header that may be set.
    pub(super) fn header_name(&mut self, key: &str, name: &str, origin: &Origin) -> Option<HeaderName> {
        let parsed: Result<HeaderName, InvalidHeaderName> = name.parse();
        let Ok(parsed) = parsed else {
            let message = format!("`{}`: a name there cannot be the name of a header", self.name(key));
            let help = "names of headers have letters, digits and `-`, such as X-Team".to_owned();
            self.report().error(origin, message, Some(help));
            return None;
        };
        let reason = match parsed.as_str() {
            webhook if webhook.starts_with("webhook-") => "the relay sets the headers of Standard Webhooks itself",
            "content-type" => "the format decides it; format = \"template\" has content_type",
            "host" => "it follows from the URL",
            "proxy-authorization" => "user and password of a proxy belong into the URL in `proxy`",
            other if OF_THE_CONNECTION.contains(&other) => "it belongs to the connection, not to the message",
            _ => return Some(parsed),
        };
        let message = format!("`{}`: {parsed} cannot be set", self.name(key));
        self.report().error(origin, message, Some(reason.to_owned()));
        None
    }

    /// A value that is taken for a secret.
    fn header_value(&mut self, path: &str, text: &Text, value: &str) -> Option<HeaderValue> {
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                Some(value)
            }
            Err(_) => {
                let message = format!("`{}` holds a character that cannot be sent in a header", self.name(path));
                let help = "a line break, perhaps, or a letter outside of ASCII".to_owned();
                self.report().error(&text.origin, message, Some(help));
                None
            }
        }
    }

    /// `auth`, as the value of the Authorization header, and where it stands.
    fn auth(&mut self) -> Option<(HeaderValue, Origin)> {
        let table = self.table();
        let (bearer, user) = (table.entries.get("auth.bearer"), table.entries.get("auth.basic.user"));
        let password = table.entries.get("auth.basic.password");
        match (bearer, user, password) {
            (None, None, None) => None,
            (Some(entry), None, None) => {
                let token = self.secret_text("auth.bearer", entry, Kind::Token)?;
                let value = format!("Bearer {}", token.as_str());
                Some((self.header_value("auth.bearer", &token, &value)?, entry.origin.clone()))
            }
            (None, Some(entry), password) => {
                let user = self.secret_text("auth.basic.user", entry, Kind::Text)?;
                let password = match password {
                    Some(entry) => Some(self.secret_text("auth.basic.password", entry, Kind::Text)?),
                    // Some services take a key as the user and nothing else.
                    None => None,
                };
                if user.as_str().contains(':') {
                    let message = format!("`{}` holds a `:`, which ends the user", self.name("auth.basic.user"));
                    self.report().error(&entry.origin, message, None);
                    return None;
                }
                let value = basic(user.as_str(), password.as_ref().map_or("", |password| password.as_str()));
                Some((self.header_value("auth.basic", &user, &value)?, entry.origin.clone()))
            }
            (None, None, Some(entry)) => {
                let misspelt = table.misspelt.contains("auth.basic.user");
                let message = format!("`{}` is missing", self.name("auth.basic.user"));
                if !misspelt && self.report().is_complete() {
                    self.report().error(&entry.origin, message, None);
                }
                None
            }
            (Some(entry), ..) => {
                let message = format!("`{}` has `bearer` and `basic`", self.name("auth"));
                self.report().error(&entry.origin, message, Some("leave one of them out".to_owned()));
                None
            }
        }
    }

    fn secret_text(&mut self, key: &str, entry: &Entry, kind: Kind) -> Option<Text> {
        let text = self.text_of(key, entry, "a text")?;
        let text = self.tidy(key, &text, kind)?;
        if text.as_str().trim().is_empty() {
            let message = format!("`{}` is empty", self.name(key));
            self.report().error(&entry.origin, message, None);
            return None;
        }
        Some(text)
    }

    /// `proxy` and `tls` of an end that is at `url`.
    pub(super) fn way(&mut self, url: Option<&Url>) -> Way {
        Way { proxy: self.proxy("proxy", url), tls: self.tls() }
    }

    fn proxy(&mut self, key: &str, url: Option<&Url>) -> Proxy {
        let Some(text) = self.text(key, "\"env\", \"off\" or a URL in quotes") else {
            return self.proxy_of_environment(key, url);
        };
        let wrong = match text.bare() {
            word if word.eq_ignore_ascii_case("env") => return self.proxy_of_environment(key, url),
            word if word.eq_ignore_ascii_case("off") => return Proxy::direct(),
            written => match parse_proxy(written) {
                Ok(url) => {
                    if text.written_out && matches!(text.origin, Origin::File(_)) && url.password().is_some() {
                        let message =
                            format!("`{}` holds a password; secrets do not belong in the file", self.name(key));
                        let help = "write the URL into a variable or a file: proxy = { env = \"X\" }".to_owned();
                        self.report().warn(&text.origin, message, Some(help));
                    }
                    return Proxy::at(url);
                }
                Err(UnusableProxy::NoUrl) => "is not \"env\", \"off\" or a URL".to_owned(),
                Err(wrong) => wrong.to_string(),
            },
        };
        let message = format!("`{}` {wrong}", self.name(key));
        let help = "write \"env\", \"off\" or a URL such as \"http://proxy.example:3128\"".to_owned();
        self.report().error(&text.origin, message, Some(help));
        Proxy::default()
    }

    /// As the usual variables say for requests to `url`, if that is known.
    fn proxy_of_environment(&mut self, key: &str, url: Option<&Url>) -> Proxy {
        let environment = self.environment();
        let value = |name: &'static str| environment.get(OsStr::new(name)).map(|value| value.to_str());
        match url.map(|url| Proxy::from_variables(value, url)) {
            None => Proxy::default(),
            Some(Ok(proxy)) => proxy,
            Some(Err(UnusableVariable { name, wrong })) => {
                let message = format!("cannot be used to choose a proxy: it {wrong}");
                let help = format!("{}; without a proxy, unset it or set `{}` = \"off\"", wrong.hint(), self.name(key));
                self.report().error_once(&Origin::Variable(name.to_owned()), message, Some(help));
                Proxy::default()
            }
        }
    }

    fn tls(&mut self) -> Tls {
        let authorities = self.tls_file("tls.ca_file", tls_files::read_authorities).unwrap_or_default();
        let entries = &self.table().entries;
        let identity = match (entries.get("tls.cert_file"), entries.get("tls.key_file")) {
            (None, None) => None,
            (Some(_), Some(_)) => self
                .tls_file("tls.cert_file", tls_files::read_chain)
                .and_then(|chain| self.tls_file("tls.key_file", |path| tls_files::read_identity(&chain, path))),
            (Some(entry), None) | (None, Some(entry)) => {
                let misspelt = &self.table().misspelt;
                if !misspelt.contains("tls.cert_file") && !misspelt.contains("tls.key_file") {
                    let message = format!("`{}` needs both cert_file and key_file", self.name("tls"));
                    let help = "they are a certificate of our own, and its key".to_owned();
                    self.report().error(&entry.origin, message, Some(help));
                }
                None
            }
        };
        tls_files::tls(authorities, identity)
    }

    fn tls_file<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&std::path::Path) -> Result<T, tls_files::Unusable>,
    ) -> Option<T> {
        let entry = self.table().entries.get(key)?;
        let path = self.path(key)?;
        match read(&path) {
            Ok(found) => Some(found),
            Err(wrong) => {
                let message = format!("`{}`: {} {wrong}", self.name(key), path.display());
                self.report().error_with_value(&entry.origin, message, None);
                None
            }
        }
    }
}

/// The value of an Authorization header.
fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}
