//! The state that a sink's loop publishes: for `status`, for commands that wait for the loop, and at the end of
//! delivery.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{PauseReason, UnixMs};

/// The state of one sink after its loop's last turn. The serialized fields are fields of `sinks` in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkStatus {
    /// The name of the sink.
    #[serde(skip)]
    pub name: String,
    /// Number of deliveries that were begun and are not recorded yet.
    pub in_flight: usize,
    /// Whether the last attempt failed.
    #[serde(skip)]
    pub failing: bool,
    /// When the first failure or refusal since the last success ended, by the relay's time. Failures before this process
    /// started do not count.
    pub failing_since: Option<UnixMs>,
    /// Why nothing is sent; `None`: messages are sent.
    #[serde(flatten, serialize_with = "write_held", deserialize_with = "read_held")]
    pub held: Option<Held>,
    /// How many attempts begin in a minute, where the receiver limits the number by refusing attempts. `None`: no such
    /// limit is known.
    #[serde(rename = "learned_requests_per_minute")]
    pub learned_per_minute: Option<u64>,
}

/// Why a sink sends nothing, or one message at a time. The sink's messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The reader of the output closed the output.
    Closed,
    /// The receiver answered 410, which says that it wants no more messages. The hold lasts until somebody resumes the
    /// sink.
    Gone,
    /// Somebody paused the sink. The hold lasts until somebody resumes the sink.
    Operator,
    /// The configuration switches the sink off: `enabled = false`.
    Disabled,
    /// The receiver asked for silence, and has accepted nothing since.
    Busy {
        /// When the silence ends or has ended, by the relay's time.
        until: UnixMs,
    },
    /// The last attempts all failed, so one message at a time is tried.
    Probing {
        /// When the next message is tried, by the relay's time; `None` while a message is being tried.
        next: Option<UnixMs>,
    },
}

impl Held {
    /// Returns the hold of a pause, which does not pass by itself.
    pub(super) fn paused(reason: PauseReason) -> Self {
        match reason {
            PauseReason::Operator => Self::Operator,
            PauseReason::Gone => Self::Gone,
            PauseReason::Closed => Self::Closed,
            PauseReason::Disabled => Self::Disabled,
        }
    }
}

/// The fields by which `status` shows [`Held`]. Pauses are named here as in the state.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct HeldFields {
    held: Option<String>,
    held_until: Option<UnixMs>,
}

fn write_held<S: Serializer>(held: &Option<Held>, serializer: S) -> Result<S::Ok, S::Error> {
    let (word, held_until) = match *held {
        Some(Held::Busy { until }) => (Some("busy"), Some(until)),
        Some(Held::Probing { next }) => (Some("probing"), next),
        Some(Held::Operator | Held::Gone | Held::Closed | Held::Disabled) | None => (None, None),
    };
    HeldFields { held: word.map(str::to_owned), held_until }.serialize(serializer)
}

fn read_held<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Held>, D::Error> {
    let HeldFields { held, held_until } = HeldFields::deserialize(deserializer)?;
    Ok(match (held.as_deref(), held_until) {
        (Some("busy"), Some(until)) => Some(Held::Busy { until }),
        (Some("probing"), next) => Some(Held::Probing { next }),
        _ => None,
    })
}

/// The values that a sink's loop publishes after each turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) status: SinkStatus,
    /// The number of the wake-up after which the sink was idle: nothing was in flight, and no delivery was found that
    /// may begin now.
    pub(super) idle_after: Option<u64>,
}

impl Published {
    /// The values that are shown before the first turn of a sink's loop.
    pub(super) fn at_start(name: &str) -> Self {
        let status = SinkStatus {
            name: name.to_owned(),
            in_flight: 0,
            failing: false,
            failing_since: None,
            held: None,
            learned_per_minute: None,
        };
        Self { status, idle_after: None }
    }
}

/// How the end of delivery went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Deliveries that were cut off before the receiver had answered. The next start makes them again.
    pub cut_off: usize,
    /// Deliveries that were answered but could not be recorded. The next start makes them again, too.
    pub unrecorded: usize,
}
