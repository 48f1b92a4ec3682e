//! The feed of a relay that may share its state with other relays. If the state is shared, requests leave only while
//! this relay has the lease.
//!
//! Before a request leaves, it is recorded in the database, in a transaction that checks the lease. So a relay that was
//! suspended, and has lost the lease in this time, sends no request. And the next holder of the lease can count the
//! recorded requests in its own budget.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::feed::{Feed, NumberPageFuture, PageFuture};
use crate::api::budget::RateHeaders;
use crate::api::{self, Response};
use crate::domain::{Cursor, UnixMs};
use crate::store::{Error, RequestTransactions};

/// The slots of the request budget that this relay may take while it has a lease.
#[derive(Clone)]
pub struct RequestSlots {
    records: Arc<Mutex<Box<dyn RequestTransactions>>>,
    epoch: i64,
    may_send: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl RequestSlots {
    /// Makes the slots for the lease with this `epoch`. `may_send` is called right before each request, and says by
    /// this machine's clock whether the lease still lasts.
    pub fn new(
        records: Box<dyn RequestTransactions>,
        epoch: i64,
        may_send: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { records: Arc::new(Mutex::new(records)), epoch, may_send: Arc::new(may_send) }
    }

    /// Reads the recorded requests of the last minutes: how long ago each was answered, or `None` if it was not
    /// answered.
    ///
    /// # Errors
    /// Returns the errors of the store.
    pub async fn recent_requests(&self) -> Result<Vec<Option<Duration>>, Error> {
        self.ask(|records| records.recent_requests()).await
    }

    /// Sends `request` if it gets a slot.
    async fn send<P>(self, request: Pin<Box<dyn Future<Output = Response<P>> + Send>>) -> Response<P> {
        let epoch = self.epoch;
        let slot = match self.ask(move |records| records.record_request(epoch)).await {
            Ok(slot) if (self.may_send)() => slot,
            Ok(_) => return not_sent(&Error::RoleLost),
            Err(error) => return not_sent(&error),
        };
        let response = request.await;
        if let Err(error) = self.ask(move |records| records.record_answer(slot)).await {
            tracing::debug!(%error, "an answer could not be recorded; its request counts as being under way");
        }
        response
    }

    /// Asks the database on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn RequestTransactions) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let records = Arc::clone(&self.records);
        let asked =
            tokio::task::spawn_blocking(move || work(&mut **records.lock().unwrap_or_else(PoisonError::into_inner)));
        asked.await.unwrap_or_else(|failed| Err(Error::Database(failed.into())))
    }
}

/// Makes the answer to a request that was not sent.
fn not_sent<P>(why: &Error) -> Response<P> {
    let page = Err(api::Error::Transport(format!("the request was not sent: {why}")));
    Response { date: None, rate: RateHeaders::default(), page }
}

/// A feed. If the relay shares its state, each request needs one of the [`RequestSlots`].
pub struct LeasedFeed<F> {
    feed: F,
    slots: Option<RequestSlots>,
}

impl<F: Feed> LeasedFeed<F> {
    /// Makes a feed that takes one of `slots` for each request to `feed`. `None` means that the relay does not share
    /// its state.
    pub fn new(feed: F, slots: Option<RequestSlots>) -> Self {
        Self { feed, slots }
    }
}

impl<F: Feed> Feed for LeasedFeed<F> {
    fn fetch(&self, cursor: Option<&Cursor>, limit: u32, now: UnixMs) -> PageFuture {
        let request = self.feed.fetch(cursor, limit, now);
        match self.slots.clone() {
            Some(slots) => Box::pin(slots.send(request)),
            None => request,
        }
    }

    fn fetch_numbers(&self, cursor: Option<&Cursor>, now: UnixMs) -> NumberPageFuture {
        let request = self.feed.fetch_numbers(cursor, now);
        match self.slots.clone() {
            Some(slots) => Box::pin(slots.send(request)),
            None => request,
        }
    }

    fn identity(&self) -> (String, String) {
        self.feed.identity()
    }

    fn keys(&self) -> usize {
        self.feed.keys()
    }

    fn key_ending(&self) -> Option<String> {
        self.feed.key_ending()
    }

    fn next_key(&mut self) -> bool {
        self.feed.next_key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Page;
    use crate::domain::More;
    use crate::store::RequestId;

    type Events = Arc<Mutex<Vec<&'static str>>>;

    /// A feed that records when a request leaves.
    struct Noting(Events);

    impl Feed for Noting {
        fn fetch(&self, _: Option<&Cursor>, _: u32, _: UnixMs) -> PageFuture {
            let events = Arc::clone(&self.0);
            Box::pin(async move {
                events.lock().unwrap().push("sent");
                let page = Page { rows: Vec::new(), more: More::End, total: None };
                Response { date: None, rate: RateHeaders::default(), page: Ok(page) }
            })
        }

        fn identity(&self) -> (String, String) {
            ("https://api".to_owned(), "key".to_owned())
        }

        fn next_key(&mut self) -> bool {
            false
        }
    }

    struct Records {
        events: Events,
        is_held: bool,
    }

    impl RequestTransactions for Records {
        fn record_request(&mut self, epoch: i64) -> Result<RequestId, Error> {
            assert_eq!(epoch, 7);
            self.events.lock().unwrap().push("recorded");
            if self.is_held { Ok(RequestId::of(1)) } else { Err(Error::RoleLost) }
        }

        fn record_answer(&mut self, _: RequestId) -> Result<(), Error> {
            self.events.lock().unwrap().push("answered");
            Err(Error::Database("the database is gone".into()))
        }

        fn recent_requests(&self) -> Result<Vec<Option<Duration>>, Error> {
            Ok(Vec::new())
        }
    }

    /// Makes one request. Returns whether a page came, and the recorded events.
    async fn request(is_held: bool, may_send: bool) -> (bool, Vec<&'static str>) {
        let events = Events::default();
        let records = Records { events: Arc::clone(&events), is_held };
        let slots = RequestSlots::new(Box::new(records), 7, move || may_send);
        let feed = LeasedFeed::new(Noting(Arc::clone(&events)), Some(slots));
        let response = feed.fetch(None, 10, UnixMs(0)).await;
        let events = events.lock().unwrap().clone();
        (response.page.is_ok(), events)
    }

    #[tokio::test]
    async fn a_request_is_recorded_before_it_leaves_and_when_it_was_answered() {
        assert_eq!(request(true, true).await, (true, vec!["recorded", "sent", "answered"]));
    }

    #[tokio::test]
    async fn no_request_leaves_without_the_lease() {
        assert_eq!(request(false, true).await, (false, vec!["recorded"]));
        assert_eq!(
            request(true, false).await,
            (false, vec!["recorded"]),
            "the lease ended after the request was recorded"
        );
    }
}
