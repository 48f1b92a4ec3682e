//! What the poller tells of itself, for the service manager and for people.

use crate::domain::{Coverage, UnixMs};

/// How polling is going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// No answer yet.
    #[default]
    Starting,
    /// The last head poll was answered.
    Polling,
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
pub struct Report {
    /// How polling is going.
    pub condition: Condition,
    /// Local time of the last head poll that was answered with a page.
    pub last_poll: Option<UnixMs>,
    /// As it is on disk.
    pub coverage: Option<Coverage>,
    /// Requests in the server's window that are not ours.
    pub foreign_requests: u32,
}

impl Report {
    /// One line for people.
    pub fn summary(&self) -> String {
        let walks = self.coverage.as_ref().map_or(0, |coverage| coverage.walks.len());
        match &self.condition {
            Condition::Starting => "starting".to_owned(),
            Condition::Polling if walks > 0 => format!("polling; {walks} stretches of older messages to read"),
            Condition::Polling => "polling".to_owned(),
            Condition::Waiting(why) => (*why).to_owned(),
            Condition::Failing(why) => format!("the API cannot be polled: {why}"),
            Condition::NoRoom(why) => format!("not polling: {why}"),
            Condition::NoKey(why) => format!("no API key is accepted: {why}"),
        }
    }
}
