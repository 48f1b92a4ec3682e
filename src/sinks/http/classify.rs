//! Decides what an answer's status line and headers mean, and describes the answer in words. Pure.

use std::time::Duration;

use reqwest::{StatusCode, Url};

use crate::domain::UnixMs;
use crate::http::{RedactedUrl, date, retry_after};
use crate::sinks::Attempt;

/// The parts of an answer's head that matter for the decision. A header whose value is no text counts as missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head<'a> {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) date: Option<&'a str>,
    pub(crate) location: Option<&'a str>,
    /// The host and the port of the proxy through which the answer came, and which may have answered instead of the
    /// receiver.
    pub(crate) proxy: Option<&'a str>,
}

/// Statuses with a special meaning for this receiver: `accept_status` and `reject_status`. No status is in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    /// Statuses that count as accepted, besides every 2xx.
    pub accept: Vec<u16>,
    /// Statuses after which another attempt would be useless.
    pub reject: Vec<u16>,
}

/// Decides what an answer means. After every 2xx and every status in `statuses.accept` the message counts as accepted.
/// After a status in `statuses.reject` it counts as rejected, whatever the headers say. `sent_to`: the URL of the
/// request. `now`: the time of the answer if the answer has no `Date`.
pub(crate) fn classify(head: Head<'_>, statuses: &Statuses, sent_to: &Url, now: UnixMs) -> Attempt {
    let code = head.status.as_u16();
    if head.status.is_success() || statuses.accept.contains(&code) {
        return Attempt::Accepted { status: Some(code) };
    }
    let answer = words(head, sent_to);
    if statuses.reject.contains(&code) {
        return Attempt::Rejected { status: Some(code), answer };
    }
    if head.status == StatusCode::GONE {
        return Attempt::Gone { status: Some(code), answer };
    }
    Attempt::Failed { status: Some(code), retry_after: asked_wait(head, now), answer }
}

fn asked_wait(head: Head<'_>, now: UnixMs) -> Option<Duration> {
    retry_after::parse(head.retry_after?, head.date.and_then(date::parse).unwrap_or(now))
}

fn words(head: Head<'_>, sent_to: &Url) -> String {
    let code = head.status.as_u16();
    let words = match head.location {
        Some(location) if head.status.is_redirection() => {
            format!("{code} redirect to {}, not followed", shown(location, sent_to))
        }
        _ => match head.status.canonical_reason() {
            Some(reason) => format!("{code} {reason}"),
            None => code.to_string(),
        },
    };
    match head.proxy {
        Some(proxy) if head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            format!("{words}: the proxy {proxy} requires a valid user and password")
        }
        Some(proxy) => format!("{words}, answered through the proxy {proxy}, maybe by the proxy itself"),
        None => words,
    }
}

/// Returns a `Location` that is safe to show: without user, path, query and fragment. The address of a receiver may
/// have keys in all of these parts, and the server may repeat it in the `Location`.
fn shown(location: &str, sent_to: &Url) -> String {
    let Ok(mut target) = sent_to.join(location) else { return "an address that makes no sense".to_owned() };
    // A relative `Location` takes over the user and the password of `sent_to`, so they are removed. This fails only for
    // a URL without a host.
    if target.set_username("").and(target.set_password(None)).is_err() {
        return short(format!("a {} address", target.scheme()));
    }
    short(RedactedUrl(&target).to_string())
}

