//! The counters of ingest: requests to the API, and the messages that were read.

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use strum::IntoEnumIterator as _;

use super::{MetricsError, registered};
use crate::domain::Anomaly;

/// The value of the label `status` for a request that got no whole answer.
const NO_STATUS: &str = "none";

/// The counters of the poller. Clones share them.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    requests: IntCounterVec,
    foreign_requests: IntCounter,
    gap_pages: IntCounter,
    messages: IntCounter,
    late_messages: IntCounter,
    anomalies: IntCounterVec,
}

impl IngestMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        let counters = |name: &str, help: &str, label: &str| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let metrics = Self {
            requests: counters(
                "api_requests_total",
                "Requests to the API, by the HTTP status of the answer; none: there was no whole answer.",
                "status",
            )?,
            foreign_requests: counter(
                "api_foreign_requests_total",
                "Requests that other programs made with the same API key, as far as the API's headers show them.",
            )?,
            gap_pages: counter("gap_pages_total", "Pages that were read to close gaps.")?,
            messages: counter("messages_total", "New messages that were read and stored.")?,
            late_messages: counter(
                "late_messages_total",
                "New messages that showed up late, behind newer messages that were read before.",
            )?,
            anomalies: counters(
                "anomalies_total",
                "Behaviour of the API that its documentation does not foresee, by kind.",
                "kind",
            )?,
        };
        // These series exist from the beginning, with the value 0. Prometheus would miss the first increase of a series
        // that begins with 1.
        metrics.requests.with_label_values(&["200"]);
        for anomaly in Anomaly::iter() {
            metrics.anomalies.with_label_values(&[anomaly.as_str()]);
        }
        Ok(metrics)
    }

    /// Returns counters for a test that does not read them.
    #[cfg(test)]
    pub fn unread() -> Self {
        Self::new(&Registry::new()).unwrap()
    }

    /// Counts a request that was answered with this HTTP status. `None` if there was no whole answer.
    pub fn request_answered(&self, status: Option<u16>) {
        let status = status.map_or_else(|| NO_STATUS.to_owned(), |status| status.to_string());
        self.requests.with_label_values(&[status.as_str()]).inc();
    }

    /// Returns the number of requests that were counted, whatever their answer was.
    pub(super) fn requests_made(&self) -> u64 {
        let families = self.requests.collect();
        let counters = families.iter().flat_map(MetricFamily::get_metric);
        counters.map(|metric| whole(metric.get_counter().get_value())).sum()
    }

    /// Records how many requests of other programs the relay has seen since the process began.
    pub fn foreign_requests_seen(&self, total: u64) {
        self.foreign_requests.inc_by(total.saturating_sub(self.foreign_requests.get()));
    }

    /// Counts pages that were read for gaps, and new messages that came late. Late messages are also counted by
    /// [`Self::messages_stored`].
    pub fn page_read(&self, gap_pages: u64, late_messages: u64) {
        self.gap_pages.inc_by(gap_pages);
        self.late_messages.inc_by(late_messages);
    }

    /// Counts new messages that were stored.
    pub fn messages_stored(&self, count: u64) {
        self.messages.inc_by(count);
    }

    /// Counts an anomaly.
    pub fn anomaly_met(&self, anomaly: Anomaly) {
        self.anomalies.with_label_values(&[anomaly.as_str()]).inc();
    }
}

/// Returns the value of a counter as a whole number. The format of Prometheus holds it as a floating-point number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter is whole and not negative")]
fn whole(counter: f64) -> u64 {
    counter as u64
}
