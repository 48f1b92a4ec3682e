//! The link to the API: the feed with its keys, the request budget, and the API's clock.
//!
//! Invariant: a request leaves only through this file, and is recorded in the budget before it leaves.

use std::time::Duration;

use crate::api::Response;
use crate::api::budget::{Budget, BudgetLimits, Demand, Permission, RateHeaders, RequestPurpose, Ticket};
use crate::domain::{Cursor, UnixMs};
use crate::ingest::feed::{Feed, NumberPageFuture, PageFuture};
use crate::ingest::foreign_requests::{ForeignNotice, ForeignReport};
use crate::ingest::report::ApiBudget;
use crate::ingest::server_clock::{LocalClocks, ServerClock};
use crate::ingest::waiting_readers::HeadPaces;
use crate::metrics::IngestMetrics;
use crate::time::Instant;

/// The feed, the request budget, and what the answers of the API have shown about the time and about other programs.
pub(super) struct ApiLink<F> {
    feed: F,
    budget: Budget,
    server_clock: ServerClock,
    /// How many keys were given up or replaced so far. So this number also identifies the key in use.
    keys_given_up: u64,
    /// Whether a reload has brought other keys.
    has_new_keys: bool,
    foreign_notice: ForeignNotice,
    metrics: IngestMetrics,
}

/// A request whose answer has not come yet.
pub(super) struct InFlightRequest<A> {
    ticket: Ticket,
    /// The value of `keys_given_up` when the request was sent: it identifies the request's key. If the API refuses this
    /// key, but another key has come into use since, that other key is not given up.
    key: u64,
    answer: A,
}

impl<A> InFlightRequest<A> {
    /// Returns the future answer.
    pub(super) fn answer(&mut self) -> &mut A {
        &mut self.answer
    }
}

impl<F: Feed> ApiLink<F> {
    pub(super) fn new(feed: F, budget: Budget, metrics: IngestMetrics) -> Self {
        let (server_clock, foreign_notice) = (ServerClock::default(), ForeignNotice::default());
        Self { feed, budget, server_clock, keys_given_up: 0, has_new_keys: false, foreign_notice, metrics }
    }

    pub(super) fn admit(&mut self, purpose: RequestPurpose, now: Instant) -> Permission {
        self.budget.admit(purpose, now)
    }

    /// Asks for up to `limit` messages: the next older ones after the page that gave `cursor`, or the newest ones if
    /// there is no cursor. `wall` is the relay's time.
    pub(super) fn fetch(
        &mut self,
        purpose: RequestPurpose,
        cursor: Option<&Cursor>,
        limit: u32,
        now: Instant,
        wall: UnixMs,
    ) -> InFlightRequest<PageFuture> {
        let ticket = self.budget.send(purpose, now, wall);
        InFlightRequest { ticket, key: self.keys_given_up, answer: self.feed.fetch(cursor, limit, wall) }
    }

    /// Asks for the numbers that follow the page that gave `cursor`, or for the first numbers if there is no cursor.
    pub(super) fn fetch_numbers(
        &mut self,
        purpose: RequestPurpose,
        cursor: Option<&Cursor>,
        now: Instant,
        wall: UnixMs,
    ) -> InFlightRequest<NumberPageFuture> {
        let ticket = self.budget.send(purpose, now, wall);
        InFlightRequest { ticket, key: self.keys_given_up, answer: self.feed.fetch_numbers(cursor, wall) }
    }

    /// Records that a request was answered.
    pub(super) fn answered<A, P>(
        &mut self,
        request: &InFlightRequest<A>,
        response: &Response<P>,
        now: Instant,
        wall: UnixMs,
    ) {
        self.budget.answered(request.ticket, &response.rate, now, wall);
        self.metrics.request_answered(response.status());
        self.metrics.foreign_requests_seen(self.budget.window().foreign_in_total());
    }

    /// Handles a 429 answer. Returns the length of the silence. If the answer states none, the length is `fallback` of
    /// the number of successive 429s. From the second successive 429 on, no silence is shorter than that.
    pub(super) fn rate_limited(
        &mut self,
        headers: &RateHeaders,
        fallback: impl Fn(u32) -> Duration,
        now: Instant,
    ) -> Duration {
        self.budget.window().refused(headers, fallback, now)
    }

