//! The poller's report on itself. `status`, the service manager and the progress bar show it.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::domain::{Coverage, UnixMs, time_for};

/// How polling is going: the fields `condition` and `why` of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ConditionFields", into = "ConditionFields")]
pub enum Condition {
    /// The API has not answered yet.
    #[default]
    Starting,
    /// The last head poll was answered with a page.
    Polling,
    /// The API has asked for a silence, because its limit is used up. The text says until when, in words for people.
    Limited(String),
    /// The API answers, but its pages cannot be used yet. The text says why.
    Waiting(String),
    /// The API does not answer, or it answers without a page. The text says why.
    Failing(String),
    /// There is no room for further messages in the state. The text says why.
    NoRoom(String),
    /// The API accepts no key. The text is the API's last refusal.
    NoKey(String),
}

/// The text of [`Condition::Limited`] consists of these words and the end of the silence.
const RATE_LIMITED_UNTIL: &str = "rate limited until ";

impl Condition {
    /// Makes the condition of a relay that sends no request before `until`, because the API has asked for a silence.
    pub fn rate_limited(until: UnixMs) -> Self {
        Self::Limited(format!("{RATE_LIMITED_UNTIL}{until}"))
    }

    /// Returns the end of the silence; `None` if the condition is no silence.
    pub fn silent_until(&self) -> Option<UnixMs> {
        let Self::Limited(why) = self else { return None };
        why.strip_prefix(RATE_LIMITED_UNTIL).and_then(UnixMs::parse)
    }

    /// Returns the condition in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Polling => "polling",
            Self::Limited(_) => "limited",
            Self::Waiting(_) => "waiting",
            Self::Failing(_) => "failing",
            Self::NoRoom(_) => "full",
            Self::NoKey(_) => "no_key",
        }
    }

    /// Returns the reason of the condition, for every condition but [`Self::Starting`] and [`Self::Polling`].
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Starting | Self::Polling => None,
            Self::Limited(why) | Self::Waiting(why) | Self::Failing(why) | Self::NoRoom(why) | Self::NoKey(why) => {
                Some(why)
            }
        }
    }
}

/// A [`Condition`] as `status` shows it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ConditionFields {
    condition: String,
    why: Option<String>,
}

impl From<Condition> for ConditionFields {
    fn from(condition: Condition) -> Self {
        Self { condition: condition.word().to_owned(), why: condition.why().map(quoted) }
    }
}

impl From<ConditionFields> for Condition {
    fn from(fields: ConditionFields) -> Self {
        let why = fields.why.unwrap_or_default();
        match fields.condition.as_str() {
            "polling" => Self::Polling,
            "limited" => Self::Limited(why),
            "waiting" => Self::Waiting(why),
            "failing" => Self::Failing(why),
            "full" => Self::NoRoom(why),
            "no_key" => Self::NoKey(why),
            _ => Self::Starting,
        }
    }
}

/// The most characters of an answer that `status` quotes.
const QUOTED: usize = 200;

fn quoted(answer: &str) -> String {
    answer.chars().take(QUOTED).collect()
}

fn quoted_if_any<S: Serializer>(answer: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    answer.as_deref().map(quoted).serialize(serializer)
}

/// The report of the poller. Its serialized fields are the fields of `polling` in `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PollReport {
    /// How polling is going.
    #[serde(flatten)]
    pub condition: Condition,
    /// Since when `condition` holds, by the relay's time.
    pub since: Option<UnixMs>,
    /// When the newest page was last read, by the relay's time.
    pub last_poll_at: Option<UnixMs>,
    /// The longest time between two polls that the request budget has asked for since the last poll ended; zero if it
    /// has asked for none.
    #[serde(skip)]
    pub spacing: Duration,
    /// The last four characters of the API key in use.
    pub key_ending: Option<String>,
    /// When this key came into use, by the relay's time; the start of the relay at the earliest.
    pub key_since: Option<UnixMs>,
    /// Why the list of numbers cannot be read while messages wait for it.
    #[serde(serialize_with = "quoted_if_any")]
    pub numbers_why: Option<String>,
    /// Since when the list of numbers cannot be read, by the relay's time.
    pub numbers_since: Option<UnixMs>,
    /// The request limit, as the API's answers state it.
    #[serde(skip)]
    pub budget: ApiBudget,
    /// The disk that the state lies on.
    #[serde(skip)]
    pub storage: StorageReport,
    /// The API's answers about its feed.
    #[serde(skip)]
    pub feed: FeedReport,
    /// Coverage as it is on disk.
    #[serde(skip)]
    pub coverage: Option<Coverage>,
    /// The progress of reading older messages, while there are any to read.
    #[serde(skip)]
    pub catch_up: Option<CatchUp>,
}

