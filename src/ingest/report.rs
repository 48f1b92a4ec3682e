//! What the poller tells of itself, for the service manager and for people.

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
    /// The API wants silence: a 429, or a limit that is used up; until when, for people.
    Limited(String),
    /// The API answers, but nothing can be made of it yet; why.
    Waiting(&'static str),
    /// The API does not answer, or not with pages; why.
    Failing(String),
    /// The state takes nothing more at the moment; why.
    NoRoom(String),
    /// No key is accepted; the API's last word.
    NoKey(String),
}

/// A snapshot.
#[derive(Clone, Debug, Default)]
pub struct PollReport {
    /// How polling is going.
    pub condition: Condition,
    /// Local time since when it is so.
    pub since: Option<UnixMs>,
    /// Local time of the last head poll that was answered with a page.
    pub last_poll: Option<UnixMs>,
    /// As it is on disk.
    pub coverage: Option<Coverage>,
    /// Requests in the server's window that are not ours.
    pub foreign_requests: u32,
    /// What the server's headers say of the limit, when they were last read.
    pub server_limit: Option<ServerLimit>,
    /// By how many milliseconds the server's clock is ahead of ours.
    pub server_ahead_ms: Option<i64>,
    /// How many messages there are, by the API's word.
    pub total: Option<u64>,
    /// The size of SQLite's journal, in bytes, while another program keeps it from being emptied.
    pub journal_held: Option<u64>,
    /// How the reading of older messages goes, while there are any to read.
    pub catch_up: Option<CatchUp>,
    /// Why the list of numbers cannot be read while messages wait for it, and since when by the local clock.
    pub numbers_trouble: Option<(String, UnixMs)>,
}

/// The rate limit by the server's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimit {
    /// Requests in a window.
    pub limit: Option<u32>,
    /// What is left of them.
    pub remaining: u32,
    /// Local time at which that begins anew.
    pub resets: UnixMs,
}

/// How far a catch-up has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CatchUp {
    /// Stretches of older messages that are being read.
    pub walks: usize,
    /// Pages that were read since it began.
    pub pages_read: u64,
    /// Messages on them.
    pub messages_read: u64,
    /// Pages that are left, about; `None` if nothing tells.
    pub pages_left: Option<u64>,
    /// Pages a minute, lately; 0 while that is not known.
    pub pages_per_minute: f64,
    /// The time back to which it has read.
    pub reached: UnixMs,
}

impl CatchUp {
    /// How long it takes still, if that can be told.
    pub fn time_left(&self) -> Option<Duration> {
        time_for(self.pages_left?, self.pages_per_minute)
    }

    /// Whether it is worth talking about.
    pub fn is_long(&self) -> bool {
        self.pages_left.unwrap_or(u64::MAX).saturating_add(self.pages_read) >= LONG
    }
}

/// Pages of a catch-up that is worth talking about.
const LONG: u64 = 20;

impl PollReport {
    /// One line for people.
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