    /// Records that the answer to a request was no 429.
    pub(super) fn not_rate_limited<A>(&mut self, request: &InFlightRequest<A>) {
        self.budget.window().not_refused(request.ticket);
    }

    pub(super) fn rate_limits_in_a_row(&mut self) -> u32 {
        self.budget.window().refusals()
    }

    /// Returns the instant before which no request may leave, because the API wants silence; `None` if requests may
    /// leave now.
    pub(super) fn silent_until(&mut self, now: Instant) -> Option<Instant> {
        self.budget.window().silent_until(now)
    }

    /// Returns the paces of head polls that the present budget allows. The last head poll began at `began` and took
    /// `requests` requests.
    pub(super) fn head_paces(&mut self, demand: Demand, requests: u32, began: Instant, now: Instant) -> HeadPaces {
        let window = self.budget.window();
        HeadPaces {
            usual: window.head_spacing(demand, requests, began, now),
            interval: window.head_interval(),
            spare: window.spare_spacing(began, now),
            beside_others: window.spacing_beside(demand, requests),
        }
    }

    /// Returns how many requests a minute the budget leaves for reading older messages.
    pub(super) fn background_pace(&mut self) -> f64 {
        self.budget.window().background()
    }

    /// Returns the limit that the API's headers state, and the number of foreign requests. `wall` is the relay's time.
    pub(super) fn api_budget(&mut self, now: Instant, wall: UnixMs) -> ApiBudget {
        let found = self.budget.window().foreign_for_certain();
        let (limit, rest) =
            self.budget.window().server(now).map(|(limit, remaining, left)| (limit, (remaining, left))).unzip();
        ApiBudget {
            foreign: found.before.max(found.so_far),
            server_limit: limit.flatten(),
            server_remaining: rest.map(|(remaining, _)| remaining),
            server_resets_at: rest.map(|(_, left)| wall.after(left)),
        }
    }

    /// Returns what identifies the account: the URL of the API and the fingerprint of the key.
    pub(super) fn identity(&self) -> (String, String) {
        self.feed.identity()
    }

    /// Returns the scheme, host and port of the API; `None` if its address is no URL.
    pub(super) fn host(&self) -> Option<String> {
        let url = reqwest::Url::parse(&self.feed.identity().0).ok()?;
        Some(url.origin().ascii_serialization())
    }

    /// Returns whether there are other keys besides the key in use.
    pub(super) fn has_several_keys(&self) -> bool {
        self.feed.keys() > 1
    }

    /// Returns whether a reload has brought other keys.
    pub(super) fn has_new_keys(&self) -> bool {
        self.has_new_keys
    }

    /// Returns whether a request was sent with the key that is in use now.
    pub(super) fn was_sent_with_key_in_use<A>(&self, request: &InFlightRequest<A>) -> bool {
        request.key == self.keys_given_up
    }

    /// Gives up the key in use and takes the next key. Returns `false` if all keys were tried; then the first key is in
    /// use again.
    pub(super) fn next_key(&mut self) -> bool {
        self.keys_given_up += 1;
        self.feed.next_key()
    }

    /// Returns the last characters of the key in use.
    pub(super) fn key_ending(&self) -> Option<String> {
        self.feed.key_ending()
    }

    /// Sends all further requests to `feed`. Returns whether its key or address differs from the previous one. Requests
    /// under way are still answered by the previous feed.
    pub(super) fn replace_feed(&mut self, feed: F) -> bool {
        let before = self.feed.identity();
        self.feed = feed;
        let is_other_key = self.feed.identity() != before;
        self.keys_given_up += u64::from(is_other_key);
        self.has_new_keys |= is_other_key;
        is_other_key
    }

    /// Sets new limits of the budget. `wall` is the relay's time.
    pub(super) fn set_limits(&mut self, limits: BudgetLimits, now: Instant, wall: UnixMs) {
        self.budget.set_limits(limits, now, wall);
    }