/// Cuts a text of the server, so that the log line stays readable.
fn short(text: String) -> String {
    if text.chars().count() > 200 { text.chars().take(200).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, location: Option<&str>) -> Attempt {
        answer_to(&Statuses::default(), status, location)
    }

    fn answer_to(statuses: &Statuses, status: u16, location: Option<&str>) -> Attempt {
        let sent_to = Url::parse("https://user:pass@hooks.example.com/services/T0/SECRETKEY?token=abc").unwrap();
        let head = Head { status: StatusCode::from_u16(status).unwrap(), location, ..Head::default() };
        classify(head, statuses, &sent_to, UnixMs(0))
    }

    #[test]
    fn statuses_and_their_words() {
        for status in [200, 201, 202, 204, 206, 226, 299] {
            assert_eq!(answer(status, None), Attempt::Accepted { status: Some(status) });
        }
        assert_eq!(answer(410, None), Attempt::Gone { status: Some(410), answer: "410 Gone".into() });
        for (status, words) in [
            (301, "301 Moved Permanently"),
            (304, "304 Not Modified"),
            (400, "400 Bad Request"),
            (401, "401 Unauthorized"),
            (404, "404 Not Found"),
            (409, "409 Conflict"),
            (413, "413 Payload Too Large"),
            (422, "422 Unprocessable Entity"),
            (429, "429 Too Many Requests"),
            (500, "500 Internal Server Error"),
            (503, "503 Service Unavailable"),
            (520, "520"),
            (999, "999"),
        ] {
            let expected = Attempt::Failed { status: Some(status), retry_after: None, answer: words.into() };
            assert_eq!(answer(status, None), expected);
        }
    }

    #[test]
    fn a_proxy_that_may_have_answered_is_named() {
        for (status, location, words) in [
            (403, None, "403 Forbidden, answered through the proxy p:3128, maybe by the proxy itself"),
            (502, None, "502 Bad Gateway, answered through the proxy p:3128, maybe by the proxy itself"),
            (407, None, "407 Proxy Authentication Required: the proxy p:3128 requires a valid user and password"),
            (
                302,
                Some("https://login.example/"),
                "302 redirect to https://login.example/, not followed, answered through the proxy p:3128, maybe by the \
                 proxy itself",
            ),
        ] {
            let sent_to = Url::parse("http://crm.example/x").unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let head = Head { status, location, proxy: Some("p:3128"), ..Head::default() };
            assert_eq!(words_of(classify(head, &Statuses::default(), &sent_to, UnixMs(0))), words);
        }
    }

    fn words_of(attempt: Attempt) -> String {
        match attempt {
            Attempt::Failed { answer, .. } | Attempt::Rejected { answer, .. } | Attempt::Gone { answer, .. } => answer,
            Attempt::Accepted { .. } | Attempt::Busy { .. } | Attempt::Closed => String::new(),
        }
    }

    #[test]
    fn accept_status_and_reject_status_change_the_meaning() {
        let statuses = Statuses { accept: vec![302, 409, 410], reject: vec![400, 503] };
        for status in [200, 204, 302, 409, 410] {
            assert_eq!(answer_to(&statuses, status, Some("/x")), Attempt::Accepted { status: Some(status) });
        }
        for (status, words) in [(400, "400 Bad Request"), (503, "503 Service Unavailable")] {
            let rejected = Attempt::Rejected { status: Some(status), answer: words.into() };
            assert_eq!(answer_to(&statuses, status, None), rejected);
        }
        assert!(matches!(answer_to(&statuses, 422, None), Attempt::Failed { status: Some(422), .. }));
        // A rejected 410 does not pause the sink.
        let gone = Statuses { accept: Vec::new(), reject: vec![410] };
        assert_eq!(answer_to(&gone, 410, None), Attempt::Rejected { status: Some(410), answer: "410 Gone".into() });
    }

    #[test]
    fn the_words_for_a_redirect_name_the_host_and_no_secret() {
        let long = format!("https://{}.example/", "abc".repeat(100));
        for (location, shown) in [
            ("https://hooks.example.com/login", "https://hooks.example.com/…"),
            ("/login?next=%2Fservices%2FT0%2FSECRETKEY", "https://hooks.example.com/…?…"),
            ("//other.example:8443/", "https://other.example:8443/"),
            ("http://u:p@other.example/a#frag", "http://other.example/…"),
            ("/services/T0/SECRETKEY/", "https://hooks.example.com/…"),
            ("/reset/0123456789abcdef012345678", "https://hooks.example.com/…"),
            ("mailto:someone@example.com", "a mailto address"),
            ("https://[", "an address that makes no sense"),
        ] {
            let expected = format!("302 redirect to {shown}, not followed");
            assert_eq!(
                answer(302, Some(location)),
                Attempt::Failed { status: Some(302), retry_after: None, answer: expected }
            );
        }
        for long in [long, format!("{}:x", "scheme".repeat(1000))] {
            let Attempt::Failed { answer, .. } = answer(308, Some(&long)) else { panic!() };
            assert!(answer.len() < 260, "{answer}");
        }
    }

    #[test]
    fn retry_after_counts_from_the_answer_s_own_date() {
        let sent_to = Url::parse("http://a.example").unwrap();
        let wait = |retry_after, date| {
            let head = Head { status: StatusCode::SERVICE_UNAVAILABLE, retry_after, date, ..Head::default() };
            let Attempt::Failed { retry_after, .. } = classify(head, &Statuses::default(), &sent_to, UnixMs(0)) else {
                panic!()
            };
            retry_after
        };
        assert_eq!(wait(Some("2.5"), None), Some(Duration::from_millis(2500)));
        let (at, date) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:00 GMT");
        assert_eq!(wait(Some(at), Some(date)), Some(Duration::from_secs(37)));
        assert_eq!(wait(Some(at), None), Some(retry_after::CAP));
        assert_eq!(wait(Some("soon"), Some(date)), None);
        assert_eq!(wait(None, Some(date)), None);
    }
}
