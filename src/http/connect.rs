//! Makes a connection to the other side without sending a request, for `check --online`.
//!
//! Invariant: the connection is made with the same client, resolver, proxy and certificates as for a request, up to the
//! end of the TLS handshake. Then the connection is closed, and no byte of a request has left.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use tokio::time::timeout;

use super::client::ClientOptions;
use super::dialer::{DialError, Dialer};
use super::failure;
use super::redacted_url::RedactedUrl;
use super::transport::Transport;
use crate::domain::Finding;
use crate::time::Clock;

/// Tries to resolve the host name of `url`, and to connect to the host. `subject` is the name of the other side in the
/// findings; `section` is the section of the configuration that has the URL, such as `sinks.crm`.
pub async fn check(
    (subject, section): (&str, &str),
    options: &ClientOptions,
    transport: &Transport,
    url: &Url,
    clock: &Clock,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !transport.proxy.resolves_names() {
        let subject = format!("{subject}: name");
        match resolve(url, options.connect_timeout).await {
            Ok(None) => {}
            Ok(Some(addresses)) => {
                let shown: Vec<String> = addresses.iter().take(ADDRESSES_SHOWN).map(ToString::to_string).collect();
                let more = if addresses.len() > ADDRESSES_SHOWN { ", …" } else { "" };
                let host = url.host_str().unwrap_or_default();
                findings.push(Finding::works(subject, format!("{host} is {}{more}", shown.join(", "))));
            }
            Err(why) => {
                let detail = format!("{} cannot be resolved: {why}", url.host_str().unwrap_or_default());
                let remedy = format!("correct {section}.url, or mend this machine's name servers (/etc/resolv.conf)");
                findings.push(Finding::fails(subject, detail, remedy));
                return findings;
            }
        }
    }
    let subject = format!("{subject}: connection");
    let begun = clock.monotonic();
    findings.push(match connect(options, transport, url).await {
        Ok(()) => {
            let millis = clock.monotonic().saturating_duration_since(begun).as_millis();
            let done = if url.scheme() == "https" { "TLS handshake" } else { "connected" };
            let way = transport.proxy.host().map(|host| format!(" through the proxy {host}")).unwrap_or_default();
            Finding::works(subject, format!("{done} with {}{way} in {millis} ms, and closed", RedactedUrl(url)))
        }
        Err(why) => {
            let remedy = remedy(&why, section, transport.proxy.variable);
            Finding::fails(subject, format!("{}: {why}", RedactedUrl(url)), remedy)
        }
    });
    findings
}

/// The most addresses of a name that are shown.
const ADDRESSES_SHOWN: usize = 3;

/// Returns the advice for an operator whose connection failed for the reason `why`.
fn remedy(why: &str, section: &str, proxy_variable: Option<&str>) -> String {
    if why.contains("proxy") {
        let variable = proxy_variable.map(|name| format!(", or the variable {name}")).unwrap_or_default();
        format!("check the proxy: {section}.proxy{variable}")
    } else if why.contains("not TLS") {
        format!("write http:// in {section}.url, if the server really speaks plain HTTP")
    } else if why.contains("certificate") {
        format!("if the certificate is from an authority of your own, set {section}.tls.ca_file")
    } else if why.starts_with("connection refused") {
        format!("start the server at this address, or correct {section}.url")
    } else {
        format!("check {section}.url, this machine's network, and the firewalls on the way")
    }
}

/// Connects to the host of `url` over `transport`: resolves the name, connects through the proxy, and does the TLS
/// handshake if the scheme is https.
///
/// # Errors
/// The reason why there is no connection, in words for operators.
async fn connect(options: &ClientOptions, transport: &Transport, url: &Url) -> Result<(), String> {
    let dialer = Dialer::new(options, transport, url).map_err(|error| error.to_string())?;
    match dialer.dial().await {
        Ok(_) | Err(DialError::Lost) => Ok(()),
        Err(DialError::Failed(error)) => Err(failure::describe_through(&transport.proxy, &error, options)),
    }
}

