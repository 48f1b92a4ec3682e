//! The interface through which the poller asks the API. The real program sends HTTP requests; tests with paused time
//! use a test double in memory.

use std::pin::Pin;

use crate::api::budget::RateHeaders;
use crate::api::{Client, NumberPage, Response};
use crate::domain::{Cursor, More, UnixMs};

/// The future answer to a request for messages.
pub type PageFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The future answer to a request for numbers.
pub type NumberPageFuture = Pin<Box<dyn Future<Output = Response<NumberPage>> + Send>>;

/// The source of pages.
pub trait Feed: Send {
    /// Asks for up to `limit` messages: the next older ones after the page that gave `cursor`, or the newest ones if
    /// there is no cursor. `now` is the relay's time.
    fn fetch(&self, cursor: Option<&Cursor>, limit: u32, now: UnixMs) -> PageFuture;
    /// Asks for the numbers that follow the page that gave `cursor`, or for the first numbers if there is no cursor. A
    /// feed that knows no numbers answers with an empty list.
    fn fetch_numbers(&self, _cursor: Option<&Cursor>, _now: UnixMs) -> NumberPageFuture {
        let page = Ok(NumberPage { numbers: Vec::new(), spoiled: 0, more: More::End });
        Box::pin(std::future::ready(Response { date: None, rate: RateHeaders::default(), page }))
    }
    /// Returns what identifies the account: the URL of the API and the fingerprint of the key.
    fn identity(&self) -> (String, String);
    /// Returns how many keys are configured.
    fn keys(&self) -> usize {
        1
    }
    /// Returns the last characters of the key in use, by which people recognise the key; `None` if the key is too short
    /// to show a part of it.
    fn key_ending(&self) -> Option<String> {
        None
    }
    /// Changes to the next key. After the last key the method returns `false` and changes to the first key.
    fn next_key(&mut self) -> bool;
}

impl Feed for Client {
    fn fetch(&self, cursor: Option<&Cursor>, limit: u32, now: UnixMs) -> PageFuture {
        Box::pin(Client::fetch(self, cursor, limit, now))
    }

    fn fetch_numbers(&self, cursor: Option<&Cursor>, now: UnixMs) -> NumberPageFuture {
        Box::pin(Client::fetch_numbers(self, cursor, now))
    }

    fn identity(&self) -> (String, String) {
        let fingerprint = self.key().map(crate::secret::Secret::fingerprint).unwrap_or_default();
        (self.address().to_owned(), fingerprint)
    }

    fn keys(&self) -> usize {
        self.key_count()
    }

    fn key_ending(&self) -> Option<String> {
        self.key().and_then(crate::secret::Secret::ending)
    }

    fn next_key(&mut self) -> bool {
        Client::next_key(self)
    }
}
