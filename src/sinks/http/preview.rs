//! The description and the preview of an HTTP sink, for people.
//!
//! Invariant: no secret is shown. Only host and port of a URL are shown, and only header values that are not marked as
//! sensitive.

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION};

use super::signing::Signing;
use super::{HttpSink, Options, Outgoing, Preview, headers_on_the_wire};
use crate::domain::Sanitized;
use crate::http::RedactedUrl;
use crate::time::Clock;

/// The text that stands for a value that is not shown.
const REDACTED: &str = "[redacted]";

/// Describes the receiver of the messages, and the settings of the requests to it.
pub(super) fn describe(options: &Options) -> String {
    format!("{} {}{}", options.method, RedactedUrl(&options.url), extras(options))
}

/// Returns the request for a message, with all its headers.
pub(super) fn preview(options: &Options, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String> {
    let request = HttpSink::new(options, clock.clone())
        .map_err(|error| format!("cannot be sent anything: {error}"))?
        .request(outgoing)
        .map_err(|error| format!("this message cannot be sent: {}", error.without_url()))?;
    let mut head = format!("{} {}\n", request.method(), RedactedUrl(request.url()));
    for (name, value) in &headers_on_the_wire(&request) {
        head += &format!("{name}: {}\n", header_value(name, value));
    }
    // With https the proxy gets its credentials before this request, when the tunnel is made.
    if options.transport.proxy.has_credentials() && request.url().scheme() == "http" {
        head += &format!("{PROXY_AUTHORIZATION}: {REDACTED}\n");
    }
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
    Ok(Preview { head: head + "\n", body })
}

/// Describes the signing, the authentication, the client certificate and the proxy, each only if the sink has it.
fn extras(options: &Options) -> String {
    let signed = match &options.signing {
        Some(Signing::StandardWebhooks(keys)) if keys.len() > 1 => {
            Some(format!("signed (standard-webhooks, {} secrets)", keys.len()))
        }
        Some(Signing::StandardWebhooks(_)) => Some("signed (standard-webhooks)".to_owned()),
        Some(Signing::HmacSha256 { header, .. }) => Some(format!("signed (hmac-sha256 in {header})")),
        None => None,
    };
    let authorized = options.headers.contains_key(AUTHORIZATION).then(|| "authenticated".to_owned());
    let certificate = options.transport.tls.has_identity().then(|| "with a client certificate".to_owned());
    // A proxy from an environment variable is not shown, because it is no setting of this sink.
    let own_proxy = options.transport.proxy.address.is_some() && options.transport.proxy.variable.is_none();
    let proxy = own_proxy.then(|| options.transport.proxy.to_string());
    [signed, authorized, certificate, proxy].into_iter().flatten().fold(String::new(), |all, part| all + ", " + &part)
}

fn header_value(name: &HeaderName, value: &HeaderValue) -> String {
    let is_secret = value.is_sensitive() || [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
    if is_secret {
        REDACTED.to_owned()
    } else {
        Sanitized::line(&String::from_utf8_lossy(value.as_bytes())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_are_shown_unless_they_may_be_secrets() {
        let mut marked = HeaderValue::from_static("hunter2");
        marked.set_sensitive(true);
        for (name, value, shown) in [
            ("x-team", HeaderValue::from_static("ops"), "ops"),
            ("x-team", HeaderValue::from_bytes(b"a\tb\xff").unwrap(), "a\\tb\u{fffd}"),
            ("x-team", marked, REDACTED),
            ("authorization", HeaderValue::from_static("hunter2"), REDACTED),
            ("cookie", HeaderValue::from_static("hunter2"), REDACTED),
            ("webhook-signature", HeaderValue::from_static("v1,abc="), "v1,abc="),
        ] {
            assert_eq!(header_value(&name.parse().unwrap(), &value), shown);
        }
    }
}