/// The request limit as the API counts it: fields of `budget` in `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiBudget {
    /// How many requests a minute other programs make: in the API's present window or in the previous one, whichever
    /// has more.
    pub foreign: u32,
    /// How many requests the API allows in one of its windows, by the API's headers.
    pub server_limit: Option<u32>,
    /// How many requests are left of the limit in the API's present window, by the API's headers.
    pub server_remaining: Option<u32>,
    /// When the window ends by the API's headers, as an instant of the relay's time.
    pub server_resets_at: Option<UnixMs>,
}

/// The disk that the state lies on: fields of `state` in `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageReport {
    /// The size of SQLite's journal in bytes, while another program reads the state and so keeps the journal from being
    /// emptied; otherwise `None`.
    pub journal_held_bytes: Option<u64>,
}

/// The API's answers about its feed. `status` uses them for estimates, and does not show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedReport {
    /// By how many milliseconds the API's clock is ahead of the relay's time.
    pub server_ahead_ms: Option<i64>,
    /// The total number of messages that the API states.
    pub total: Option<u64>,
}

/// The progress of a catch-up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatchUp {
    /// How many stretches of older messages are being read.
    pub walks: usize,
    /// How many pages were read since the catch-up began.
    pub pages_read: u64,
    /// How many messages were on these pages.
    pub messages_read: u64,
    /// About how many pages are left; `None` if it is unknown.
    pub pages_left: Option<u64>,
    /// How many pages a minute were read lately; 0 while the pace is not known.
    pub pages_per_minute: f64,
    /// The time back to which messages were read.
    pub reached: UnixMs,
}

impl CatchUp {
    /// Returns how long the reading of the remaining pages takes; `None` if this is unknown.
    pub fn time_left(&self) -> Option<Duration> {
        time_for(self.pages_left?, self.pages_per_minute)
    }

    /// Returns whether the catch-up is long enough to be reported.
    pub fn is_long(&self) -> bool {
        self.pages_left.unwrap_or(u64::MAX).saturating_add(self.pages_read) >= LONG
    }
}

/// The fewest pages of a catch-up that is reported.
const LONG: u64 = 20;

impl PollReport {
    /// Returns the condition as one line for people.
    pub fn summary(&self) -> String {
        let walks = self.coverage.as_ref().map_or(0, |coverage| coverage.walks.len());
        match &self.condition {
            Condition::Starting => "starting".to_owned(),
            Condition::Polling if walks == 1 => "polling; 1 stretch of older messages to read".to_owned(),
            Condition::Polling if walks > 0 => format!("polling; {walks} stretches of older messages to read"),
            Condition::Polling => "polling".to_owned(),
            Condition::Limited(until) => until.clone(),
            Condition::Waiting(why) => why.clone(),
            Condition::Failing(why) => format!("the API cannot be polled: {why}"),
            Condition::NoRoom(why) => format!("not polling: {why}"),
            Condition::NoKey(why) => format!("no API key is accepted: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_silence_is_read_from_the_text() {
        let until = UnixMs(1_700_000_000_000);
        assert_eq!(Condition::rate_limited(until).why(), Some("rate limited until 2023-11-14T22:13:20.000Z"));
        assert_eq!(Condition::rate_limited(until).silent_until(), Some(until));
        for other in [Condition::Polling, Condition::Limited("soon".to_owned()), Condition::Failing("rate".to_owned())]
        {
            assert_eq!(other.silent_until(), None, "{other:?}");
        }
    }
}
