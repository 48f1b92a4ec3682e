//! The third lane: the list of numbers, one request at a time. [`NumberList`] decides which page is read, and when.

use super::api_link::InFlightRequest;
use crate::api::{NumberPage, Response};
use crate::domain::UnixMs;
use crate::ingest::feed::NumberPageFuture;
use crate::ingest::number_list::NumberList;

pub(super) struct NumbersLane {
    /// The progress of reading the list.
    list: NumberList,
    in_flight: Option<InFlightRequest<NumberPageFuture>>,
    /// Why the list cannot be read, and since when, by the relay's time.
    trouble: Option<(String, UnixMs)>,
    has_logged_spoiled_rows: bool,
}

impl NumbersLane {
    pub(super) fn new(list: NumberList) -> Self {
        Self { list, in_flight: None, trouble: None, has_logged_spoiled_rows: false }
    }

    pub(super) fn list(&self) -> &NumberList {
        &self.list
    }

    pub(super) fn list_mut(&mut self) -> &mut NumberList {
        &mut self.list
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Records that a request has left.
    pub(super) fn begin_request(&mut self, request: InFlightRequest<NumberPageFuture>) {
        self.in_flight = Some(request);
    }

    /// Waits for the answer to the request under way. Without such a request this future never ends.
    pub(super) async fn answer(&mut self) -> Response<NumberPage> {
        match &mut self.in_flight {
            Some(request) => request.answer().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the request under way and returns it.
    pub(super) fn end_request(&mut self) -> Option<InFlightRequest<NumberPageFuture>> {
        self.in_flight.take()
    }

    /// Logs once that rows of the list are not valid JSON. This page has `rows` such rows.
    pub(super) fn note_spoiled_rows(&mut self, rows: usize) {
        if rows > 0 && !std::mem::replace(&mut self.has_logged_spoiled_rows, true) {
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

    /// If a delivery waits for the list, and the list cannot be read: returns why, and since when, by the relay's time.
    pub(super) fn trouble(&self) -> Option<(String, UnixMs)> {
        self.trouble.clone().filter(|_| self.list.awaited())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn trouble_counts_from_its_beginning_and_only_while_a_delivery_waits() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut lane = NumbersLane::new(NumberList::new(true, now));
        lane.note_trouble("503", UnixMs(1));
        lane.note_trouble("504", UnixMs(2));
        assert_eq!(lane.trouble(), None, "no delivery waits");
        lane.list_mut().note_awaited(true, now);
        assert_eq!(lane.trouble(), Some(("503".to_owned(), UnixMs(1))));
        lane.note_success();
        assert_eq!(lane.trouble(), None);
    }
}
