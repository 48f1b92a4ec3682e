//! The part of `check --online` that is the same for all sinks with a server.

use super::SinkServer;
use crate::domain::Finding;
use crate::sinks::Attempt;
use crate::time::Clock;

/// Tries for `check --online` to connect and to log in. `connect` tells in words what it did.
pub(in crate::sinks) async fn check_online(
    name: &str,
    server: &SinkServer,
    clock: &Clock,
    connect: impl Future<Output = Result<&'static str, Attempt>>,
) -> Vec<Finding> {
    let subject = format!("{name}: connection");
    let begun = clock.monotonic();
    let finding = match connect.await {
        Ok(done) => {
            let millis = clock.monotonic().saturating_duration_since(begun).as_millis();
            Finding::works(subject, format!("{done} {server} in {millis} ms; no message was sent"))
        }
        Err(ended) => {
            let answer = ended.into_answer().unwrap_or_default();
            let remedy = if answer.contains("not TLS") {
                format!("check scheme and port of sinks.{name}.url")
            } else if answer.contains("certificate") {
                format!("if the certificate is from an authority of your own, set sinks.{name}.tls.ca_file")
            } else if answer.starts_with("connection refused") {
                format!("start the server at this address, or correct sinks.{name}.url")
            } else if answer.starts_with("no connection") || answer.starts_with("cannot resolve") {
                format!("check sinks.{name}.url, this machine's network, and the firewalls on the way")
            } else {
                format!("check the keys of sinks.{name}, and the log of the server")
            };
            Finding::fails(subject, format!("{server}: {answer}"), remedy)
        }
    };
    vec![finding]
}
