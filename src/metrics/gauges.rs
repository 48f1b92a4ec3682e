//! The gauges. Their values are read anew for each scrape.

use prometheus::{Gauge, GaugeVec, Opts, Registry};

use super::{MetricsError, registered};
use crate::domain::{DeadReason, PauseReason};

/// The values of all gauges at one moment. A gauge without a value is left out of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// `api.requests_per_minute`.
    pub budget_limit: Option<u64>,
    /// How many requests may still be sent now.
    pub budget_remaining: Option<u64>,
    /// When the newest page was last read, in milliseconds since 1970.
    pub last_poll_ms: Option<i64>,
    /// The time up to which all messages were read, or will be read by an open gap, in milliseconds since 1970.
    pub frontier_ms: Option<i64>,
    /// How many gaps are open.
    pub gaps: u64,
    /// The disk space of the state in bytes.
    pub state_bytes: u64,
    /// Whether the relay is the active one of the relays that share the state; `None` if the state is not shared.
    pub active: Option<bool>,
    /// After how many seconds the lease of the active relay ends, unless that relay renews it.
    pub lease_seconds: Option<f64>,
    /// How often a relay became the active one so far.
    pub epoch: Option<u64>,
    /// The version of the relay.
    pub version: &'static str,
    /// The queue of each sink.
    pub queues: Vec<QueueGauge>,
    /// The pause of each paused sink.
    pub pauses: Vec<PauseGauge>,
    /// How many dead letters each sink has for each reason that occurs.
    pub dead_letters: Vec<DeadLetterCount>,
}

/// The messages that wait for a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueGauge {
    /// The name of the sink.
    pub sink: String,
    /// How many messages wait.
    pub messages: u64,
    /// The age of the oldest waiting message in seconds; 0 if no message waits.
    pub oldest_age_seconds: f64,
}

/// The pause of a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct PauseGauge {
    /// The name of the sink.
    pub sink: String,
    /// Why the sink is paused.
    pub reason: PauseReason,
}

/// The dead letters of a sink that have the same reason.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterCount {
    /// The name of the sink.
    pub sink: String,
    /// The reason: the word of a [`DeadReason`].
    pub reason: String,
    /// How many dead letters there are.
    pub count: u64,
}

impl Gauges {
    /// Makes a gauge of each value, and registers it.
    pub(super) fn register(&self, registry: &Registry) -> Result<(), MetricsError> {
        let gauge = |name: &str, help: &str, value: Option<f64>| -> Result<(), MetricsError> {
            if let Some(value) = value {
                registered(registry, Gauge::new(name, help)?)?.set(value);
            }
            Ok(())
        };
        gauge(
            "api_budget_limit",
            "Requests that the relay makes at most in 60 seconds.",
            self.budget_limit.map(number),
        )?;
        gauge("api_budget_remaining", "Requests that may still leave now.", self.budget_remaining.map(number))?;
        let help = "When the newest page of the API was last read, as a Unix time.";
        gauge("last_poll_timestamp_seconds", help, self.last_poll_ms.map(seconds))?;
        let help = "Messages up to this Unix time were read, or lie in an open gap.";
        gauge("frontier_timestamp_seconds", help, self.frontier_ms.map(seconds))?;
        gauge("gaps", "Stretches of missed messages that are being read.", Some(number(self.gaps)))?;
        gauge("state_bytes", "Disk space of the state, its journal included.", Some(number(self.state_bytes)))?;
        let help = "Whether the relay is the active one of those that share the state: 1 or 0.";
        gauge("active", help, self.active.map(|active| number(active.into())))?;
        let help = "Seconds until the lease of the active relay ends, unless that relay renews it.";
        gauge("lease_seconds", help, self.lease_seconds)?;
        gauge("epoch", "How often a relay became the active one so far.", self.epoch.map(number))?;
        let build = gauges(registry, "build_info", "The version of the relay; always 1.", &["version"])?;
        build.with_label_values(&[self.version]).set(1.0);
        self.register_sinks(registry)
    }

    fn register_sinks(&self, registry: &Registry) -> Result<(), MetricsError> {
        let by_reason = ["sink", "reason"];
        let messages = gauges(registry, "queue_messages", "Messages that wait for the sink.", &["sink"])?;
        let help = "Age of the oldest message that waits for the sink; 0 if no message waits.";
        let oldest = gauges(registry, "queue_oldest_age_seconds", help, &["sink"])?;
        let dead = gauges(registry, "dead_letters", "Dead letters of the sink, by reason.", &by_reason)?;
        let help = "Whether the sink is paused for this reason: 1 or 0.";
        let paused = gauges(registry, "sink_paused", help, &by_reason)?;
        for QueueGauge { sink, messages: count, oldest_age_seconds } in &self.queues {
            messages.with_label_values(&[sink.as_str()]).set(number(*count));
            oldest.with_label_values(&[sink.as_str()]).set(*oldest_age_seconds);
            for reason in DeadReason::ALL {
                dead.with_label_values(&[sink.as_str(), reason.as_str()]).set(0.0);
            }
            for reason in PauseReason::ALL {
                paused.with_label_values(&[sink.as_str(), reason.as_str()]).set(0.0);
            }
        }
        for DeadLetterCount { sink, reason, count } in &self.dead_letters {
            dead.with_label_values(&[sink.as_str(), reason.as_str()]).set(number(*count));
        }
        for PauseGauge { sink, reason } in &self.pauses {
            paused.with_label_values(&[sink.as_str(), reason.as_str()]).set(1.0);
        }
        Ok(())
    }
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
    registered(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

#[expect(clippy::cast_precision_loss, reason = "no count needs more than 53 bits")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "no time needs more than 53 bits")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