/// Returns the addresses of the host of `url`; `None` if the URL has an address instead of a name.
///
/// # Errors
/// The reason why there is no address, in words for operators.
async fn resolve(url: &Url, patience: Duration) -> Result<Option<Vec<IpAddr>>, String> {
    let Some(name) = url.domain() else { return Ok(None) };
    let port = url.port_or_known_default().unwrap_or_default();
    match timeout(patience, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            Ok(Some(addresses))
        }
        Ok(Err(error)) => {
            let text = error.to_string();
            Err(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned())
        }
        Err(_) => Err(format!("no name server answers within {patience:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::domain::CheckVerdict;
    use crate::http::Proxy;

    fn options() -> ClientOptions {
        let second = Duration::from_secs(10);
        ClientOptions { timeout: second, connect_timeout: second, keep_idle: second, gzip: false }
    }

    async fn check(url: &str) -> Vec<Finding> {
        check_through(Proxy::direct(), url).await
    }

    async fn check_through(proxy: Proxy, url: &str) -> Vec<Finding> {
        let (url, transport) = (url.parse().unwrap(), Transport { proxy, ..Transport::default() });
        super::check(("crm", "sinks.crm"), &options(), &transport, &url, &Clock::system()).await
    }

    #[tokio::test]
    async fn a_connection_is_closed_before_a_request_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?token=hunter2", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            if let Err(error) = connection.read_to_end(&mut bytes) {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            bytes
        });
        let findings = check(&url).await;
        assert_eq!(server.join().unwrap(), b"");
        assert_eq!(findings.len(), 1, "an address needs no name: {findings:?}");
        assert_eq!(findings[0].verdict, CheckVerdict::Works);
        assert!(!findings[0].detail.contains("hunter2"), "{findings:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_has_a_remedy() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let findings = check(&format!("http://127.0.0.1:{port}/")).await;
        let remedy = "start the server at this address, or correct sinks.crm.url";
        assert_eq!(findings[0].verdict, CheckVerdict::Fails(remedy.to_owned()), "{findings:?}");
        let findings = check("http://nowhere.invalid/").await;
        assert!(
            matches!(&findings[..], [Finding { verdict: CheckVerdict::Fails(remedy), .. }]
            if remedy.contains("/etc/resolv.conf")),
            "{findings:?}"
        );
    }

    #[tokio::test]
    async fn a_name_is_resolved_here_unless_the_proxy_resolves_names() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (scheme, is_resolved_here) in [("socks5", true), ("socks5h", false), ("http", false), ("https", false)] {
            let proxy = Proxy::at(format!("{scheme}://127.0.0.1:{port}").parse().unwrap());
            let findings = check_through(proxy, "http://nowhere.invalid/").await;
            let [Finding { verdict: CheckVerdict::Fails(remedy), .. }] = &findings[..] else {
                panic!("{scheme}: {findings:?}")
            };
            assert_eq!(remedy.contains("/etc/resolv.conf"), is_resolved_here, "{scheme}: {findings:?}");
        }
    }

    #[tokio::test]
    async fn https_to_a_server_without_tls_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut connection, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let findings = check(&url).await;
        server.join().unwrap();
        assert!(findings[0].detail.contains("TLS"), "{findings:?}");
        assert!(matches!(findings[0].verdict, CheckVerdict::Fails(_)));
    }

    #[test]
    fn each_reason_has_a_remedy() {
        let with = |why: &str| remedy(why, "api", Some("HTTPS_PROXY"));
        assert_eq!(with("the proxy refuses to connect"), "check the proxy: api.proxy, or the variable HTTPS_PROXY");
        assert!(with("the server's certificate has expired: renew it there").contains("api.tls.ca_file"));
        assert!(with("the answer is not TLS: should the URL begin with http://?").contains("plain HTTP"));
        assert!(with("no connection within 5s").contains("firewalls"));
    }
}
