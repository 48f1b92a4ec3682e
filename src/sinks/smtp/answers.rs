//! Decides what the answers of a mail server mean. Pure.
//!
//! After an answer 4xx the e-mail is tried again. After an answer 5xx to an e-mail, the e-mail is rejected. After an
//! answer 5xx to the connection or to the login, the sink is paused, because the server would refuse every other
//! e-mail, too. The sink is also paused if the server answers an e-mail by asking for a login.

use std::error::Error as _;

use lettre::transport::smtp::Error;

use crate::sinks::Attempt;
use crate::sinks::server::{failed, io_cause, words};

/// The codes of answers that ask for a login, or for another kind of login. Every other e-mail would get the same
/// answer.
const WANTS_LOGIN: [u16; 4] = [530, 534, 535, 538];

/// Decides what an error means if it happened while an e-mail was sent.
pub(super) fn during_mail(error: &Error) -> Attempt {
    if error.status().is_some_and(|code| WANTS_LOGIN.contains(&u16::from(code))) {
        return during_login(error);
    }
    match code(error) {
        Some(answer) if error.is_permanent() => Attempt::Rejected { status: None, answer },
        Some(answer) => failed(answer),
        None => without_code(error),
    }
}

/// Decides what an error means if it happened while the connection was made.
pub(super) fn during_connection(error: &Error) -> Attempt {
    before_mail(error, "the connection")
}

/// Decides what an error means if it happened during the login, or if the server answered an e-mail by asking for a
/// login.
pub(super) fn during_login(error: &Error) -> Attempt {
    before_mail(error, "the login")
}

fn before_mail(error: &Error, asked: &str) -> Attempt {
    match code(error) {
        Some(answer) if error.is_permanent() => Attempt::Gone { status: None, answer: format!("{answer} to {asked}") },
        Some(answer) => failed(format!("{answer} to {asked}")),
        None => without_code(error),
    }
}

/// Decides what an unexpected answer with this code means, if it came before the TLS handshake of STARTTLS.
pub(super) fn unready(code: u16) -> Attempt {
    let answer = format!("the server answers {code} to the connection");
    if code >= 500 { Attempt::Gone { status: None, answer } } else { failed(answer) }
}

/// The words for an answer: its code (such as 550), and its enhanced code (such as 5.7.1) if its text begins with one;
/// `None`: the error is not an answer.
fn code(error: &Error) -> Option<String> {
    let code = error.status()?;
    let enhanced = error.source().map(ToString::to_string).unwrap_or_default();
    let enhanced = enhanced.split_whitespace().next().filter(|word| is_enhanced_code(word));
    let enhanced = enhanced.map(|word| format!(" {word}")).unwrap_or_default();
    Some(format!("the server answers {code}{enhanced}"))
}

fn is_enhanced_code(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let is_number = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(is_number)
}

fn without_code(error: &Error) -> Attempt {
    if let Some(io) = io_cause(error) {
        return failed(words(io));
    }
    // These texts are the library's own, not the server's.
    match error {
        error if error.is_client() => failed(format!("the e-mail cannot be sent: {}", error_text(error))),
        error if error.is_response() => failed("connection closed, or the answer is not SMTP"),
        _ => failed("the connection failed"),
    }
}

fn error_text(error: &Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_told_from_other_words() {
        for (word, expected) in
            [("5.7.1", true), ("4.2.999", true), ("5.7", false), ("hunter2", false), ("1.2.x", false)]
        {
            assert_eq!(is_enhanced_code(word), expected, "{word}");
        }
    }

    #[test]
    fn answers_to_the_connection() {
        assert!(matches!(unready(554), Attempt::Gone { .. }));
        assert_eq!(unready(421), failed("the server answers 421 to the connection"));
    }
}
