//! Reads the answers of Telegram's Bot API. Pure.

use serde::Deserialize;

use crate::sinks::http::answer::{AnswerBody, Dialect, wait};

/// The answers of the Bot API: an object with `ok`, and after a failure with `description` and `parameters`.
pub(super) const DIALECT: Dialect = Dialect { may_refuse_with_success: true, read };

/// Texts in Telegram's descriptions of failures, each with the relay's own words for it. Each text means that Telegram
/// accepts no message for the chat until a person mends the cause.
const TAKES_NOTHING: [(&str, &str); 10] = [
    ("bot was blocked by the user", "the user has blocked the bot"),
    ("bot was kicked from", "the bot was removed from the chat"),
    ("bot is not a member of", "the bot is not a member of the chat"),
    ("user is deactivated", "the user's account is deactivated"),
    ("bot can't initiate conversation", "the user must write to the bot first"),
    ("bots can't send messages to bots", "the chat is another bot"),
    ("chat not found", "the bot knows no such chat"),
    ("group chat was upgraded to a supergroup", "the group has become a supergroup with another id"),
    ("not enough rights to send", "the bot may not write to the chat"),
    ("have no rights to send", "the bot may not write to the chat"),
];

#[derive(Deserialize)]
struct BotAnswer {
    ok: bool,
    error_code: Option<u16>,
    #[serde(default)]
    description: String,
    parameters: Option<BotParameters>,
}

#[derive(Deserialize)]
struct BotParameters {
    retry_after: Option<f64>,
}

fn read(status: u16, body: &[u8]) -> AnswerBody {
    let Ok(BotAnswer { ok, error_code, description, parameters }) = serde_json::from_slice(body) else {
        return if (200..300).contains(&status) {
            AnswerBody::NotAccepted("the answer is not one of Telegram's Bot API")
        } else {
            AnswerBody::Nothing
        };
    };
    if ok {
        return AnswerBody::Nothing;
    }
    let asked = parameters.and_then(|parameters| parameters.retry_after).map(wait);
    if let Some(asked @ AnswerBody::Wait(_)) = asked {
        return asked;
    }
    let description = description.to_ascii_lowercase();
    if let Some((_, words)) = TAKES_NOTHING.iter().find(|(part, _)| description.contains(part)) {
        return AnswerBody::TakesNothing(words);
    }
    match error_code.unwrap_or(status) {
        401 | 404 => AnswerBody::TakesNothing("Telegram does not accept the token of the bot"),
        403 => AnswerBody::TakesNothing("Telegram does not let the bot write to the chat"),
        _ => AnswerBody::NotAccepted("Telegram does not accept the message"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_answers_of_the_bot_api() {
        let error = |code: u16, description: &str| {
            format!(r#"{{"ok":false,"error_code":{code},"description":"{description}"}}"#)
        };
        for (status, body, expected) in [
            (200, r#"{"ok":true,"result":{}}"#.to_owned(), AnswerBody::Nothing),
            (
                429,
                r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":17}}"#
                    .to_owned(),
                AnswerBody::Wait(Duration::from_secs(17)),
            ),
            (
                403,
                error(403, "Forbidden: bot was blocked by the user"),
                AnswerBody::TakesNothing("the user has blocked the bot"),
            ),
            (400, error(400, "Bad Request: chat not found"), AnswerBody::TakesNothing("the bot knows no such chat")),
            (
                401,
                error(401, "Unauthorized"),
                AnswerBody::TakesNothing("Telegram does not accept the token of the bot"),
            ),
            (
                400,
                error(400, "Bad Request: message text is empty"),
                AnswerBody::NotAccepted("Telegram does not accept the message"),
            ),
            (
                200,
                r#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":5}}"#.to_owned(),
                AnswerBody::Wait(Duration::from_secs(5)),
            ),
            (
                200,
                r#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":-5}}"#.to_owned(),
                AnswerBody::NotAccepted("Telegram does not accept the message"),
            ),
            (200, error(500, "x"), AnswerBody::NotAccepted("Telegram does not accept the message")),
            (
                200,
                "<html>log in</html>".to_owned(),
                AnswerBody::NotAccepted("the answer is not one of Telegram's Bot API"),
            ),
            (502, "<html>bad gateway</html>".to_owned(), AnswerBody::Nothing),
        ] {
            assert_eq!(read(status, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
