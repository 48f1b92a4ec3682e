//! The headers that the operator adds to a sink's requests: `headers` and `auth`.

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderName};

use crate::secret::trimming::SecretKind;
use crate::settings::{self, Member, Origin, Reader, WrittenText, settings};

/// Headers that the operator cannot set, because they belong to the connection and not to the message.
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

/// If the name of a header contains one of these words, the value of the header is probably a secret.
const SECRET_WORDS: [&str; 5] = ["key", "token", "secret", "password", "signature"];

/// Headers whose value must not be written out in the configuration file.
pub(super) const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

settings! {
    /// `auth`, as written.
    pub(super) struct Auth {
        /// A token, sent as `Authorization: Bearer TOKEN`.
        bearer: Option<WrittenText> = settings::secret("NAME"),
        /// A user and a password, sent as basic authentication.
        basic: Basic = settings::table(),
    }
}

settings! {
    /// `auth.basic`, as written.
    struct Basic {
        /// The user.
        user: Option<WrittenText> = settings::secret("NAME"),
        /// The password; may be missing. Some services take a key as the user and no password.
        password: Option<WrittenText> = settings::secret("NAME"),
    }
}

/// Returns all headers that the operator adds, including those of `auth`.
pub(super) fn headers(at: &mut Reader<'_>, members: Vec<Member>, auth: Auth, url: Option<&Url>) -> HeaderMap {
    let mut headers = own_headers(at, members);
    if let Some((value, origin)) = auth.resolve(at) {
        let other = if headers.contains_key(AUTHORIZATION) {
            Some(format!("`{}` has an Authorization, too", at.name("headers")))
        } else if url.is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
            Some(format!("`{}` holds a user or password, too", at.name("url")))
        } else {
            None
        };
        if let Some(other) = other {
            let message = format!("{other}; a request has one Authorization");
            at.error(&origin, message, "leave one of them out");
        }
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

fn own_headers(at: &mut Reader<'_>, members: Vec<Member>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for Member { name, origin, entry } in members {
        let Some(parsed) = header_name(at, "headers", &name, &origin) else { continue };
        let path = format!("headers.{parsed}");
        let Some(text) = at.text_of(&path, &entry, "a text in quotes") else { continue };
        let Some(text) = at.tidy(&path, &text, SecretKind::Header) else { continue };
        let Some(mut value) = header_value(at, &path, &text, text.as_str()) else { continue };
        let suspicious = SECRET_WORDS.iter().any(|word| parsed.as_str().contains(word));
        value.set_sensitive(suspicious || !text.is_in_file());
        if suspicious && text.is_in_file() {
            let message = format!("`{}` looks like a secret; secrets do not belong in the file", at.name(&path));
            let help = "write { env = \"NAME\" } or { file = \"path\" } unless it is none";
            at.warn(&text.origin, message, help);
        }
        if headers.insert(parsed, value).is_some() {
            at.wrong(&path, &origin, "is there twice", "case does not count in the names of headers");
        }
    }
    headers
}

/// Reads the name of a header that the operator wants to set; `None`: the name is not allowed, and an error was
/// reported.
pub(super) fn header_name(at: &mut Reader<'_>, key: &str, name: &str, origin: &Origin) -> Option<HeaderName> {
    let parsed: Result<HeaderName, InvalidHeaderName> = name.parse();
    let Ok(parsed) = parsed else {
        let message = format!("`{}` holds a name that no header can have", at.name(key));
        let help = "names of headers have letters, digits and `-`, such as X-Team";
        at.error(origin, message, help);
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
    let message = format!("`{}`: {parsed} cannot be set", at.name(key));
    at.error(origin, message, reason);
    None
}

/// Makes the value of a header, and marks it as sensitive; `None`: an error was reported.
fn header_value(at: &mut Reader<'_>, path: &str, text: &WrittenText, value: &str) -> Option<HeaderValue> {
    match HeaderValue::from_str(value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Some(value)
        }
        Err(_) => {
            let help = "a line break, perhaps, or a letter outside of ASCII";
            at.wrong(path, &text.origin, "holds a character that cannot be sent in a header", help);
            None
        }
    }
}

impl Auth {
    /// Returns the value of the Authorization header, and its origin in the configuration. `None`: `auth` was not
    /// written, or an error was reported.
    fn resolve(self, at: &mut Reader<'_>) -> Option<(HeaderValue, Origin)> {
        let Self { bearer, basic: Basic { user, password } } = self;
        let written = ["auth.bearer", "auth.basic.user", "auth.basic.password"].map(|key| at.origin(key));
        match written {
            [None, None, None] => None,
            [Some(origin), None, None] => {
                let token = secret_text(at, "auth.bearer", &bearer?, SecretKind::Token)?;
                let value = format!("Bearer {}", token.as_str());
                Some((header_value(at, "auth.bearer", &token, &value)?, origin.clone()))
            }
            [None, Some(origin), is_password] => {
                let user = secret_text(at, "auth.basic.user", &user?, SecretKind::Text)?;
                let password = match is_password {
                    Some(_) => Some(secret_text(at, "auth.basic.password", &password?, SecretKind::Text)?),
                    None => None,
                };
                if user.as_str().contains(':') {
                    at.wrong("auth.basic.user", origin, "holds a `:`, which ends the user", "");
                    return None;
                }
                let value = basic(user.as_str(), password.as_ref().map_or("", WrittenText::as_str));
                Some((header_value(at, "auth.basic", &user, &value)?, origin.clone()))
            }
            [None, None, Some(origin)] => {
                let message = format!("`{}` is missing", at.name("auth.basic.user"));
                at.missing(&["auth.basic.user"], origin, message, "");
                None
            }
            [Some(origin), ..] => {
                at.wrong("auth", origin, "has `bearer` and `basic`", "leave one of them out");
                None
            }
        }
    }
}

fn secret_text(at: &mut Reader<'_>, key: &str, text: &WrittenText, kind: SecretKind) -> Option<WrittenText> {
    let text = at.tidy(key, text, kind)?;
    if text.as_str().trim().is_empty() {
        at.wrong(key, &text.origin, "is empty", "");
        return None;
    }
    Some(text)
}

/// Returns the value of an Authorization header for basic authentication.
fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}
