//! The keys of `[api]`, and the checks of their values.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::Options;
use crate::http::Transport;
use crate::http::settings::{self as http, TlsSettings, parse_url, proxy_to};
use crate::secret::Secret;
use crate::secret::trimming::unquoted;
use crate::settings::{self, Origin, Reader, Texts, WrittenText, settings};

/// The variable that holds the API key unless the configuration names another place.
pub const API_KEY: &str = "JOLTSMS_API_KEY";

/// The beginning of every API key, according to the vendor's documentation.
const PREFIX: &str = "jolt_sk_";
/// The number of hexadecimal characters after [`PREFIX`].
const DIGITS: usize = 32;

settings! {
    /// `[api]`, as written.
    pub struct Settings {
        /// The address of the API, without /v1. Plain http is allowed to this machine only, unless allow_http is true.
        url: Option<WrittenText> = http::url().or("https://api.joltsms.com"),
        /// The API key. It must not be written out in the file. Several keys, `[{ env = "A" }, { env = "B" }]`, are for
        /// rotation: the first accepted one is used. A file, `{ file = "…" }`, is read again when it changes. The
        /// variable JOLTSMS_API_KEY overrides this key, unless the file itself names that variable here.
        key: Option<Texts> = settings::secrets(API_KEY).by_default("{ env = \"JOLTSMS_API_KEY\" }"),
        /// The most requests in any 60 seconds. The API's own limit is 120.
        requests_per_minute: u32 = settings::integer(120, 1..=1_000_000),
        /// The longest time for one whole request.
        timeout: Duration = http::timeout(Duration::from_secs(30)),
        /// A name for the account, shown by the formats jolt-event and cloudevents: 1 to 64 letters, digits, `.`, `_`
        /// and `-`.
        account: Option<WrittenText> = settings::text("name", "a text in quotes", Some("^[A-Za-z0-9._-]{1,64}$"))
            .or("main"),
        /// The longest time for the TCP and TLS handshakes together.
        connect_timeout: Duration = http::connect_timeout(),
        /// Allows plain http to other machines. Everybody on the way can then read your key and all codes.
        allow_http: bool = settings::boolean(false),
        /// The proxy: "env" (by the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY), "off", or the URL of a
        /// proxy (http, https, socks5, socks5h). A URL with a password is a secret: proxy = { env = "X" }.
        /// `joltsms-relay check` shows which proxy is used for the API and for each sink.
        proxy: Option<WrittenText> = http::proxy(),
        /// Files in PEM form: authorities to trust instead of the system's, and a client certificate with its key.
        tls: TlsSettings = http::tls(),
    }
}

impl Settings {
    /// Returns the options of the client and the name of the account. Errors are added to the report.
    pub fn resolve(self, at: &mut Reader<'_>) -> (Option<Options>, Arc<str>) {
        let account = account(at, self.account.as_ref());
        let url = self.url.and_then(|text| base_url(at, &text, self.allow_http));
        let keys = keys(at, self.key);
        let proxy = proxy_to(at, "proxy", self.proxy, url.as_ref());
        let transport = Transport { proxy, tls: self.tls.resolve(&mut at.inside("tls")) };
        let (requests_per_minute, timeout) = (self.requests_per_minute, self.timeout);
        let connect_timeout = self.connect_timeout;
        (url.map(|url| Options { url, keys, requests_per_minute, timeout, connect_timeout, transport }), account)
    }
}

fn account(at: &mut Reader<'_>, text: Option<&WrittenText>) -> Arc<str> {
    let Some(text) = text else { return Arc::default() };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let name = text.as_str();
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        let help = "it is a name of yours, such as \"main\": 1 to 64 letters, digits, `.`, `_` and `-`";
        at.refuse("account", text, "cannot name an account", help);
    }
    name.into()
}

/// Reads the URL to which `/v1/…` is appended. The path of this URL always ends with `/`.
fn base_url(at: &mut Reader<'_>, text: &WrittenText, allow_http: bool) -> Option<Url> {
    let mut url = parse_url(at, "url", text, allow_http)?;
    let path = url.path().trim_end_matches('/').to_owned();
    if let Some(base) = path.strip_suffix("/v1") {
        url.set_path(base);
        let help = match at.may_show(text) && is_bare(&url) {
            true => format!("write \"{}\"", url.as_str().trim_end_matches('/')),
            false => "leave it out".to_owned(),
        };
        at.wrong("url", &text.origin, "must not end with /v1, which the relay appends itself", &help);
        return None;
    }
    if !is_bare(&url) {
        let help = "the key goes into `api.key`";
        at.wrong("url", &text.origin, "must have no user, password or query", help);
        return None;
    }
    url.set_path(&format!("{path}/"));
    Some(url)
}

fn is_bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none()
}

/// Returns the keys, in the order in which they are tried. If there is no key, an error was reported.
///
/// A text from outside the file may hold several keys, separated by commas.
fn keys(at: &mut Reader<'_>, written: Option<Texts>) -> Vec<Secret> {
    let mut keys = Vec::new();
    match written {
        None => {
            let message = format!("there is no API key: {API_KEY} is not set");
            let mut help = format!("make one in the JoltSMS dashboard, and set {API_KEY} or {API_KEY}_FILE");
            if !at.has_file() {
                help += "; no configuration file was found, and --config names one";
            }
            at.missing(&["key"], &Origin::Default, message, &help);
        }
        Some(written) if written.is_empty_array => {
            at.wrong("key", &written.origin, "is an empty array", "it needs at least one key");
        }
        Some(written) => written.texts.iter().for_each(|text| keys_of(at, text, &mut keys)),
    }
    keys
}

fn keys_of(at: &mut Reader<'_>, text: &WrittenText, keys: &mut Vec<Secret>) {
    let name = at.name("key");
    let Some(parts) = at.tokens("key", text) else { return };
    for part in &parts {
        let part = part.as_str();
        if keys.iter().any(|known| known.expose() == part) {
            at.warn(&text.origin, format!("`{name}`: the same key is there twice"), "");
        } else if looks_like_a_key(at, &name, text, part) {
            keys.push(Secret::from(part));
        }
    }
    if parts.is_empty() {
        let message = format!("`{name}` is empty");
        at.error(&text.origin, message, "put the key in, or unset it");
    }
}

fn looks_like_a_key(at: &mut Reader<'_>, name: &str, text: &WrittenText, part: &str) -> bool {
    let Some(rest) = part.strip_prefix(PREFIX) else {
        let message = format!("`{name}` does not begin with `{PREFIX}`, so it may be another secret: it is not sent");
        let quoted = part.starts_with(['"', '\'']);
        // Whether the text is a line of an environment file: the name of a variable, and then the key.
        let is_assignment = part.split_once('=').is_some_and(|(name, value)| {
            unquoted(value.trim()).starts_with(PREFIX) && name.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let help = match (is_assignment, quoted) {
            (true, _) => "it has `NAME=` before the key: leave only the key, without the name of a variable",
            (false, true) => "leave out the quotes around it",
            (false, false) => "take an API key of the JoltSMS dashboard",
        };
        at.error(&text.origin, message, help);
        return false;
    };
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("`{name}` holds a character that cannot be sent in a header");
        at.error(&text.origin, message, "copy the key again");
        return false;
    }
    if rest.len() != DIGITS || !rest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("`{name}` is not {PREFIX} and {DIGITS} hexadecimal characters; it is used all the same");
        at.warn(&text.origin, message, "");
    }
    true
}
