//! The common part of `check --online` for all sinks with a server.

use std::fmt::Display;

use crate::domain::Finding;
use crate::sinks::Attempt;
use crate::time::Clock;

/// What a check has found out about a server to which it could connect.
pub(in crate::sinks) struct CheckedServer {
    /// What the relay did, in words such as `logged in to`. The name of the server follows these words.
    done: &'static str,
    /// What is known about the place to which the messages of the sink go (such as a topic), in words.
    found: Result<Option<String>, MissingPlace>,
}

/// Says that the server does not have the place (such as a topic) to which the messages of the sink should go.
pub(in crate::sinks) struct MissingPlace {
    /// What is missing, in words.
    pub(in crate::sinks) what: String,
    /// What an operator can do.
    pub(in crate::sinks) remedy: String,
}

impl CheckedServer {
    /// The server does what the relay asks for.
    pub(in crate::sinks) fn works(done: &'static str) -> Self {
        Self { done, found: Ok(None) }
    }

    /// The server does what the relay asks for. `found`: what is known about the place to which the messages go (such
    /// as a topic), in words.
    pub(in crate::sinks) fn has(done: &'static str, found: String) -> Self {
        Self { done, found: Ok(Some(found)) }
    }

    /// The server does not have the place to which the messages of the sink go.
    pub(in crate::sinks) fn lacks(done: &'static str, missing: MissingPlace) -> Self {
        Self { done, found: Err(missing) }
    }
}

/// Tries for `check --online` whether the server of the sink `name` can be used. `try_server` tries everything that is
/// possible for this type of sink without sending a message.
pub(in crate::sinks) async fn check_online(
    name: &str,
    server: &(dyn Display + Sync),
    clock: &Clock,
    try_server: impl Future<Output = Result<CheckedServer, Attempt>>,
) -> Vec<Finding> {
    let subject = format!("{name}: connection");
    let begun = clock.monotonic();
    let finding = match try_server.await {
        Ok(CheckedServer { done, found: Ok(found) }) => {
            let millis = clock.monotonic().saturating_duration_since(begun).as_millis();
            let found = found.map(|found| format!("; {found}")).unwrap_or_default();
            Finding::works(subject, format!("{done} {server} in {millis} ms{found}; no message was sent"))
        }
        Ok(CheckedServer { done, found: Err(MissingPlace { what, remedy }) }) => {
            Finding::fails(subject, format!("{done} {server}, but {what}"), remedy)
        }
        Err(ended) => {
            let answer = ended.into_answer().unwrap_or_default();
            let remedy = remedy(name, &answer);
            Finding::fails(subject, format!("{server}: {answer}"), remedy)
        }
    };
    vec![finding]
}

/// Returns advice for an operator whose sink `name` cannot use its server. `answer` is the reason in words.
fn remedy(name: &str, answer: &str) -> String {
    if answer.contains("not TLS") {
        format!("check scheme and port of sinks.{name}.url")
    } else if answer.contains("certificate") {
        format!("if the certificate is from an authority of your own, set sinks.{name}.tls.ca_file")
    } else if answer.starts_with("connection refused") {
        format!("start the server at this address, or correct sinks.{name}.url")
    } else if answer.starts_with("no connection") || answer.starts_with("cannot resolve") {
        format!("check sinks.{name}.url, this machine's network, and the firewalls on the way")
    } else {
        format!("check the keys of sinks.{name}, and the log of the server")
    }
}
