//! Chooses the proxy for requests, by the usual environment variables or by the configuration.
//!
//! The API and each receiver have one address, so the proxy is chosen once, when the configuration is read. Invariant:
//! an unusable proxy variable is an error. Otherwise requests would silently bypass the proxy, and no operator wants
//! that.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::RedactedUrl;

/// The variables that name the proxy for https addresses and for http addresses, in the order in which they are read.
/// An empty variable counts as unset.
const FOR_HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const FOR_HTTP: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// The variables that name the hosts that are reached without the proxy.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy through which requests go, if there is one. Displays for example as `direct`, or as
/// `through http://…@p.example:3128/ (HTTPS_PROXY)`.
#[derive(Clone, Default)]
pub struct Proxy {
    /// The proxy's address, which may hold a password. `None`: requests go directly.
    pub address: Option<Url>,
    /// The environment variable that decided: it names the proxy, or it excepts the host (`NO_PROXY`). `None`: no
    /// variable decided.
    pub variable: Option<&'static str>,
}

/// Why a text cannot be used as the address of a proxy, or as the value of `NO_PROXY`. Displays as the end of a
/// sentence that begins with the name of the variable or key, and repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableProxy {
    /// The text is in quotes that were meant for a shell.
    #[error("is in quotes")]
    Quotes,
    /// The text contains white space, usually a carriage return at the end.
    #[error("holds white space or a control character")]
    WhiteSpace,
    /// The URL begins with `socks://`, as GNOME writes it.
    #[error("begins with socks://, which does not say what the proxy speaks")]
    Socks,
    /// The URL has another scheme.
    #[error("must begin with http://, https://, socks5:// or socks5h://")]
    Scheme,
    /// The text is no address.
    #[error("is not the URL of a proxy")]
    NoUrl,
    /// The URL has a path, a query or a fragment.
    #[error("must be the bare address of a proxy, without a path")]
    Path,
    /// The hosts are separated by `;`, as in the settings of Windows.
    #[error("separates its hosts with `;`")]
    Semicolon,
    /// The text is not UTF-8.
    #[error("is not UTF-8")]
    NotText,
}

/// A proxy variable that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnusableVariable {
    /// The name of the variable.
    pub name: &'static str,
    /// The mistake in the value.
    pub wrong: UnusableProxy,
}

impl UnusableProxy {
    /// Returns the remedy for the mistake.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Quotes => "leave out the quotes around it",
            Self::WhiteSpace => "a carriage return at its end, perhaps: leave that out",
            Self::Socks => "write socks5h:// (the proxy resolves names) or socks5:// (this machine does)",
            Self::Semicolon => "separate the hosts with commas",
            Self::Scheme | Self::NoUrl | Self::Path | Self::NotText => "write it like \"http://proxy.example:3128\"",
        }
    }
}

impl Proxy {
    /// Makes a value for requests that go directly, without a proxy.
    pub fn direct() -> Self {
        Self::default()
    }

    /// Makes a value for requests through the proxy at `address`.
    pub fn at(address: Url) -> Self {
        Self { address: Some(address), variable: None }
    }

