//! The counters of one sink: how its deliveries ended, and how long they took.

use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::proto::{Metric, MetricFamily};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::{MetricsError, registered};

/// The upper bounds of the histogram of durations, in seconds.
const DURATIONS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The upper bounds of the histogram of delivery lags, in seconds. A lag is the age of a message when the sink accepted
/// it.
const LAGS: [f64; 14] = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0];

/// The metrics of all sinks.
#[derive(Clone, Debug)]
pub(super) struct SinkVectors {
    deliveries: IntCounterVec,
    duration: HistogramVec,
    lag: HistogramVec,
}

/// The metrics of one sink. Clones share them.
#[derive(Clone, Debug)]
pub struct SinkMetrics {
    delivered: IntCounter,
    retry: IntCounter,
    refused: IntCounter,
    dead: IntCounter,
    duration: Histogram,
    lag: Histogram,
}

impl SinkVectors {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let deliveries = Opts::new(
            "deliveries_total",
            "Attempts by outcome. delivered: the sink accepted the message. retry: the attempt failed and is made again. \
             refused: the receiver asked for silence. dead: the message became a dead letter.",
        );
        let duration = HistogramOpts::new(
            "delivery_duration_seconds",
            "Time of an attempt, from its beginning to the answer or failure.",
        );
        let lag = HistogramOpts::new(
            "delivery_lag_seconds",
            "Time from a message's receivedAt until the sink accepted the message; replays do not count.",
        );
        Ok(Self {
            deliveries: registered(registry, IntCounterVec::new(deliveries, &["sink", "outcome"])?)?,
            duration: registered(registry, HistogramVec::new(duration.buckets(DURATIONS.to_vec()), &["sink"])?)?,
            lag: registered(registry, HistogramVec::new(lag.buckets(LAGS.to_vec()), &["sink"])?)?,
        })
    }

    /// Returns how many delivery lags were counted for all sinks, and their sum in seconds.
    pub(super) fn lags(&self) -> (u64, f64) {
        let families = self.lag.collect();
        let sinks = families.iter().flat_map(MetricFamily::get_metric).map(Metric::get_histogram);
        sinks.fold((0, 0.0), |(count, sum), lags| (count + lags.get_sample_count(), sum + lags.get_sample_sum()))
    }

    pub(super) fn of(&self, name: &str) -> SinkMetrics {
        let outcome = |outcome: &str| self.deliveries.with_label_values(&[name, outcome]);
        SinkMetrics {
            delivered: outcome("delivered"),
            retry: outcome("retry"),
            refused: outcome("refused"),
            dead: outcome("dead"),
            duration: self.duration.with_label_values(&[name]),
            lag: self.lag.with_label_values(&[name]),
        }
    }
}

impl SinkMetrics {
    /// Returns metrics for a test that does not read them.
    #[cfg(test)]
    pub fn unread() -> Self {
        SinkVectors::new(&Registry::new()).unwrap().of("unread")
    }

    /// Counts an attempt that was sent, and how long it took.
    pub fn attempt_took(&self, took: Duration) {
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts a delivery that the sink accepted. `lag`: how old the message was; `None` for a replay.
    pub fn delivered(&self, lag: Option<Duration>) {
        self.delivered.inc();
        if let Some(lag) = lag {
            self.lag.observe(lag.as_secs_f64());
        }
    }

    /// Counts a failed attempt that will be followed by another attempt.
    pub fn retried(&self) {
        self.retry.inc();
    }

    /// Counts an attempt that a receiver refused because it wants silence.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Counts deliveries that became dead letters.
    pub fn died(&self, count: u64) {
        self.dead.inc_by(count);
    }
}
