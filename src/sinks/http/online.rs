//! Tries an HTTP sink for `check --online`. No message is sent: the connection is closed without a request.

use super::signing::Signing;
use super::webhook_id::webhook_id;
use super::{HttpSink, Options, Outgoing};
use crate::domain::Finding;
use crate::http::client::{ClientOptions, KEEP_IDLE};
use crate::http::connect;
use crate::time::Clock;

/// Tries the host name, the connection and the signature of the sink `name`.
pub(super) async fn check(options: &Options, name: &str, clock: &Clock) -> Vec<Finding> {
    let client_options = ClientOptions {
        timeout: options.timeout,
        connect_timeout: options.connect_timeout,
        keep_idle: KEEP_IDLE,
        gzip: false,
    };
    let section = format!("sinks.{name}");
    let place = (name, section.as_str());
    let mut findings = connect::check(place, &client_options, &options.transport, &options.url, clock).await;
    if let Some(signing) = &options.signing {
        findings.push(check_signature(options, signing, name, clock));
    }
    findings
}

/// Signs a sample request in the way in which messages are signed, and checks its signature.
fn check_signature(options: &Options, signing: &Signing, name: &str, clock: &Clock) -> Finding {
    let subject = format!("{name}: signature");
    let (id, message) = ("joltsms-relay-check", r#"{"id":"joltsms-relay-check"}"#);
    let body = message.as_bytes().to_vec();
    let content_type = "application/json".into();
    let outgoing = Outgoing { id: id.to_owned(), content_type, body: body.clone(), message: message.into() };
    let request = HttpSink::new(options, clock.clone())
        .map_err(|error| error.to_string())
        .and_then(|sink| sink.request(outgoing).map_err(|error| error.without_url().to_string()));
    let remedy = format!("check sinks.{name}.signing and sinks.{name}.headers");
    let request = match request {
        Ok(request) => request,
        Err(why) => return Finding::fails(subject, format!("no request can be made: {why}"), remedy),
    };
    let verify = |body: &[u8]| signing.verify(&webhook_id(id), request.headers(), body);
    match (verify(&body), verify(b"another body")) {
        (Ok(signatures), Err(_)) => {
            let count = if signatures == 1 { "1 signature".to_owned() } else { format!("{signatures} signatures") };
            Finding::works(subject, format!("a sample was signed, and {count} verified"))
        }
        (Ok(_), Ok(_)) => Finding::fails(subject, "the signature does not depend on the body", remedy),
        (Err(why), _) => Finding::fails(subject, format!("the sample does not verify: {why}"), remedy),
    }
}
