//! Test messages as a person asks for them: a text, a sender, and whether they come late, are old, or come in a burst.
//!
//! Invariant: the messages depend only on the request, the time and the random numbers.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::clock::optional_duration_text;
use crate::feed::message::NewMessage;

/// One or more test messages to send.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sms {
    /// The sender; made up if missing.
    pub from: Option<String>,
    /// The receiving number, by id or phone number. If there is no such number, it is rented. If this is missing, the
    /// first number of the account receives the message.
    pub to: Option<String>,
    /// The text; made up if missing. `{n}` becomes the number of the message within its burst, and `{code}` a random
    /// code of six digits.
    pub body: Option<String>,
    /// The one-time code that the vendor finds in the text. If this is missing, the code is what `{code}` became, or
    /// the first group of four to eight digits in the text.
    pub code: Option<String>,
    /// How long the message was on its way: it shows up now, behind newer messages.
    #[serde(with = "optional_duration_text")]
    pub late: Option<Duration>,
    /// How long ago the message showed up: it is in the list as if it had always been there.
    #[serde(with = "optional_duration_text")]
    pub old: Option<Duration>,
    /// How many messages come at once, a millisecond apart: at most [`Sms::MOST`].
    pub count: usize,
}

impl Default for Sms {
    fn default() -> Self {
        Self { from: None, to: None, body: None, code: None, late: None, old: None, count: 1 }
    }
}

impl Sms {
    /// The most messages that come at once.
    pub const MOST: usize = 100_000;

    /// Returns the messages, oldest first.
    pub(crate) fn messages(&self, now: Timestamp, random: &mut fastrand::Rng) -> Vec<NewMessage> {
        let earlier = |time: Timestamp, by: Duration| time.saturating_sub(by).unwrap_or(time);
        let count = self.count.min(Self::MOST);
        (1..=count)
            .map(|n| {
                let before_last = Duration::from_millis((count - n) as u64);
                let ingested = earlier(now, self.old.unwrap_or_default() + before_last);
                let received = earlier(ingested, self.late.unwrap_or_default());
                let drawn = format!("{:06}", random.u32(0..1_000_000));
                let body = self.body.as_ref().map(|body| body.replace("{n}", &n.to_string()).replace("{code}", &drawn));
                let has_drawn = self.body.as_ref().is_some_and(|body| body.contains("{code}"));
                let found = body.as_deref().and_then(code_in).map(str::to_owned);
                let code = self.code.clone().or(Some(drawn).filter(|_| has_drawn)).or(found);
                NewMessage {
                    from: self.from.clone(),
                    number: self.to.clone(),
                    body,
                    code,
                    received_at: Some(received),
                    ingested_at: Some(ingested),
                    ..NewMessage::new()
                }
            })
            .collect()
    }
}

/// Returns the first group of four to eight digits that stands by itself.
fn code_in(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '+');
    words.into_iter().find(|word| (4..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(sms: &Sms) -> Vec<NewMessage> {
        sms.messages("2025-06-15T12:00:00Z".parse().unwrap(), &mut fastrand::Rng::with_seed(1))
    }

    #[test]
    fn a_code_is_a_group_of_four_to_eight_digits() {
        assert_eq!(code_in("482913 is your code"), Some("482913"));
        assert_eq!(code_in("Your code: 1234."), Some("1234"));
        assert_eq!(code_in("Call +18005550142 or 123"), None);
        assert_eq!(code_in("G-48291300 and 4711"), Some("48291300"));
        assert_eq!(code_in("A1234 123456789 größer"), None);
    }

    #[test]
    fn placeholders_are_filled_in_for_each_message_of_a_burst() {
        let sent = send(&Sms { body: Some("{n}: use {code}".to_owned()), count: 3, ..Sms::default() });
        let bodies: Vec<String> = sent.iter().map(|message| message.body.clone().unwrap()).collect();
        for (index, message) in sent.iter().enumerate() {
            assert_eq!(bodies[index], format!("{}: use {}", index + 1, message.code.clone().unwrap()));
        }
        assert_ne!(sent[0].code, sent[1].code);
        assert!(sent.windows(2).all(|pair| pair[0].received_at < pair[1].received_at));
    }

    #[test]
    fn late_and_old_messages_have_their_times() {
        let hour = Some(Duration::from_secs(3600));
        let times = |sms: &Sms| {
            let message = send(sms).remove(0);
            [message.received_at, message.ingested_at].map(|time| time.unwrap().to_string())
        };
        assert_eq!(times(&Sms::default()), ["2025-06-15T12:00:00Z"; 2]);
        assert_eq!(times(&Sms { late: hour, ..Sms::default() }), ["2025-06-15T11:00:00Z", "2025-06-15T12:00:00Z"]);
        assert_eq!(times(&Sms { old: hour, ..Sms::default() }), ["2025-06-15T11:00:00Z"; 2]);
        let both = Sms { old: hour, late: hour, ..Sms::default() };
        assert_eq!(times(&both), ["2025-06-15T10:00:00Z", "2025-06-15T11:00:00Z"]);
    }
}
