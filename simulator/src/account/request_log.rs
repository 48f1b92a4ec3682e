//! The log of requests and answers, which tests read afterwards.
//!
//! Invariants: every request to the API is logged when it arrives, in the order of arrival, before any part of its
//! answer is sent. Requests to the control API are not logged. No entry contains a secret. The log keeps only the
//! newest entries; its counters count all requests.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// One request to the API.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedRequest {
    /// The request's number, counted from 1.
    pub number: u64,
    /// The time since the simulator's start at which the request arrived, on the simulator's clock. In JSON, in
    /// seconds.
    #[serde(serialize_with = "seconds")]
    pub at: Duration,
    /// The date at which the request arrived.
    pub wall: Timestamp,
    /// The method, such as `GET`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query as it came, still percent-encoded.
    pub query: String,
    /// The `cursor` of the query, decoded.
    pub cursor: Option<String>,
    /// The id of the key that was accepted.
    pub key: Option<String>,
    /// Whether a browser session was accepted.
    pub session: bool,
    /// The status of the answer; `None` if a fault left the request without an answer.
    pub status: Option<u16>,
    /// How many requests of the key's budget were left after this request; `None` without a key.
    pub remaining: Option<u32>,
    /// The length of the answer's body, as announced.
    pub bytes: u64,
    /// How many rows the answered page had.
    pub rows: usize,
    /// The number of the fault rule that acted, counted from 1 in the order in which rules were added.
    pub fault: Option<u64>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Totals of the requests since the start or since the last `clear`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// The number of requests to the API.
    pub requests: u64,
    /// The number of answers by status; 0 stands for no answer.
    pub by_status: BTreeMap<u16, u64>,
    /// The number of requests on which a fault rule acted.
    pub faults: u64,
    /// The number of rows on all pages.
    pub rows: u64,
    /// The number of bytes in all bodies.
    pub bytes: u64,
}

#[derive(Debug)]
pub(crate) struct RequestLog {
    entries: VecDeque<LoggedRequest>,
    capacity: usize,
    logged: u64,
    pub(crate) counters: Counters,
}

impl RequestLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity, logged: 0, counters: Counters::default() }
    }

    pub(crate) fn push(&mut self, mut entry: LoggedRequest) {
        self.logged += 1;
        entry.number = self.logged;
        self.counters.requests += 1;
        *self.counters.by_status.entry(entry.status.unwrap_or(0)).or_default() += 1;
        self.counters.faults += u64::from(entry.fault.is_some());
        self.counters.rows += entry.rows as u64;
        self.counters.bytes += entry.bytes;
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Returns the entries with a number above `after`.
    pub(crate) fn after(&self, after: u64) -> impl Iterator<Item = &LoggedRequest> {
        self.entries.iter().skip(self.entries.partition_point(|entry| entry.number <= after))
    }

    /// Returns the last entries, newest first.
    pub(crate) fn newest(&self, count: usize) -> impl Iterator<Item = &LoggedRequest> {
        self.entries.iter().rev().take(count)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.counters = Counters::default();
    }

    /// Returns the most requests that arrived within any stretch of this length. The end of a stretch does not belong
    /// to the stretch: if two requests are exactly one window apart, the second is in another window.
    pub(crate) fn most_within(&self, length: Duration) -> usize {
        let mut oldest = 0;
        let mut most = 0;
        for (newest, entry) in self.entries.iter().enumerate() {
            while entry.at.saturating_sub(self.entries[oldest].at) >= length && oldest < newest {
                oldest += 1;
            }
            most = most.max(newest + 1 - oldest);
        }
        most
    }
}
