//! Decides what the answers of a broker mean. Pure.

use crate::domain::Sanitized;
use crate::sinks::Attempt;
use crate::sinks::server::failed;

/// The answer to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AmqpAnswer {
    /// The broker has the message.
    Confirmed,
    /// The broker has returned the message, because no queue takes it.
    Returned,
    /// The broker could not accept the message.
    NotTaken,
    /// The broker accepts no messages at the moment, for the reason in this text. The message was not sent.
    Blocked(String),
}

/// Decides what the answer to a message means.
pub(super) fn attempt(answer: AmqpAnswer) -> Attempt {
    match answer {
        AmqpAnswer::Confirmed => Attempt::Accepted { status: None },
        AmqpAnswer::Returned => failed("no queue takes messages with this routing key (NO_ROUTE)"),
        AmqpAnswer::NotTaken => {
            Attempt::Busy { answer: "the broker does not take the message (basic.nack): is a queue full?".to_owned() }
        }
        AmqpAnswer::Blocked(reason) => {
            Attempt::Busy { answer: format!("the broker takes no messages at the moment: {}", text(&reason)) }
        }
    }
}

/// Returns the result of an attempt if the broker closes the connection during the login.
pub(super) fn login_refused(code: u16, reason: &str) -> Attempt {
    let answer = format!("the broker refuses the login: {}", text(reason));
    match code {
        530 if reason.contains("limit") => Attempt::Busy { answer },
        402 | 403 | 530 => Attempt::Gone { status: None, answer },
        _ => failed(closed(code, reason)),
    }
}

/// The words for a connection that the broker closes with this code. `reason`: the text that the broker adds.
pub(super) fn closed(code: u16, reason: &str) -> String {
    match code {
        320 => format!("the broker closes the connection: {}", text(reason)),
        // The broker's texts for protocol errors may repeat the message, so they are not shown.
        code => format!("the broker closes the connection: error {code}"),
    }
}

/// The code by which a broker says that an exchange or a queue does not exist.
pub(super) const NOT_FOUND: u16 = 404;

/// The words for a channel that the broker closes with this code. The text that the broker adds may repeat the routing
/// key, so it is left out. `place`: the words for the exchange or the queue about which the broker was asked.
pub(super) fn channel_closed(code: u16, place: &str) -> String {
    match code {
        403 => format!("the user may not publish to the {place}"),
        NOT_FOUND => format!("the {place} does not exist"),
        code => format!("the broker closes the channel: error {code}"),
    }
}

/// Removes the name of the error at the beginning, and makes the rest safe to show. For example,
/// `NOT_ALLOWED - vhost x not found` becomes `vhost x not found`.
fn text(words: &str) -> String {
    let words = words.split_once(" - ").map_or(words, |(_, words)| words);
    Sanitized::line(&words.chars().take(200).collect::<String>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tests::kind;

    #[test]
    fn answers_to_messages() {
        for (answer, expected) in [
            (AmqpAnswer::Confirmed, "accepted"),
            (AmqpAnswer::Returned, "failed"),
            (AmqpAnswer::NotTaken, "busy"),
            (AmqpAnswer::Blocked("low on disk".to_owned()), "busy"),
        ] {
            assert_eq!(kind(&attempt(answer.clone())), expected, "{answer:?}");
        }
    }

    #[test]
    fn answers_to_logins() {
        for (code, reason, expected) in [
            (403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", "gone"),
            (530, "NOT_ALLOWED - vhost nope not found", "gone"),
            (530, "NOT_ALLOWED - access to vhost '/' refused: connection limit (1) is reached", "busy"),
            (541, "INTERNAL_ERROR", "failed"),
            (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", "failed"),
        ] {
            assert_eq!(kind(&login_refused(code, reason)), expected, "{reason}");
        }
        let Attempt::Gone { answer, .. } = login_refused(530, "NOT_ALLOWED - vhost nope not found") else { panic!() };
        assert_eq!(answer, "the broker refuses the login: vhost nope not found");
    }
}