    /// Chooses the proxy for requests to `url` by the variables. `value` returns the value of a variable; an inner
    /// `None` means that the value is not UTF-8.
    ///
    /// # Errors
    /// [`UnusableVariable`] if the variable that decides cannot be used.
    pub fn from_variables<'v>(
        value: impl Fn(&'static str) -> Option<Option<&'v str>>,
        url: &Url,
    ) -> Result<Self, UnusableVariable> {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, value(name)?)).filter(|(_, value)| *value != Some("")))
        };
        let names = if url.scheme() == "https" { FOR_HTTPS } else { FOR_HTTP };
        let Some((name, written)) = first(&names) else { return Ok(Self::direct()) };
        if let Some((name, hosts)) = first(&EXCEPTIONS) {
            let hosts = hosts.ok_or(UnusableVariable { name, wrong: UnusableProxy::NotText })?;
            if is_excepted(hosts, url).map_err(|wrong| UnusableVariable { name, wrong })? {
                return Ok(Self { address: None, variable: Some(name) });
            }
        }
        let written = written.ok_or(UnusableVariable { name, wrong: UnusableProxy::NotText })?;
        // Other programs, too, read an address without a scheme as an http address.
        let in_full = if written.contains("://") { written.to_owned() } else { format!("http://{written}") };
        let address = parse_address(&in_full).map_err(|wrong| UnusableVariable {
            name,
            wrong: if is_quoted(written) { UnusableProxy::Quotes } else { wrong },
        })?;
        Ok(Self { address: Some(address), variable: Some(name) })
    }

    /// Returns the entries of `NO_PROXY` that can never match a host; empty if no variable names a proxy. `value`
    /// returns the value of a variable, as for [`Proxy::from_variables`].
    pub fn useless_exceptions<'v>(
        value: impl Fn(&'static str) -> Option<Option<&'v str>>,
    ) -> Vec<(&'static str, UselessException)> {
        let given = |name: &&'static str| Some((*name, value(name)??)).filter(|(_, value)| !value.is_empty());
        if !FOR_HTTPS.iter().chain(&FOR_HTTP).any(|name| given(name).is_some()) {
            return Vec::new();
        }
        let Some((name, hosts)) = EXCEPTIONS.iter().find_map(given) else { return Vec::new() };
        if entries(hosts).any(|entry| entry == "*") {
            return Vec::new();
        }
        entries(hosts).filter_map(UselessException::of).map(|useless| (name, useless)).collect()
    }

    /// If the proxy can read the requests to `url`, and so may answer them itself, returns the host and port of the
    /// proxy. An HTTP proxy passes encrypted requests on unread. A SOCKS proxy passes all requests on unread.
    pub fn that_answers_for(&self, url: &Url) -> Option<String> {
        let is_http = self.address.as_ref().is_some_and(|address| matches!(address.scheme(), "http" | "https"));
        self.host().filter(|_| is_http && url.scheme() == "http")
    }

    /// Whether the proxy resolves the host names of requests. If requests go directly, or through a proxy at
    /// `socks5://`, this machine resolves the names.
    pub(super) fn resolves_names(&self) -> bool {
        self.address.as_ref().is_some_and(|address| address.scheme() != "socks5")
    }

    /// Returns the host and port of the proxy, and no other part of its address; `None` if requests go directly.
    pub fn host(&self) -> Option<String> {
        let address = self.address.as_ref()?;
        let port = address.port_or_known_default().or_else(|| address.scheme().starts_with("socks").then_some(1080));
        Some(format!("{}{}", address.host_str()?, port.map_or_else(String::new, |port| format!(":{port}"))))
    }

    /// Returns the header by which requests to `url` show the user and the password to the proxy. Returns `None` if the
    /// address of the proxy has no user and password, or if the proxy cannot read these requests.
    pub(super) fn authorization_for(&self, url: &Url) -> Option<HeaderValue> {
        let address = self.address.as_ref().filter(|_| url.scheme() == "http" && self.has_credentials())?;
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let (user, password) = (decoded(address.username()), decoded(address.password().unwrap_or_default()));
        let pair = [user.as_slice(), b":", &password].concat();
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether the proxy is an HTTP proxy with a user or a password in its address. Requests send these to the proxy in
    /// a header.
    pub fn has_credentials(&self) -> bool {
        let has = |url: &Url| !url.username().is_empty() || url.password().is_some();
        self.address.as_ref().is_some_and(|url| matches!(url.scheme(), "http" | "https") && has(url))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            None => out.write_str("direct")?,
            Some(address) => write!(out, "through {}", RedactedUrl(address))?,
        }
        self.variable.iter().try_for_each(|variable| write!(out, " ({variable})"))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Reads the address of a proxy.
///
/// # Errors
/// [`UnusableProxy`] says why the text cannot be used.
pub fn parse_address(written: &str) -> Result<Url, UnusableProxy> {
    if is_quoted(written) {
        return Err(UnusableProxy::Quotes);
    }
    if written.contains(|next: char| next.is_whitespace() || next.is_control()) {
        return Err(UnusableProxy::WhiteSpace);
    }
    let url = Url::parse(written).map_err(|_| UnusableProxy::NoUrl)?;
    match url.scheme() {
        "http" | "https" | "socks5" | "socks5h" => {}
        "socks" => return Err(UnusableProxy::Socks),
        _ => return Err(UnusableProxy::Scheme),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(UnusableProxy::NoUrl);
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(UnusableProxy::Path);
    }
    Ok(url)
}

fn is_quoted(written: &str) -> bool {
    written.contains(['"', '\''])
}

/// Returns the entries of `NO_PROXY`, which are separated by commas or white space.
fn entries(hosts: &str) -> impl Iterator<Item = &str> {
    hosts.split([',', ' ', '\t', '\r', '\n']).filter(|entry| !entry.is_empty())
}

/// An entry of `NO_PROXY` that can never match a host. Displays as a sentence about the entry, without user and
/// password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UselessException {
    /// The entry, without user and password.
    entry: String,
    /// The remedy.
    remedy: String,
}

