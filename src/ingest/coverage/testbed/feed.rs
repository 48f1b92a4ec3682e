//! The feed of a test: the API as the relay sees it.

use super::choices::Choices;
use crate::domain::{Cursor, More, Row, UnixMs, WalkId};
use crate::ingest::coverage::Now;

/// The result of a request.
pub enum Answer {
    /// A page: its rows, and what follows it.
    Page(Vec<Row>, More),
    /// The cursor was refused.
    Refused,
    /// There was no answer, or the page cannot be read.
    Failed,
}

/// Which part of the relay makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A head poll.
    Head,
    /// A walk.
    Walk(WalkId),
}

/// The API as the relay sees it.
pub trait Feed {
    /// The time by the API's clock and by the relay's clock.
    fn now(&self) -> Now;

    /// The latest instant that the frontier may have reached.
    fn frontier_limit(&self) -> UnixMs;

    /// Whether the feed has no more troubles, so that no walk has to wait after a failure.
    fn is_calm(&self) -> bool;

    /// Returns how many messages the list has had so far.
    fn messages(&self) -> usize;

    /// Answers a request with this `cursor`, or a request for the first page if there is no cursor.
    fn ask<C: Choices>(&mut self, choices: &mut C, asker: Asker, cursor: Option<&Cursor>) -> Answer;
}
