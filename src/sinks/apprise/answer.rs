//! Reads the answers of the Apprise API. Pure.

use crate::sinks::http::answer::{AnswerBody, Dialect};

/// The answers of the Apprise API. Only their statuses count. 204 is no success: it says that the server has no
/// configuration under the key in the URL, so nobody was notified.
pub(super) const DIALECT: Dialect = Dialect { may_refuse_with_success: true, read };

fn read(status: u16, _: &[u8]) -> AnswerBody {
    match status {
        204 => AnswerBody::TakesNothing("the Apprise server has no configuration under this key"),
        424 => AnswerBody::NotAccepted("a service could not be notified, or no service has the tags"),
        _ => AnswerBody::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_everything() {
        assert!(matches!(read(204, b""), AnswerBody::TakesNothing(_)));
        assert!(matches!(read(424, br#"{"error":"x"}"#), AnswerBody::NotAccepted(_)));
        for status in [200, 400, 403, 405, 421, 500] {
            assert_eq!(read(status, b"sent"), AnswerBody::Nothing, "{status}");
        }
    }
}
