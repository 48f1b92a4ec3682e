//! What a sink's loop shows of itself: to `status`, to commands that wait for it, and at the end.

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
    /// When the first failure or refusal ended that no success has followed, by the relay's time. Failures before this
    /// process started do not count.
    pub failing_since: Option<UnixMs>,
    /// Why nothing is sent; `None`: messages are sent.
    #[serde(flatten, serialize_with = "write_held", deserialize_with = "read_held")]
    pub held: Option<Held>,
    /// How many attempts begin in a minute, where the receiver limits that by refusing others. `None`: no such limit is known.
    #[serde(rename = "learned_requests_per_minute")]
    pub learned_per_minute: Option<u64>,
}

/// Why nothing is sent to a sink, or one message at a time. Its messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The reader of the output closed it.
    Closed,
    /// The receiver answered 410: it wants nothing more. This lasts until somebody resumes the sink.
    Gone,
    /// Somebody paused the sink. This lasts until somebody resumes it.
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
        /// When the next message is tried, by the relay's time; `None` while one is being tried.
        next: Option<UnixMs>,
    },
}

impl Held {
    /// A pause, which does not pass by itself.
    pub(super) fn paused(reason: PauseReason) -> Self {
        match reason {
            PauseReason::Operator => Self::Operator,
            PauseReason::Gone => Self::Gone,
            PauseReason::Closed => Self::Closed,
            PauseReason::Disabled => Self::Disabled,
        }
    }
}

/// What `status` shows of [`Held`]. It shows pauses by what the state says of them.
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

/// What a sink's loop publishes after each turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) status: SinkStatus,
    /// The sink was idle after this wake-up: nothing was in flight, and nothing was found that may begin now.
    pub(super) idle_after: Option<u64>,
}

impl Published {
    /// What is shown before the first turn of a sink's loop.
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
    /// Deliveries that were cut off before the receiver had answered. They are made again at the next start.
    pub cut_off: usize,
    /// Deliveries that were answered but could not be recorded. They are made again at the next start, too.
    pub unrecorded: usize,
}
