//! Decides what the answers of a PostgreSQL server mean. Pure.
//!
//! If the answer is about a value of the row, the message is rejected. If the answer is about the table, the login or
//! the rights, the sink is paused, because the server would refuse every other row, too. After any other answer the
//! message is tried again.

use std::error::Error as _;

use tokio_postgres::Error;

use crate::sinks::Attempt;
use crate::sinks::server::{failed, io_cause, words};

/// Returns the result of an attempt that has failed with this error.
pub(super) fn attempt(error: &Error) -> Attempt {
    if let Some(answer) = error.as_db_error() {
        return answered(answer.code().code());
    }
    if let Some(io) = io_cause(error) {
        return failed(words(io));
    }
    match error {
        error if error.is_closed() => failed("connection closed by the other side"),
        // The words are the client's own, such as "password missing" and "server does not support TLS".
        error => failed(error.source().map_or_else(|| error.to_string(), ToString::to_string)),
    }
}

/// Returns the result of an attempt to which the server has given an answer with this code (SQLSTATE).
fn answered(code: &str) -> Attempt {
    let words = |what: &str| format!("the server answers {code}: {what}");
    let gone = |what: &str| Attempt::Gone { status: None, answer: words(what) };
    let class = code.get(..2).unwrap_or_default();
    match (code, class) {
        ("42P01", _) => gone("the table does not exist; `joltsms-relay sinks create-table NAME` makes it"),
        ("42703", _) => gone("the table lacks a column"),
        ("42P10", _) => gone("the column id of the table has no unique index"),
        ("42501", _) => gone("the user may not add rows to the table"),
        ("42809", _) => gone("it is no table"),
        ("3D000", _) => gone("the database does not exist"),
        ("3F000", _) => gone("the schema does not exist"),
        ("28P01" | "28000", _) => gone("the login is refused"),
        ("25006", _) => failed(words("the server takes no changes")),
        ("53300", _) => Attempt::Busy { answer: words("too many connections") },
        ("57P03", _) => failed(words("the server is not ready yet")),
        ("57P01" | "57P02", _) => failed(words("the server shuts down")),
        ("57014", _) => failed(words("the statement took too long")),
        (_, "53") => failed(words("the server lacks disk space or memory")),
        (_, "40") => failed(words("the transaction was rolled back")),
        (_, "22" | "23") => Attempt::Rejected { status: None, answer: words("the table does not take this row") },
        _ => failed(format!("the server answers {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_whether_the_message_is_rejected_or_the_sink_is_paused() {
        let kind = |code: &str| match answered(code) {
            Attempt::Failed { .. } => "failed",
            Attempt::Busy { .. } => "busy",
            Attempt::Rejected { .. } => "rejected",
            Attempt::Gone { .. } => "gone",
            Attempt::Accepted { .. } | Attempt::Closed => "-",
        };
        for (code, expected) in [
            ("42P01", "gone"),
            ("28P01", "gone"),
            ("42501", "gone"),
            ("22001", "rejected"),
            ("23502", "rejected"),
            ("53300", "busy"),
            ("53100", "failed"),
            ("40001", "failed"),
            ("57P01", "failed"),
            ("57P03", "failed"),
            ("25006", "failed"),
            ("XX000", "failed"),
            ("", "failed"),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }
}
