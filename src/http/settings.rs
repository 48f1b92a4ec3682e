//! The configuration keys that every component with HTTP connections has: addresses, timeouts, proxies, certificates.
//!
//! Plain http would send codes and keys unencrypted, so the configuration must allow plain http explicitly, unless the
//! requests stay on this machine. Error texts never show a URL. They show at most the host, and not even the host if
//! the key refers to a variable or a file that holds the URL.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::tls_files::{self, UnusableTlsFile};
use super::{Proxy, Tls, UnusableProxy, UnusableVariable, parse_proxy};
use crate::secret::trimming;
use crate::settings::{self, Declared, FileUsage, Origin, Reader, WrittenText, settings};

/// The shortest and the longest time-out that may be configured.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

settings! {
    /// `tls`, as written.
    #[derive(Clone, Debug)]
    pub struct TlsSettings {
        /// Authorities to trust instead of the system's.
        ca_file: Option<PathBuf> = settings::path(),
        /// A client certificate, if needed followed by intermediate certificates.
        cert_file: Option<PathBuf> = settings::path(),
        /// The private key of the client certificate.
        key_file: Option<PathBuf> = settings::path(),
    }
}

/// The form of the addresses of one kind of server.
#[derive(Clone, Copy, Debug)]
pub struct ServerKind {
    /// The schemes of encrypted connections.
    pub encrypted: &'static [&'static str],
    /// The schemes of unencrypted connections.
    pub plain: &'static [&'static str],
    /// The key that allows unencrypted connections to other machines.
    pub allow_plain: &'static str,
    /// A whole address, as an example for operators.
    pub example: &'static str,
}

/// Web servers.
const WEB: ServerKind = ServerKind {
    encrypted: &["https"],
    plain: &["http"],
    allow_plain: "allow_http",
    example: "https://crm.example.com/hooks/sms",
};

/// Declares a key that holds the address of a server of any kind.
pub fn server_url() -> Declared<Option<WrittenText>> {
    settings::text("URL", "a URL in quotes", Some("^[A-Za-z][A-Za-z0-9+.-]*:"))
}

/// Declares a key that holds the address of a web server.
pub fn url() -> Declared<Option<WrittenText>> {
    settings::text("URL", "a URL in quotes", Some("^[Hh][Tt][Tt][Pp][Ss]?:"))
}

/// Declares a key that says how long a request may take.
pub fn timeout(default: Duration) -> Declared<Duration> {
    settings::duration(default, TIMEOUTS)
}

/// Declares a key that says how long the TCP and TLS handshakes may take.
pub fn connect_timeout() -> Declared<Duration> {
    settings::duration(Duration::from_secs(5), TIMEOUTS)
}

/// Declares a key that names the proxy.
pub fn proxy() -> Declared<Option<WrittenText>> {
    let pattern = "^[Ee][Nn][Vv]$|^[Oo][Ff][Ff]$|^[Hh][Tt][Tt][Pp][Ss]?:|^[Ss][Oo][Cc][Kk][Ss]5[Hh]?:";
    settings::text("env, off or URL", "\"env\", \"off\" or a URL in quotes", Some(pattern)).or("env")
}

/// Declares the keys that name the certificates.
pub fn tls() -> Declared<TlsSettings> {
    settings::table().lines(&["tls = { ca_file = \"ca.pem\", cert_file = \"me.pem\", key_file = \"me.key\" }"])
}

/// Reads the URL of a web server that was written for `key`. Returns the URL if it may be used. Errors are added to the
/// report.
pub fn parse_url(at: &mut Reader<'_>, key: &str, text: &WrittenText, allow_http: bool) -> Option<Url> {
    parse_server_url(at, key, text, &WEB, allow_http)
}

/// Reads the URL that was written for `key`. Returns the URL if it may be used. Errors are added to the report.
/// `allow_plain`: the connection need not be encrypted, even to another machine.
pub fn parse_server_url(
    at: &mut Reader<'_>,
    key: &str,
    text: &WrittenText,
    kind: &ServerKind,
    allow_plain: bool,
) -> Option<Url> {
    // A refused text is not shown, because a password or a query may stand anywhere in it.
    let whole = format!("write it in full, such as \"{}\"", kind.example);
    let whole = whole.as_str();
    let written = text.bare();
    if written.is_empty() {
        at.wrong(key, &text.origin, "is empty", whole);
        return None;
    }
    // The URL standard drops line breaks and tabs silently, so they are refused here.
    if written.contains(|next: char| next.is_whitespace() || next.is_control()) {
        at.wrong(key, &text.origin, "holds white space", whole);
        return None;
    }
    // An invisible character would be sent percent-encoded, so the request would go to another address.
    if written.contains(trimming::is_invisible) {
        at.wrong(key, &text.origin, "holds an invisible character", whole);
        return None;
    }
    let url = match Url::parse(written) {
        Ok(url) => url,
        Err(error) => {
            at.wrong(key, &text.origin, &format!("is not a URL: {error}"), whole);
            return None;
        }
    };
    let schemes = || kind.encrypted.iter().chain(kind.plain);
    let encrypted = kind.encrypted.first().copied().unwrap_or_default();
    if !schemes().any(|scheme| *scheme == url.scheme()) {
        let schemes: Vec<String> = schemes().map(|scheme| format!("{scheme}://")).collect();
        at.wrong(key, &text.origin, &format!("must begin with {}", schemes.join(" or ")), whole);
    } else if url.host_str().is_none_or(str::is_empty) {
        at.wrong(key, &text.origin, "names no host", whole);
    } else if url.fragment().is_some() {
        at.wrong(key, &text.origin, "must have no part after `#`, which is never sent", "");
    } else if kind.plain.contains(&url.scheme()) && !allow_plain && !is_this_machine(&url) {
        let host = url.host_str().filter(|_| at.may_show(text)).unwrap_or("another machine");
        let plain = if url.scheme() == "http" { "in plain http" } else { "without encryption" };
        let wrong = format!("goes to {host} {plain}, so everybody on the way could read what is sent");
        // For a URL in the file, the remedy is a key of the file. For a URL from a variable or a flag, it is a
        // variable.
        let setting = match &text.origin {
            Origin::File(_) | Origin::Default => format!("`{}` = true", at.name(kind.allow_plain)),
            Origin::Flag(_) | Origin::Variable(_) => format!("{}=true", at.variable(kind.allow_plain)),
        };
        let place = text.source.as_ref().map_or_else(String::new, |source| format!(" in {source}"));
        let help = format!("use {encrypted}{place}, or set {setting} if the way there is safe");
        at.wrong(key, &text.origin, &wrong, &help);
    } else {
        return Some(url);
    }
    None
}

