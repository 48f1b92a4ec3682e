//! The third lane: the list of numbers, one request at a time. [`Numbers`] decides when which page is read.

use super::api_link::RequestUnderWay;
use crate::api::{NumberPage, Response};
use crate::domain::UnixMs;
use crate::ingest::feed::NumberAnswer;
use crate::ingest::numbers::Numbers;

/// The state of the third lane.
pub(super) struct NumbersLane {
    /// The progress of reading the list.
    list: Numbers,
    flight: Option<RequestUnderWay<NumberAnswer>>,
    /// Why the list cannot be read, and since when, by the relay's time.
    trouble: Option<(String, UnixMs)>,
    told_of_spoiled_rows: bool,
}

impl NumbersLane {
    pub(super) fn new(list: Numbers) -> Self {
        Self { list, flight: None, trouble: None, told_of_spoiled_rows: false }
    }

    pub(super) fn list(&self) -> &Numbers {
        &self.list
    }

    pub(super) fn list_mut(&mut self) -> &mut Numbers {
        &mut self.list
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.flight.is_some()
    }

    /// Records that a request has left.
    pub(super) fn depart(&mut self, request: RequestUnderWay<NumberAnswer>) {
        self.flight = Some(request);
    }

    /// Waits for the answer to the request under way. Without such a request this future never ends.
    pub(super) async fn answer(&mut self) -> Response<NumberPage> {
        match &mut self.flight {
            Some(request) => request.answer().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the request under way and returns it.
    pub(super) fn land(&mut self) -> Option<RequestUnderWay<NumberAnswer>> {
        self.flight.take()
    }

    /// Logs once that rows of the list are no valid JSON. `rows` is how many there are on a page.
    pub(super) fn note_spoiled_rows(&mut self, rows: usize) {
        if rows > 0 && !std::mem::replace(&mut self.told_of_spoiled_rows, true) {
            tracing::warn!(numbers = rows, "rows of the list of numbers are no valid JSON: they are passed over");
        }
    }

    /// Records that the list could not be read, at `now` by the relay's time. The first reason is kept.
    pub(super) fn note_trouble(&mut self, why: &str, now: UnixMs) {
        if self.trouble.is_none() {
            self.trouble = Some((why.to_owned(), now));
        }
    }

    /// Records that the list was read to its end.
    pub(super) fn note_success(&mut self) {
        self.trouble = None;
    }

    /// Returns why the list cannot be read while a delivery waits for it, and since when, by the relay's time.
    pub(super) fn trouble(&self) -> Option<(String, UnixMs)> {
        self.trouble.clone().filter(|_| self.list.awaited())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn trouble_counts_from_its_beginning_and_while_somebody_waits() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut lane = NumbersLane::new(Numbers::new(true, now));
        lane.note_trouble("503", UnixMs(1));
        lane.note_trouble("504", UnixMs(2));
        assert_eq!(lane.trouble(), None, "no delivery waits");
        lane.list_mut().note_awaited(true, now);
        assert_eq!(lane.trouble(), Some(("503".to_owned(), UnixMs(1))));
        lane.note_success();
        assert_eq!(lane.trouble(), None);
    }
}
