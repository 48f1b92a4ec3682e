//! Reads the bodies of answers, for services whose bodies say more than their statuses. Pure.
//!
//! Invariant: no text of the body is shown, because the body may repeat the message. All words come from this program.

use std::time::Duration;

use serde::Deserialize;

use crate::http::retry_after;
use crate::sinks::Attempt;

const TOO_MANY_REQUESTS: u16 = 429;

/// How to read the answers of one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// Whether the service may answer with a status 2xx although it does not have the message.
    pub(crate) may_refuse_with_success: bool,
    /// Reads the status and the body of an answer.
    pub(crate) read: fn(u16, &[u8]) -> AnswerBody,
}

/// What the body of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerBody {
    /// The body adds nothing to the status.
    Nothing,
    /// The service does not have the message, whatever the status says. The text is the reason.
    NotAccepted(&'static str),
    /// The service accepts no message until a person mends the cause that this text names.
    TakesNothing(&'static str),
    /// The service does not have the message, and asks for a wait.
    Wait(Duration),
}

/// Slack's incoming webhooks: the body of a failure is one word.
pub(super) const SLACK: Dialect = Dialect { may_refuse_with_success: false, read: slack };

/// Discord's webhooks: the body of a failure is a JSON object.
pub(super) const DISCORD: Dialect = Dialect { may_refuse_with_success: false, read: discord };

/// Corrects the result of an attempt, if the body of the answer says more than the status. A rejected message stays
/// rejected, because the operator has listed the status in `reject_status`.
pub(super) fn refine(attempt: Attempt, body: AnswerBody) -> Attempt {
    let with = |answer: &str, words: &str| format!("{answer}: {words}");
    match (attempt, body) {
        (unchanged @ (Attempt::Rejected { .. } | Attempt::Busy { .. } | Attempt::Closed), _) => unchanged,
        (
            Attempt::Failed { status, answer, .. } | Attempt::Gone { status, answer },
            AnswerBody::TakesNothing(words),
        ) => Attempt::Gone { status, answer: with(&answer, words) },
        (Attempt::Accepted { status }, AnswerBody::TakesNothing(words)) => {
            Attempt::Gone { status, answer: words.to_owned() }
        }
        (Attempt::Accepted { status }, AnswerBody::NotAccepted(words)) => {
            Attempt::Failed { status, retry_after: None, answer: words.to_owned() }
        }
        (Attempt::Failed { status, retry_after, answer }, AnswerBody::NotAccepted(words)) => {
            Attempt::Failed { status, retry_after, answer: with(&answer, words) }
        }
        (Attempt::Failed { status, answer, .. }, AnswerBody::Wait(wait)) => {
            Attempt::Failed { status, retry_after: Some(wait.min(retry_after::CAP)), answer }
        }
        // This answer asks for a wait although its status is 2xx. Other services use the status 429 for that, so the
        // answer is treated like a 429.
        (Attempt::Accepted { .. }, AnswerBody::Wait(wait)) => Attempt::Failed {
            status: Some(TOO_MANY_REQUESTS),
            retry_after: Some(wait.min(retry_after::CAP)),
            answer: "the answer asks for a wait".to_owned(),
        },
        (gone @ Attempt::Gone { .. }, AnswerBody::NotAccepted(_) | AnswerBody::Wait(_)) => gone,
        (attempt, AnswerBody::Nothing) => attempt,
    }
}

/// Converts the number of seconds for which a body asks the relay to wait. A number that is no time span (such as -1)
/// is ignored.
pub(crate) fn wait(seconds: f64) -> AnswerBody {
    Duration::try_from_secs_f64(seconds).map_or(AnswerBody::Nothing, AnswerBody::Wait)
}

fn slack(_: u16, body: &[u8]) -> AnswerBody {
    let words = match body.trim_ascii() {
        b"no_service" | b"no_service_id" => "Slack does not know the webhook, or it was removed (no_service)",
        b"no_active_hooks" => "the webhook is disabled (no_active_hooks)",
        b"invalid_token" => "Slack does not accept the token in the URL (invalid_token)",
        b"channel_not_found" => "the channel of the webhook does not exist (channel_not_found)",
        b"channel_is_archived" => "the channel of the webhook is archived (channel_is_archived)",
        b"user_not_found" => "the user of the webhook does not exist (user_not_found)",
        b"action_prohibited" => "an administrator does not allow the webhook (action_prohibited)",
        b"no_team" | b"team_disabled" => "the workspace does not exist or is disabled (no_team)",
        _ => return AnswerBody::Nothing,
    };
    AnswerBody::TakesNothing(words)
}

fn discord(_: u16, body: &[u8]) -> AnswerBody {
    #[derive(Deserialize)]
    struct DiscordAnswer {
        code: Option<i64>,
        retry_after: Option<f64>,
    }
    let Ok(DiscordAnswer { code, retry_after }) = serde_json::from_slice(body) else { return AnswerBody::Nothing };
    match (code, retry_after) {
        (Some(10_015), _) => AnswerBody::TakesNothing("Discord does not know the webhook, or it was removed (10015)"),
        (Some(50_027), _) => AnswerBody::TakesNothing("Discord does not accept the token in the URL (50027)"),
        (_, Some(seconds)) => wait(seconds),
        _ => AnswerBody::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16, retry_after: Option<u64>) -> Attempt {
        Attempt::Failed {
            status: Some(status),
            retry_after: retry_after.map(Duration::from_millis),
            answer: "no".into(),
        }
    }

    #[test]
    fn slack_says_in_a_word_that_it_takes_nothing() {
        for word in ["no_service", "invalid_token\n", "channel_not_found", "channel_is_archived", "team_disabled"] {
            let Attempt::Gone { status: Some(404), answer } = refine(failed(404, None), slack(404, word.as_bytes()))
            else {
                panic!("{word}")
            };
            assert!(answer.starts_with("no: "), "{answer}");
        }
        for word in ["", "invalid_payload", "no_text", "<html>no_service</html>", "no_services"] {
            assert_eq!(refine(failed(400, Some(7)), slack(400, word.as_bytes())), failed(400, Some(7)), "{word}");
        }
    }

    #[test]
    fn discord_says_how_long_to_wait_and_that_a_webhook_is_gone() {
        for (body, expected) in [
            (r#"{"message":"You are being rate limited.","retry_after":0.3,"global":false}"#, Some(300)),
            (r#"{"retry_after":65}"#, Some(65_000)),
            (r#"{"retry_after":1e300}"#, Some(1_000)),
            (r#"{"retry_after":-1}"#, Some(1_000)),
            (r#"{"message":"x"}"#, Some(1_000)),
            ("no JSON", Some(1_000)),
        ] {
            let refined = refine(failed(429, Some(1_000)), discord(429, body.as_bytes()));
            assert_eq!(refined, failed(429, expected), "{body}");
        }
        let day = refine(failed(429, None), discord(429, br#"{"retry_after":1e7}"#));
        assert_eq!(day, failed(429, Some(86_400_000)), "a wait is a day at most");
        for code in [10_015, 50_027] {
            let body = format!(r#"{{"message": "secret words", "code": {code}}}"#);
            let Attempt::Gone { status: Some(404), answer } = refine(failed(404, None), discord(404, body.as_bytes()))
            else {
                panic!("{code}")
            };
            assert!(answer.contains(&code.to_string()) && !answer.contains("secret"), "{answer}");
        }
    }

    #[test]
    fn a_body_changes_an_accepted_message_but_not_a_rejected_one() {
        let rejected = Attempt::Rejected { status: Some(404), answer: "no".into() };
        assert_eq!(refine(rejected.clone(), slack(404, b"no_service")), rejected);
        let accepted = Attempt::Accepted { status: Some(200) };
        assert_eq!(refine(accepted.clone(), AnswerBody::Nothing), accepted);
        let expected = Attempt::Failed { status: Some(200), retry_after: None, answer: "not ok".into() };
        assert_eq!(refine(accepted, AnswerBody::NotAccepted("not ok")), expected);
    }

    #[test]
    fn only_a_body_that_says_nothing_leaves_a_message_accepted() {
        for (body, retry_after) in [
            (AnswerBody::NotAccepted("not ok"), None),
            (AnswerBody::Wait(Duration::from_secs(5)), Some(Duration::from_secs(5))),
            (AnswerBody::Wait(Duration::MAX), Some(retry_after::CAP)),
        ] {
            let refined = refine(Attempt::Accepted { status: Some(200) }, body);
            let Attempt::Failed { retry_after: waits, .. } = refined else { panic!("{body:?}: {refined:?}") };
            assert_eq!(waits, retry_after, "{body:?}");
        }
        let gone = refine(Attempt::Accepted { status: Some(200) }, AnswerBody::TakesNothing("blocked"));
        assert!(matches!(gone, Attempt::Gone { .. }), "{gone:?}");
    }
}
