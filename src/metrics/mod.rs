//! The metrics of the relay, in the text format of Prometheus.
//!
//! Counters and histograms are updated where things happen, through the handles [`IngestMetrics`] and [`SinkMetrics`].
//! Gauges are values of the moment: [`Gauges`] is filled anew for each scrape. docs/metrics.md describes every metric,
//! and a test compares this document with the code.
//!
//! Invariants: every name begins with `joltsms_relay_`; every metric has the label `account`; no label holds a phone
//! number, a message or a secret. Counters begin at zero with each process.
//!
//! The crate `prometheus` writes the text format that `promtool check metrics` accepts. The official crate
//! `prometheus-client` writes only OpenMetrics. There the `TYPE` line of a counter has the counter's name without
//! `_total`, and promtool refuses such a line.

mod gauges;
mod ingest;
mod sink;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

pub use gauges::{DeadLetterCount, Gauges, PauseGauge, QueueGauge};
pub use ingest::IngestMetrics;
pub use sink::SinkMetrics;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The beginning of every name, without the `_` that follows.
const PREFIX: &str = "joltsms_relay";

/// Why the metrics cannot be made or written. Every cause is a bug of the relay.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be made: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// All metrics of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    account: String,
    ingest: IngestMetrics,
    sinks: sink::SinkVectors,
}

/// Sums over all labels since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MetricTotals {
    /// The number of requests to the API.
    pub requests: u64,
    /// The number of deliveries whose lag was counted. The lag of a delivery is the age of the message when the sink
    /// accepted it.
    pub deliveries: u64,
    /// The sum of these lags, in seconds.
    pub lag_seconds: f64,
}

impl Metrics {
    /// Makes the metrics of a relay for this account: `api.account`.
    ///
    /// # Errors
    /// [`MetricsError`] if two metrics have the same name.
    pub fn new(account: &str) -> Result<Self, MetricsError> {
        let registry = registry(account)?;
        let ingest = IngestMetrics::new(&registry)?;
        let sinks = sink::SinkVectors::new(&registry)?;
        Ok(Self { registry, account: account.to_owned(), ingest, sinks })
    }

    /// Returns the counters of ingest.
    pub fn ingest(&self) -> IngestMetrics {
        self.ingest.clone()
    }

    /// Returns the counters of the sink with this name.
    pub fn sink(&self, name: &str) -> SinkMetrics {
        self.sinks.of(name)
    }

    /// Returns sums over all labels, from which the status page makes its plots of the last hour.
    pub fn totals(&self) -> MetricTotals {
        let (deliveries, lag_seconds) = self.sinks.lags();
        MetricTotals { requests: self.ingest.requests_made(), deliveries, lag_seconds }
    }

    /// Writes all metrics as text.
    ///
    /// # Errors
    /// [`MetricsError`] if the text cannot be written.
    pub fn text(&self, gauges: &Gauges) -> Result<String, MetricsError> {
        let momentary = registry(&self.account)?;
        gauges.register(&momentary)?;
        let mut families: Vec<MetricFamily> = self.registry.gather();
        families.extend(momentary.gather());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

fn registry(account: &str) -> Result<Registry, MetricsError> {
    let labels = HashMap::from([("account".to_owned(), account.to_owned())]);
    Ok(Registry::new_custom(Some(PREFIX.to_owned()), Some(labels))?)
}

/// Registers a metric and returns it.
fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, MetricsError> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
