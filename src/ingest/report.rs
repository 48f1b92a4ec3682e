//! What the poller reports of itself: to `status`, to the service manager and to the progress bar.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::domain::{Coverage, UnixMs, time_for};

/// How polling is going: the fields `condition` and `why` of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ConditionFields", into = "ConditionFields")]
pub enum Condition {
    /// No answer yet.
    #[default]
    Starting,
    /// The last head poll was answered.
    Polling,
    /// The API wants silence, since its limit is used up; until when, in words for people.
    Limited(String),
    /// The API answers, but its pages cannot be used yet; why.
    Waiting(String),
    /// The API does not answer, or not with pages; why.
    Failing(String),
    /// The state cannot take more at the moment; why.
    NoRoom(String),
    /// No key is accepted; the API's last word.
    NoKey(String),
}

impl Condition {
    /// The condition in one word.
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

    /// What is wrong, where something is.
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

/// What the poller reports. The serialized fields are those of `polling` in `status`.
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
    /// Why the list of numbers cannot be read while messages wait for it.
    #[serde(serialize_with = "quoted_if_any")]
    pub numbers_why: Option<String>,
    /// Since when the list of numbers cannot be read, by the relay's time.
    pub numbers_since: Option<UnixMs>,
    /// What the API tells of its request limit.
    #[serde(skip)]
    pub budget: ApiBudget,
    /// The disk that the state lies on.
    #[serde(skip)]
    pub storage: StorageReport,
    /// What the API tells of its feed.
    #[serde(skip)]
    pub feed: FeedReport,
    /// What is on disk of coverage.
    #[serde(skip)]
    pub coverage: Option<Coverage>,
    /// How the reading of older messages goes, while there are any to read.
    #[serde(skip)]
    pub catch_up: Option<CatchUp>,
}

/// The request limit as the API counts it: fields of `budget` in `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiBudget {
    /// Requests of other programs in the API's last window, as requests a minute.
    pub foreign: u32,
    /// The limit of a window by the API's headers.
    pub server_limit: Option<u32>,
    /// The requests that are left of the limit by the API's headers.
    pub server_remaining: Option<u32>,
    /// When the window ends by the API's headers, by the relay's time.
    pub server_resets_at: Option<UnixMs>,
}

/// The disk that the state lies on: fields of `state` in `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageReport {
    /// The size of SQLite's journal in bytes, while another program reads the state and so keeps the journal from being
    /// emptied.
    pub journal_held_bytes: Option<u64>,
}

/// What the API tells of its feed. `status` estimates by it, and does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedReport {
    /// By how many milliseconds the API's clock is ahead of the relay's time.
    pub server_ahead_ms: Option<i64>,
    /// How many messages the API says that there are.
    pub total: Option<u64>,
}

/// How far a catch-up has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Stretches of older messages that are being read.
    pub walks: usize,
    /// Pages read since the catch-up began.
    pub pages_read: u64,
    /// Messages on these pages.
    pub messages_read: u64,
    /// About how many pages are left; `None` if nothing tells.
    pub pages_left: Option<u64>,
    /// Pages a minute, lately; 0 while the pace is not known.
    pub pages_per_minute: f64,
    /// Back to which time messages were read.
    pub reached: UnixMs,
}

impl CatchUp {
    /// How long the rest takes, if that can be told.
    pub fn time_left(&self) -> Option<Duration> {
        time_for(self.pages_left?, self.pages_per_minute)
    }

    /// Whether the catch-up is long enough to be told.
    pub fn is_long(&self) -> bool {
        self.pages_left.unwrap_or(u64::MAX).saturating_add(self.pages_read) >= LONG
    }
}

/// The fewest pages of a catch-up that is told.
const LONG: u64 = 20;

impl PollReport {
    /// The condition as one line for people.
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