    /// Returns the API's time, as a page of messages shows it: by its `Date`, or, without a `Date`, by the latest
    /// `ingestedAt` of its messages. `own` has the readings of the other clocks at the moment when the page came.
    pub(super) fn read_clock(
        &mut self,
        date: Option<UnixMs>,
        newest_ingested: Option<UnixMs>,
        own: LocalClocks,
    ) -> UnixMs {
        self.server_clock.read(date, newest_ingested, own)
    }

    /// Returns the API's time; `None` until the first page of messages has come.
    pub(super) fn server_time(&self, now: Instant) -> Option<UnixMs> {
        self.server_clock.estimate(now)
    }

    /// Restores the last report about foreign requests, made by an earlier process: it stated this many requests a
    /// minute.
    pub(super) fn restore_foreign_notice(&mut self, requests: u32) {
        self.foreign_notice = ForeignNotice::remembered(requests);
    }

    /// Logs foreign requests if a report is due. If the reported number of requests a minute changes, returns the new
    /// number, and the caller has to record it in the state.
    pub(super) fn due_foreign_report(&mut self) -> Option<u32> {
        let found = self.budget.window().foreign_for_certain();
        let before = self.foreign_notice.requests();
        match self.foreign_notice.note(found) {
            Some(ForeignReport::Ended) => tracing::info!("no other program uses the API key any more"),
            Some(ForeignReport::Heavy { requests }) => {
                tracing::warn!(
                    requests_a_minute = requests,
                    "other programs use the same API key; leaving room for them"
                );
            }
            None => {}
        }
        let told = self.foreign_notice.requests();
        (told != before).then_some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::budget::WINDOW;
    use crate::api::{Error, Page};
    use crate::domain::More;
    use crate::time::Clock;

    /// A feed with two keys, whose API answers with an empty page.
    struct TwoKeys(usize);

    impl Feed for TwoKeys {
        fn fetch(&self, _: Option<&Cursor>, _: u32, _: UnixMs) -> PageFuture {
            let page: Result<Page, Error> = Ok(Page { rows: Vec::new(), more: More::End, total: None });
            Box::pin(std::future::ready(Response { date: None, rate: RateHeaders::default(), page }))
        }

        fn identity(&self) -> (String, String) {
            ("https://api".to_owned(), self.0.to_string())
        }

        fn keys(&self) -> usize {
            2
        }

        fn next_key(&mut self) -> bool {
            self.0 = (self.0 + 1) % 2;
            self.0 != 0
        }
    }

    fn link(requests: u32) -> ApiLink<TwoKeys> {
        let limits = BudgetLimits { requests, window: WINDOW, head_interval: Duration::from_secs(1) };
        ApiLink::new(TwoKeys(0), Budget::in_memory(limits), IngestMetrics::unread())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_in_the_budget_before_it_leaves() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut link = link(1);
        assert_eq!(link.admit(RequestPurpose::Head, now), Permission::Go);
        let mut request = link.fetch(RequestPurpose::Head, None, 10, now, UnixMs(0));
        assert_ne!(link.admit(RequestPurpose::Head, now), Permission::Go, "the only slot is taken");
        let response = request.answer().await;
        link.answered(&request, &response, now, UnixMs(0));
        assert_eq!(link.admit(RequestPurpose::Head, now), Permission::WaitUntil(now + WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_for_the_key_that_was_refused() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut link = link(100);
        let first = link.fetch(RequestPurpose::Head, None, 10, now, UnixMs(0));
        let beside = link.fetch(RequestPurpose::Walk, None, 10, now, UnixMs(0));
        assert!(link.was_sent_with_key_in_use(&first) && link.has_several_keys());
        assert!(link.next_key(), "the second key is in use");
        assert!(!link.was_sent_with_key_in_use(&beside), "it was sent with the first key, but the second is in use");
        assert!(!link.next_key(), "the first key is in use again");
        assert!(!link.was_sent_with_key_in_use(&beside), "it was sent with the first key before that key was given up");
    }
}
