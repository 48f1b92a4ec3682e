//! Decides whether a request may be answered: by the host that it names, by the page that it comes from, and by its
//! token. Pure.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::secret::Secret;

/// Why a request is refused before its path is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestRefusal {
    /// The request has no Host header, several Host headers, or one whose value is not a host.
    NoHost,
    /// The request is for a host whose name the relay does not know.
    OtherHost,
    /// The request would change something, and does not come from a page of this endpoint.
    OtherOrigin,
}

/// Decides by Host and Origin whether a request may be answered. `own_address`: the relay's own address to which the
/// client connected. `names`: further names of the endpoint, in lower case.
pub(super) fn admit(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    own_address: IpAddr,
    names: &[String],
) -> Result<(), RequestRefusal> {
    let host = single(headers, HOST.as_str()).and_then(authority).ok_or(RequestRefusal::NoHost)?;
    let named_in_path = uri.authority().filter(|named| **named != host);
    if named_in_path.is_some() || !is_own(&host, own_address, names) {
        return Err(RequestRefusal::OtherHost);
    }
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if only_reads || !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    // A proxy in front of the relay may speak HTTPS, so the scheme of the page does not matter.
    let origin = single(headers, ORIGIN.as_str()).and_then(|origin| authority(origin.split_once("://")?.1));
    match origin {
        Some(origin) if origin == host || is_name(&origin, names) => Ok(()),
        _ => Err(RequestRefusal::OtherOrigin),
    }
}

/// Whether the headers of a browser show that a page of this endpoint sends the request. If there is a
/// `Sec-Fetch-Site`, its value decides. If there is none, any `Origin` is enough, because [`admit`] has compared it
/// with the `Host`.
pub(super) fn comes_from_own_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes() == b"same-origin");
    site.unwrap_or_else(|| headers.contains_key(ORIGIN))
}

/// Whether this text is the token. The time that the comparison takes reveals nothing about the token.
pub(super) fn is_token(shown: &str, token: &Secret) -> bool {
    // Hashes are compared, because a comparison of texts would reveal the length.
    Sha256::digest(shown).ct_eq(&Sha256::digest(token.expose())).into()
}

/// Whether a request shows this token as `Authorization: Bearer TOKEN`.
pub(super) fn shows_token(headers: &HeaderMap, token: &Secret) -> bool {
    let shown = single(headers, AUTHORIZATION.as_str()).and_then(|value| value.split_once(' '));
    let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, shown)| shown.trim());
    shown.is_some_and(|shown| is_token(shown, token))
}

/// Returns the value of a header; `None` unless the header occurs exactly once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

fn authority(text: &str) -> Option<Authority> {
    text.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'))
}

/// Whether a host is this endpoint: `localhost`, a loopback address, the relay's own address, or one of `names`.
fn is_own(host: &Authority, own_address: IpAddr, names: &[String]) -> bool {
    let name = name_of(host);
    let is_own_address = |address: IpAddr| {
        let (address, own) = (address.to_canonical(), own_address.to_canonical());
        address.is_loopback() || address == own
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(is_own_address) || is_name(host, names)
}

fn is_name(host: &Authority, names: &[String]) -> bool {
    names.contains(&name_of(host))
}

/// Returns the host without its port, without the brackets of an IPv6 address, and without the dot that may end a name.
fn name_of(host: &Authority) -> String {
    host.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let header =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        pairs.iter().map(header).collect()
    }

    fn decide(method: &Method, uri: &str, pairs: &[(&str, &str)]) -> Result<(), RequestRefusal> {
        let own = "192.0.2.7".parse().unwrap();
        admit(method, &uri.parse().unwrap(), &headers(pairs), own, &["relay.example.com".to_owned()])
    }

    #[test]
    fn only_hosts_that_are_known_are_answered() {
        for (host, expected) in [
            ("127.0.0.1:9465", Ok(())),
            ("127.9.9.9", Ok(())),
            ("[::1]:9465", Ok(())),
            ("[::ffff:127.0.0.1]", Ok(())),
            ("localhost:9465", Ok(())),
            ("LOCALHOST.", Ok(())),
            ("192.0.2.7:9465", Ok(())),
            ("[::ffff:192.0.2.7]:9465", Ok(())),
            ("relay.example.com", Ok(())),
            ("Relay.Example.COM:443", Ok(())),
            ("192.0.2.8:9465", Err(RequestRefusal::OtherHost)),
            ("evil.example:9465", Err(RequestRefusal::OtherHost)),
            ("localhost.evil.example", Err(RequestRefusal::OtherHost)),
            ("127.0.0.1.evil.example", Err(RequestRefusal::OtherHost)),
            ("relay.example.com.evil.example", Err(RequestRefusal::OtherHost)),
            ("localhost@evil.example", Err(RequestRefusal::NoHost)),
            ("", Err(RequestRefusal::NoHost)),
            ("a b", Err(RequestRefusal::NoHost)),
        ] {
            assert_eq!(decide(&Method::GET, "/metrics", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(decide(&Method::GET, "/metrics", &[]), Err(RequestRefusal::NoHost));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(decide(&Method::GET, "/metrics", &two), Err(RequestRefusal::NoHost));
        let absolute = "http://evil.example/metrics";
        assert_eq!(decide(&Method::GET, absolute, &[("host", "localhost")]), Err(RequestRefusal::OtherHost));
        assert_eq!(decide(&Method::GET, "http://localhost/metrics", &[("host", "localhost")]), Ok(()));
    }

    #[test]
    fn a_page_of_another_host_changes_nothing() {
        for (origin, expected) in [
            ("http://localhost:9465", Ok(())),
            ("https://relay.example.com", Ok(())),
            ("http://localhost:3000", Err(RequestRefusal::OtherOrigin)),
            ("https://evil.example", Err(RequestRefusal::OtherOrigin)),
            ("https://relay.example.com.evil.example", Err(RequestRefusal::OtherOrigin)),
            ("null", Err(RequestRefusal::OtherOrigin)),
        ] {
            let from = [("host", "localhost:9465"), ("origin", origin)];
            assert_eq!(decide(&Method::POST, "/x", &from), expected, "{origin}");
            assert_eq!(decide(&Method::DELETE, "/x", &from), expected, "{origin}");
            assert_eq!(decide(&Method::GET, "/x", &from), Ok(()), "{origin}");
        }
        assert_eq!(decide(&Method::POST, "/x", &[("host", "localhost:9465")]), Ok(()), "without Origin");
        let two = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")];
        assert_eq!(decide(&Method::POST, "/x", &two), Err(RequestRefusal::OtherOrigin));
    }

    #[test]
    fn headers_show_whether_a_page_of_this_endpoint_sends_the_request() {
        for (pairs, expected) in [
            (&[][..], false),
            (&[("origin", "http://localhost")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost")], true),
            (&[("sec-fetch-site", "same-site"), ("origin", "http://localhost")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
        ] {
            assert_eq!(comes_from_own_page(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Secret::from("0123456789abcdef");
        for (value, expected) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer 0123456789ABCDEF", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(shows_token(&headers(&[("authorization", value)]), &token), expected, "{value}");
        }
        assert!(!shows_token(&headers(&[]), &token));
        let twice = [("authorization", "Bearer x"), ("authorization", "Bearer 0123456789abcdef")];
        assert!(!shows_token(&headers(&twice), &token));
    }
}