/// Warns of a URL with a password that is written out in the file.
pub fn warn_of_password(at: &mut Reader<'_>, key: &str, text: &WrittenText, url: &Url) {
    if text.is_in_file() && url.password().is_some() {
        let message = format!("`{}` holds a password; secrets do not belong in the configuration file", at.name(key));
        let help = format!("put the URL into a variable or a file: {key} = {{ env = \"X\" }} or {{ file = \"path\" }}");
        at.warn(&text.origin, message, &help);
    }
}

/// Reads the value of `key`, and chooses the proxy for requests to `url`. If `url` is `None`, the variables of the
/// environment name no proxy.
pub fn proxy_to(at: &mut Reader<'_>, key: &str, text: Option<WrittenText>, url: Option<&Url>) -> Proxy {
    let Some(text) = text else { return proxy_of_environment(at, url) };
    let wrong = match text.bare() {
        word if word.eq_ignore_ascii_case("env") => return proxy_of_environment(at, url),
        word if word.eq_ignore_ascii_case("off") => return Proxy::direct(),
        written => match parse_proxy(written) {
            Ok(url) => {
                if text.is_in_file() && url.password().is_some() {
                    let message = format!("`{}` holds a password; secrets do not belong in the file", at.name(key));
                    let help = "write the URL into a variable or a file: proxy = { env = \"X\" }";
                    at.warn(&text.origin, message, help);
                }
                return Proxy::at(url);
            }
            Err(UnusableProxy::NoUrl) => "is not \"env\", \"off\" or a URL".to_owned(),
            Err(wrong) => wrong.to_string(),
        },
    };
    let help = "write \"env\", \"off\" or a URL such as \"http://proxy.example:3128\"";
    at.wrong(key, &text.origin, &wrong, help);
    Proxy::default()
}

/// Chooses the proxy for requests to `url` by the usual variables. Without a URL there is no proxy.
fn proxy_of_environment(at: &mut Reader<'_>, url: Option<&Url>) -> Proxy {
    let environment = at.environment();
    let value = |name: &'static str| environment.get(OsStr::new(name)).map(|value| value.to_str());
    for (name, useless) in Proxy::useless_exceptions(value) {
        let origin = Origin::Variable(name.to_owned());
        at.warn(&origin, useless.to_string(), useless.remedy());
    }
    match url.map(|url| Proxy::from_variables(value, url)) {
        None => Proxy::default(),
        Some(Ok(proxy)) => proxy,
        Some(Err(UnusableVariable { name, wrong })) => {
            let message = format!("cannot be used to choose a proxy: it {wrong}");
            // The API and every http sink find this error, and the report keeps only one of equal errors.
            let help = format!(
                "{}; without a proxy, unset it, or set `proxy` = \"off\" in [api] and in each [sinks.NAME]",
                wrong.hint()
            );
            at.error(&Origin::Variable(name.to_owned()), message, &help);
            Proxy::default()
        }
    }
}

impl TlsSettings {
    /// Reads the certificate files. Errors are added to the report.
    pub fn resolve(self, at: &mut Reader<'_>) -> Tls {
        let Self { ca_file, cert_file, key_file } = self;
        let authorities = file(at, "ca_file", ca_file, tls_files::read_authorities).unwrap_or_default();
        let identity = match (at.origin("cert_file"), at.origin("key_file")) {
            (None, None) => None,
            (Some(_), Some(_)) => file(at, "cert_file", cert_file, tls_files::read_chain)
                .and_then(|chain| file(at, "key_file", key_file, |path| tls_files::read_identity(&chain, path))),
            (Some(origin), None) | (None, Some(origin)) => {
                let other = if at.written("cert_file").is_some() { "key_file" } else { "cert_file" };
                let message = format!("`{}` needs both cert_file and key_file", at.name(""));
                let help = "they are a certificate of our own, and its key";
                at.missing(&[other], origin, message, help);
                None
            }
        };
        tls_files::tls(authorities, identity)
    }
}

fn file<T>(
    at: &mut Reader<'_>,
    key: &str,
    path: Option<PathBuf>,
    read: impl FnOnce(&Path) -> Result<T, UnusableTlsFile>,
) -> Option<T> {
    let path = path?;
    let origin = at.origin(key).unwrap_or(at.place());
    at.note_file(key, origin, &path, FileUsage::Read);
    match read(&path) {
        Ok(found) => {
            at.note_content(key, &tls_files::read(&path).unwrap_or_default());
            Some(found)
        }
        Err(wrong) => {
            let message = format!("`{}`: {} {wrong}", at.name(key), path.display());
            at.error_with_value(origin, message, "");
            None
        }
    }
}

/// Whether the host is a loopback host. Requests to such a host do not leave the machine.
pub fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
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