impl fmt::Display for UselessException {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` never matches a host", self.entry)
    }
}

impl UselessException {
    /// Returns the remedy for the entry.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// If an entry can never match a host, returns the entry with its remedy.
    fn of(entry: &str) -> Option<Self> {
        let (scheme, rest) = entry.split_once("://").map_or(("", entry), |(scheme, rest)| (scheme, rest));
        let (user, bare) = rest.rsplit_once('@').map_or(("", rest), |(user, bare)| (user, bare));
        let shown = match (scheme, user) {
            ("", "") => entry.to_owned(),
            (_, "") => format!("{scheme}://{bare}"),
            ("", _) => format!("…@{bare}"),
            _ => format!("{scheme}://…@{bare}"),
        };
        let useless = |remedy: String| Some(Self { entry: shown.clone(), remedy });
        let (host, only) = with_port(bare);
        let host_alone = host.split(['/', '?', '#']).next().unwrap_or_default();
        if !scheme.is_empty() || !user.is_empty() {
            let (host_alone, _) = with_port(bare.split(['/', '?', '#']).next().unwrap_or_default());
            return useless(format!("write the host alone: {host_alone}"));
        }
        if host.parse::<IpAddr>().is_ok() {
            return None;
        }
        if let Some((address, prefix)) = host.split_once('/') {
            return match (address.parse(), prefix.parse()) {
                (Ok(IpAddr::V4(_)), Ok(0..=32_u8)) | (Ok(IpAddr::V6(_)), Ok(0..=128)) => None,
                (Ok(_), _) => useless("write a network as in 10.0.0.0/8, and an address alone".to_owned()),
                (Err(_), _) => useless(format!("write the host alone: {host_alone}")),
            };
        }
        if host.strip_prefix("*.").unwrap_or(host).contains('*') {
            return useless("`*` stands alone, or before a dot at the beginning as in *.example.com".to_owned());
        }
        match host.trim_start_matches('.').split_once(':') {
            Some((host, _)) if !host.is_empty() => {
                useless(format!("a port is a number from 1 to 65535; write {host} for all ports"))
            }
            None if only == Some(0) => {
                useless(format!("a port is a number from 1 to 65535; write {host} for all ports"))
            }
            None if !host.trim_matches('.').is_empty() => None,
            _ => useless("write a host, or a host and its port".to_owned()),
        }
    }
}

/// Whether `hosts`, the value of `NO_PROXY`, names the host of `url`. `*` names every host. `a.example` names this host
/// and all hosts below it; `.a.example`, `*.a.example` and `a.example.` mean the same. An entry can also be an address
/// or a network (`10.0.0.0/8`). An entry with a port (`host:8080`, `[::1]:8080`) covers only that port.
fn is_excepted(hosts: &str, url: &Url) -> Result<bool, UnusableProxy> {
    if is_quoted(hosts) {
        return Err(UnusableProxy::Quotes);
    }
    if entries(hosts).any(|entry| entry == "*") {
        return Ok(true);
    }
    if hosts.contains(';') {
        return Err(UnusableProxy::Semicolon);
    }
    let port = url.port_or_known_default();
    let meant = entries(hosts).map(with_port).filter(|(_, only)| only.is_none() || *only == port);
    let meant: Vec<String> = meant.map(|(host, _)| normalized(host)).collect();
    let Ok(target) = without_final_dot(url).as_str().parse() else { return Ok(false) };
    let matcher = Matcher::builder().all("http://proxy.invalid").no(meant.join(",")).build();
    Ok(matcher.intercept(&target).is_none())
}

/// Returns the host of an entry in the form that the matcher expects: without `*` at the beginning, without a dot at
/// the end, and with letters beyond ASCII encoded as in a URL.
fn normalized(host: &str) -> String {
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    let ascii = || Url::parse(&format!("http://{}", host.trim_start_matches('.'))).ok()?.host_str().map(str::to_owned);
    if host.is_ascii() { host.to_owned() } else { ascii().unwrap_or_else(|| host.to_owned()) }
}

/// Returns `url` with a host that does not end with a dot.
fn without_final_dot(url: &Url) -> Url {
    let mut url = url.clone();
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned) {
        // The host is valid without its dot, too.
        url.set_host(Some(&host)).ok();
    }
    url
}

/// Splits an entry of `NO_PROXY` into its host, without brackets, and its port. An IPv6 address can have a port only if
/// the address is in brackets, as in `[::1]:8080`.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    if let Some(address) = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')) {
        return (address, None);
    }
    match entry.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) if host.starts_with('[') && host.ends_with(']') => (&host[1..host.len() - 1], Some(port)),
        Some((host, port)) if !host.is_empty() && !host.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(variables: &[(&'static str, &str)], url: &str) -> String {
        let value = |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| Some(*value));
        match Proxy::from_variables(value, &Url::parse(url).unwrap()) {
            Ok(proxy) => proxy.to_string(),
            Err(UnusableVariable { name, wrong }) => format!("{name} {wrong}"),
        }
    }

    #[test]
    fn the_usual_variables_decide() {
        const HTTP: &str = "http://crm.example.com/x";
        const HTTPS: &str = "https://crm.example.com/x";
        let proxy = "http://u:hunter2@p.example:3128";
        for (variables, url, expected) in [
            (vec![], HTTPS, "direct"),
            (vec![("HTTPS_PROXY", proxy)], HTTP, "direct"),
            (vec![("HTTPS_PROXY", proxy)], HTTPS, "through http://…@p.example:3128/ (HTTPS_PROXY)"),
            (vec![("https_proxy", proxy)], HTTPS, "through http://…@p.example:3128/ (https_proxy)"),
            (vec![("HTTP_PROXY", "p.example:1")], HTTP, "through http://p.example:1/ (HTTP_PROXY)"),
            (vec![("http_proxy", "p")], HTTP, "through http://p/ (http_proxy)"),
            (vec![("http_proxy", ""), ("all_proxy", "http://a")], HTTP, "through http://a/ (all_proxy)"),
            (vec![("ALL_PROXY", "socks5h://u:hunter2@p:1080")], HTTPS, "through socks5h://…@p:1080/ (ALL_PROXY)"),
            (vec![("ALL_PROXY", "socks5://p")], HTTP, "through socks5://p/ (ALL_PROXY)"),
            // These values cannot be used.
            (vec![("http_proxy", "\"http://p:9\"")], HTTP, "http_proxy is in quotes"),
            (vec![("http_proxy", "'p:9'")], HTTP, "http_proxy is in quotes"),
            (vec![("http_proxy", "http://p:9\r")], HTTP, "http_proxy holds white space or a control character"),
            (vec![("http_proxy", " ")], HTTP, "http_proxy holds white space or a control character"),
            (
                vec![("ALL_PROXY", "socks://p:9/")],
                HTTP,
                "ALL_PROXY begins with socks://, which does not say what the proxy speaks",
            ),
            (
                vec![("ALL_PROXY", "ftp://p")],
                HTTPS,
                "ALL_PROXY must begin with http://, https://, socks5:// or socks5h://",
            ),
            (vec![("http_proxy", "::::")], HTTP, "http_proxy is not the URL of a proxy"),
            (
                vec![("http_proxy", "http://p/x.pac")],
                HTTP,
                "http_proxy must be the bare address of a proxy, without a path",
            ),
            // A variable that does not decide may have any value.
            (vec![("http_proxy", "::::")], HTTPS, "direct"),
            (vec![("http_proxy", "::::"), ("no_proxy", "*")], HTTP, "direct (no_proxy)"),
        ] {
            assert_eq!(through(&variables, url), expected, "{variables:?} {url}");
        }
    }

    #[test]
    fn some_hosts_are_reached_without_the_proxy() {
        for (hosts, url, is_direct) in [
            ("*", "https://a.example", true),
            ("*", "https://10.0.0.1", true),
            ("*", "https://[::1]:1/x", true),
            ("localhost, *", "https://a.example", true),
            ("a.example", "https://a.example:8443/x", true),
            ("a.example", "https://b.a.example", true),
            ("a.example", "https://ba.example", false),
            (".a.example", "https://b.a.example", true),
            ("*.a.example", "https://b.a.example", true),
            ("*.a.example", "https://a.example", true),
            ("A.Example", "https://a.example", true),
            ("localhost,127.0.0.1", "http://127.0.0.1:8080", true),
            ("localhost 127.0.0.1", "http://127.0.0.1:8080", true),
            ("10.0.0.0/8", "http://10.1.2.3", true),
            ("10.0.0.0/8", "http://11.1.2.3", false),
            ("::1", "http://[::1]:1", true),
            ("a.example:8080", "http://a.example:8080/x", true),
            ("a.example:8080", "http://a.example", false),
            ("a.example:443", "https://a.example/x", true),
            (".a.example:443", "https://b.a.example/x", true),
            ("b.example, a.example:443", "https://b.example:1/x", true),
            ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
            ("127.0.0.1:8080", "http://127.0.0.1:8081", false),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("[::1]:8080", "http://[::1]:8081", false),
            ("fe80::1:8080", "http://[fe80::1:8080]", true),
            ("a.example.", "https://a.example/x", true),
            ("a.example.:443", "https://b.a.example/x", true),
            (".a.example.", "https://b.a.example/x", true),
            ("a.example", "https://a.example./x", true),
            ("a.example.", "https://a.example./x", true),
            ("a.example.", "https://ba.example", false),
            ("[::1]", "http://[::1]:1", true),
            ("müller.example", "https://www.müller.example/x", true),
            ("*.Müller.example", "https://www.müller.example/x", true),
            ("", "http://a.example", false),
            (" , ", "http://a.example", false),
        ] {
            let said = through(&[("ALL_PROXY", "http://p"), ("NO_PROXY", hosts)], url);
            assert_eq!(said.starts_with("direct"), is_direct, "{hosts} {url}: {said}");
        }
        let quoted = through(&[("ALL_PROXY", "http://p"), ("NO_PROXY", "\"localhost\"")], "http://localhost");
        assert_eq!(quoted, "NO_PROXY is in quotes");
        let windows = through(&[("ALL_PROXY", "http://p"), ("NO_PROXY", "localhost;a.example")], "http://localhost");
        assert_eq!(windows, "NO_PROXY separates its hosts with `;`");
    }

    #[test]
    fn exceptions_that_never_match_are_reported_with_a_remedy() {
        let told = |variables: &[(&'static str, &'static str)]| -> Vec<String> {
            let value = |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| Some(*value));
            let useless = Proxy::useless_exceptions(value).into_iter();
            useless.map(|(name, useless)| format!("{name}: {useless}; {}", useless.remedy())).collect()
        };
        for (entry, shown, remedy) in [
            ("https://crm.example", "https://crm.example", "write the host alone: crm.example"),
            ("https://crm.example:8443/x", "https://crm.example:8443/x", "write the host alone: crm.example"),
            ("https://u:hunter2@crm.example/", "https://…@crm.example/", "write the host alone: crm.example"),
            ("u:hunter2@crm.example", "…@crm.example", "write the host alone: crm.example"),
            ("crm.example/hook", "crm.example/hook", "write the host alone: crm.example"),
            ("10.0.0.0/33", "10.0.0.0/33", "write a network as in 10.0.0.0/8, and an address alone"),
            ("10.0.0.*", "10.0.0.*", "`*` stands alone, or before a dot at the beginning as in *.example.com"),
            ("crm*.example", "crm*.example", "`*` stands alone, or before a dot at the beginning as in *.example.com"),
            (
                "crm.example:99999",
                "crm.example:99999",
                "a port is a number from 1 to 65535; write crm.example for all ports",
            ),
            ("crm.example:0", "crm.example:0", "a port is a number from 1 to 65535; write crm.example for all ports"),
            (":8080", ":8080", "write a host, or a host and its port"),
            (".", ".", "write a host, or a host and its port"),
        ] {
            let expected = format!("NO_PROXY: `{shown}` never matches a host; {remedy}");
            assert_eq!(told(&[("ALL_PROXY", "http://p"), ("NO_PROXY", entry)]), [expected], "{entry}");
            assert!(told(&[("NO_PROXY", entry)]).is_empty(), "without a proxy nothing is excepted");
        }
        let good = "a.example,.b.example, *.c.example d.example.,e.example:443,10.0.0.0/8,10.1.1.1:80,::1,[::1],[::1]:80,\
                    fe80::/10,localhost,müller.example";
        assert_eq!(told(&[("http_proxy", "p"), ("no_proxy", good)]), Vec::<String>::new());
        assert_eq!(told(&[("http_proxy", "p"), ("no_proxy", "*,https://x")]), Vec::<String>::new());
    }

    #[test]
    fn a_proxy_may_answer_the_requests_that_it_can_read() {
        for (proxy, url, expected) in [
            ("http://u:hunter2@p.example:3128", "http://crm.example/x", Some("p.example:3128")),
            ("https://p.example", "http://crm.example/x", Some("p.example:443")),
            ("http://p.example:3128", "https://crm.example/x", None),
            ("socks5h://p.example", "http://crm.example/x", None),
        ] {
            let (proxy, url) = (Proxy::at(Url::parse(proxy).unwrap()), Url::parse(url).unwrap());
            assert_eq!(proxy.that_answers_for(&url).as_deref(), expected);
        }
        assert_eq!(Proxy::direct().that_answers_for(&Url::parse("http://crm.example").unwrap()), None);
    }

    #[test]
    fn only_the_host_and_port_of_the_proxy_are_named() {
        for (address, expected) in [
            ("http://u:hunter2@p.example:3128", "p.example:3128"),
            ("https://u:hunter2@p.example", "p.example:443"),
            ("socks5h://hunter2@p.example", "p.example:1080"),
            ("http://[::1]:3128/", "[::1]:3128"),
        ] {
            assert_eq!(Proxy::at(Url::parse(address).unwrap()).host().as_deref(), Some(expected));
        }
        assert_eq!(Proxy::direct().host(), None);
    }
}
