//! How polling goes, for the service manager and for people.

use std::time::Duration;

use crate::domain::{Coverage, UnixMs, time_for};

/// How polling is going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// No answer yet.
    #[default]
    Starting,
    /// The last head poll was answered.
    Polling,
    /// The API wants silence, since its limit is used up; until when, in words for people.
    Limited(String),
    /// The API answers, but its pages cannot be used yet; why.
    Waiting(&'static str),
    /// The API does not answer, or not with pages; why.
    Failing(String),
    /// The state cannot take more at the moment; why.
    NoRoom(String),
    /// No key is accepted; the API's last word.
    NoKey(String),
}

/// A snapshot of how polling goes.
#[derive(Clone, Debug, Default)]
pub struct PollReport {
    /// How polling is going.
    pub condition: Condition,
    /// Since when that condition holds, by the relay's time.
    pub since: Option<UnixMs>,
    /// When the last head poll was answered with a page, by the relay's time.
    pub last_poll: Option<UnixMs>,
    /// Coverage as it is on disk; `None` before the first page.
    pub coverage: Option<Coverage>,
    /// Requests of other programs in a window of the API.
    pub foreign_requests: u32,
    /// What the API's headers say of its rate limit, as last read.
    pub server_limit: Option<ServerLimit>,
    /// By how many milliseconds the server's clock is ahead of the relay's time.
    pub server_ahead_ms: Option<i64>,
    /// How many messages there are, by the API's word.
    pub total: Option<u64>,
    /// The size of SQLite's journal, in bytes, while another program keeps it from being emptied.
    pub journal_held: Option<u64>,
    /// How the reading of older messages goes, while there are any to read.
    pub catch_up: Option<CatchUp>,
    /// While messages wait for the list of numbers: why the list cannot be read, and since when by the relay's time.
    pub numbers_trouble: Option<(String, UnixMs)>,
}

/// The API's rate limit by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimit {
    /// Requests in a window.
    pub limit: Option<u32>,
    /// Requests that are left in the present window.
    pub remaining: u32,
    /// When the next window begins, by the relay's time.
    pub resets: UnixMs,
}

/// How far a catch-up (the reading of older messages) has come.
#[derive(Clone, Copy, Debug, PartialEq)]
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
            Condition::Waiting(why) => (*why).to_owned(),
            Condition::Failing(why) => format!("the API cannot be polled: {why}"),
            Condition::NoRoom(why) => format!("not polling: {why}"),
            Condition::NoKey(why) => format!("no API key is accepted: {why}"),
        }
    }
}
