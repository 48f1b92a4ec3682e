//! The sections and fields of `status`: what `status --json` prints, and what `status` puts into sentences.
//!
//! Invariant: each field of these structs is a field of the JSON, under the same name. The exceptions are fields with
//! `serde(skip)`, and fields with `serde(flatten)`, whose own fields take their place.
//!
//! Some of the flattened structs are declared elsewhere:
//!
//! - `store/views.rs`: the numbers of a sink that the store counts, such as `waiting`
//! - `delivery/status.rs`: the numbers of a sink that delivery reports
//! - `ingest/report.rs`: the numbers of the poller
//! - `status_file.rs`: the report of the process about itself
//!
//! `gather.rs` computes the values, except the counts of the store (`store/sqlite/transactions/views.rs` and its
//! counterpart for PostgreSQL). `cli/status.rs` and `cli/sink_table.rs` print them for people.

use std::time::Duration;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::status_file::RelayReport;
use crate::delivery::SinkStatus;
use crate::domain::UnixMs;
use crate::ingest::{ApiBudget, PollReport, StorageReport};
use crate::store::SinkView;

/// Everything that is known about a relay and its state at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// When the state was read, by the relay's time.
    #[serde(skip)]
    pub now: UnixMs,
    /// The version of the program that answers, which may differ from the version of the relay.
    pub version: &'static str,
    /// Whether `problems` is empty.
    pub healthy: bool,
    /// The problems, each as one short sentence.
    pub problems: Vec<String>,
    /// The state directory.
    pub state: StateStatus,
    /// The relay process that runs or, if none runs, the last one.
    pub relay: RelayStatus,
    /// How the API is polled.
    pub polling: PollingStatus,
    /// Which messages were read. `None` before the first page was read.
    pub coverage: Option<CoverageStatus>,
    /// The request budget.
    pub budget: BudgetStatus,
    /// Every sink that was ever configured and was not dropped, by name.
    pub sinks: Vec<SinkSection>,
    /// The relays that share the state. `None` if the state is not in PostgreSQL.
    pub replicas: Option<ReplicasStatus>,
}

/// The relays that share a state in PostgreSQL.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicasStatus {
    /// The schema that holds the state.
    pub namespace: String,
    /// The name of the active relay. `None` while no relay is active.
    pub active: Option<String>,
    /// The number of times that a relay became the active one so far.
    pub epoch: i64,
    /// The time after which the lease of the active relay ends, unless that relay renews it.
    pub lease_seconds: Option<Seconds>,
    /// The relays that ran in the last ten minutes, by name.
    pub replicas: Vec<ReplicaStatus>,
}

/// A relay that shares a state in PostgreSQL.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaStatus {
    /// The name of the relay: its machine, its process, and a random number.
    pub name: String,
    /// Whether the relay is the active one.
    pub active: bool,
    /// How long ago the relay began to share the state.
    pub joined_age_seconds: Seconds,
    /// How long ago the relay last asked for the lease or renewed it.
    pub seen_age_seconds: Seconds,
}

/// The state directory.
#[derive(Clone, Debug, Serialize)]
pub struct StateStatus {
    /// The path of the directory.
    pub dir: String,
    /// The size of the state on the disk in bytes, its journal included.
    pub bytes: u64,
    /// The report of the running relay about the state; empty if no relay runs.
    #[serde(flatten)]
    pub storage: StorageReport,
}

/// The relay process that runs or, if none runs, the last one.
#[derive(Clone, Debug, Serialize)]
pub struct RelayStatus {
    /// Whether a relay holds the role.
    pub running: bool,
    /// Why the process cannot write a report about itself; `None` if nothing prevents it.
    #[serde(skip)]
    pub obstacle: Option<String>,
    /// The report that the process wrote about itself.
    #[serde(flatten, serialize_with = "fields_or_null")]
    pub report: Option<RelayReport>,
}

/// How the API is polled.
#[derive(Clone, Debug, Serialize)]
pub struct PollingStatus {
    /// `poll.interval`.
    pub interval_seconds: Option<Seconds>,
    /// The time since the newest page was last read.
    pub last_poll_age_seconds: Option<Seconds>,
    /// How much longer than `poll.interval` the time between two polls is, because of the API's limit.
    #[serde(skip)]
    pub slowed_by: Duration,
    /// The report of the poller.
    #[serde(flatten, serialize_with = "fields_or_null")]
    pub report: Option<PollReport>,
}

/// Which messages were read.
#[derive(Clone, Debug, Serialize)]
pub struct CoverageStatus {
    /// `poll.start` at the first run.
    pub start: Option<String>,
    /// The instant up to which all messages were read, or will be read by an open gap.
    pub frontier: UnixMs,
    /// The age of `frontier` by the API's clock.
    pub frontier_age_seconds: Seconds,
    /// When the last completed search for late messages began.
    pub last_sweep_at: UnixMs,
    /// The age of `last_sweep_at` by the API's clock.
    pub last_sweep_age_seconds: Seconds,
    /// The stretches of older messages that are being read.
    pub walks: Vec<WalkStatus>,
}

/// A stretch of older messages that is being read.
#[derive(Clone, Debug, Serialize)]
pub struct WalkStatus {
    /// The kind of messages in the stretch.
    pub kind: ReadingKind,
    /// When reading of the stretch began, by the API's clock.
    pub opened_at: UnixMs,
    /// The oldest instant that has been reached.
    pub reached: UnixMs,
    /// The instant at which the stretch ends. `None`: the stretch ends with the oldest message.
    pub down_to: Option<UnixMs>,
    /// The number of messages that are held until the stretch was read to its end, so that they are released in order.
    pub held_messages: u64,
    /// Whether messages are released as soon as they are read.
    pub streaming: bool,
    /// The number of requests in a row that brought the reading no further.
    pub failures: u32,
    /// An estimate of the pages that are left.
    pub pages_left: Option<u64>,
    /// An estimate of the time that is left, if the relay goes on as fast as in the last minute; whole seconds in the
    /// JSON.
    #[serde(serialize_with = "whole_seconds")]
    pub seconds_left: Option<Duration>,
}

/// The kind of messages in a stretch of older messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingKind {
    /// Messages that the polls have missed, for example during an outage.
    Gap,
    /// Messages that came late: the newest part of the feed, as far back as the lookback, is read once more.
    Sweep,
    /// The messages that were in the feed before the first run.
    Seed,
}

/// The request budget.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetStatus {
    /// The relay's own budget. `None` before the first start.
    #[serde(flatten, serialize_with = "fields_or_null")]
    pub own: Option<OwnBudget>,
    /// The report of the running relay about the API's limit; `None` if no relay runs.
    #[serde(flatten, serialize_with = "fields_or_null")]
    pub api: Option<ApiBudget>,
}

/// The relay's own requests in the last 60 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OwnBudget {
    /// `api.requests_per_minute`.
    pub limit: u64,
    /// The number of requests that were made.
    pub used: u64,
    /// The number of requests that may still be made.
    pub left: u64,
}

/// A sink as `status` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct SinkSection {
    /// The values that the state holds about the sink.
    #[serde(flatten)]
    pub stored: StoredSink,
    /// The report of the running relay about the sink; `None` if no relay runs, or if the running relay does not know
    /// the sink.
    #[serde(flatten, serialize_with = "fields_or_null")]
    pub live: Option<SinkStatus>,
}

/// A sink as `sinks list` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ListedSink {
    /// The values that the state holds about the sink.
    #[serde(flatten)]
    pub stored: StoredSink,
    /// The pace that the relay has learned for the sink ([`SinkStatus::learned_per_minute`]); `None` if no relay runs
    /// or no pace was learned.
    pub learned_requests_per_minute: Option<u64>,
}

/// The values that the state holds about a sink.
#[derive(Clone, Debug, Serialize)]
pub struct StoredSink {
    /// The sink as the state shows it.
    #[serde(flatten)]
    pub view: SinkView,
    /// The age of the oldest waiting message of the sink.
    pub oldest_waiting_age_seconds: Option<Seconds>,
}

impl StoredSink {
    /// Adds the age at `now` of the oldest waiting message to a sink.
    pub fn at(now: UnixMs, view: SinkView) -> Self {
        let oldest_waiting_age_seconds = view.oldest.map(|oldest| Seconds(now.since(oldest)));
        Self { view, oldest_waiting_age_seconds }
    }
}

/// A time span, written to the JSON as seconds with a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

fn whole_seconds<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    span.map(|span| span.as_secs()).serialize(serializer)
}

/// Writes the fields of a report. While there is no report, each field is written as `null`.
fn fields_or_null<T, S>(report: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + Default,
    S: Serializer,
{
    if let Some(report) = report {
        return report.serialize(serializer);
    }
    let fields: Map<String, Value> = match serde_json::to_value(T::default()).map_err(S::Error::custom)? {
        Value::Object(fields) => fields.into_iter().map(|(name, _)| (name, Value::Null)).collect(),
        _ => Map::new(),
    };
    fields.serialize(serializer)
}
