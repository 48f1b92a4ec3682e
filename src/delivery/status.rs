//! The values that a sink's loop publishes, for `status` and for commands that wait for the loop, and the values that
//! it returns at its end.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{PauseReason, UnixMs};

/// The status of one sink after the last turn of its loop. The serialized fields are fields of `sinks` in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkStatus {
    /// The name of the sink.
    #[serde(skip)]
    pub name: String,
    /// Number of deliveries that were begun and are not recorded yet.
    pub in_flight: usize,
    /// Whether an attempt has failed since the last success, and since somebody resumed the sink. Refusals do not
    /// count.
    #[serde(skip)]
    pub failing: bool,
    /// When the first failed or refused attempt since the last success ended, by the relay's time. Failures before this
    /// process started do not count.
    pub failing_since: Option<UnixMs>,
    /// The answer to the last attempt, in words, while attempts fail or are refused; otherwise `None`. At most 160
    /// bytes.
    pub last_failure: Option<String>,
    /// How many messages were delivered since this process started, and when the last delivery was recorded.
    #[serde(flatten)]
    pub delivered: DeliveredMessages,
    /// Why nothing is sent; `None`: messages are sent.
    #[serde(flatten, serialize_with = "write_block", deserialize_with = "read_block")]
    pub blocked_by: Option<BlockedBy>,
    /// How many attempts begin in a minute, if the receiver limits the number by refusing attempts. `None`: no such
    /// limit is known.
    #[serde(rename = "learned_requests_per_minute")]
    pub learned_per_minute: Option<u64>,
}

/// The messages that a sink has delivered since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeliveredMessages {
    /// How many messages were delivered.
    #[serde(rename = "delivered")]
    pub count: u64,
    /// When the last delivery was recorded, by the relay's time.
    #[serde(rename = "last_delivered_at")]
    pub last_at: Option<UnixMs>,
}

impl DeliveredMessages {
    /// Counts a message that was delivered at `now`.
    pub(super) fn count_one(&mut self, now: UnixMs) {
        *self = Self { count: self.count.saturating_add(1), last_at: Some(now) };
    }
}

/// The most bytes of an answer that `status` shows. The status file of the running relay has room for this many.
const LONGEST_ANSWER: usize = 160;

/// Shortens an answer for `status`, and replaces control characters.
pub(super) fn shortened(answer: &str) -> String {
    let fits = |(start, next): &(usize, char)| start + next.len_utf8() <= LONGEST_ANSWER;
    let kept = answer.char_indices().take_while(fits).map(|(_, next)| next);
    kept.map(|next| if next.is_control() { ' ' } else { next }).collect()
}

/// Why a sink sends nothing, or one message at a time. The sink's messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedBy {
    /// A pause, which does not end by itself.
    Pause(PauseReason),
    /// The receiver asked for silence, and has accepted nothing since.
    Silence {
        /// When the silence ends or has ended, by the relay's time.
        until: UnixMs,
    },
    /// The breaker is open: the last attempts all failed, so one message at a time is tried.
    Breaker {
        /// When the next message is tried, by the relay's time; `None` while a message is being tried.
        next_probe: Option<UnixMs>,
    },
}

/// The fields by which `status` shows [`BlockedBy`]. A pause is shown by other fields.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct BlockFields {
    held: Option<String>,
    held_until: Option<UnixMs>,
}

fn write_block<S: Serializer>(blocked_by: &Option<BlockedBy>, serializer: S) -> Result<S::Ok, S::Error> {
    let (word, held_until) = match *blocked_by {
        Some(BlockedBy::Silence { until }) => (Some("busy"), Some(until)),
        Some(BlockedBy::Breaker { next_probe }) => (Some("probing"), next_probe),
        Some(BlockedBy::Pause(_)) | None => (None, None),
    };
    BlockFields { held: word.map(str::to_owned), held_until }.serialize(serializer)
}

fn read_block<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BlockedBy>, D::Error> {
    let BlockFields { held, held_until } = BlockFields::deserialize(deserializer)?;
    Ok(match (held.as_deref(), held_until) {
        (Some("busy"), Some(until)) => Some(BlockedBy::Silence { until }),
        (Some("probing"), next_probe) => Some(BlockedBy::Breaker { next_probe }),
        _ => None,
    })
}

/// The values that a sink's loop publishes after each turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) status: SinkStatus,
    /// The number of the last wake-up that the loop had noticed, if the sink is idle: nothing is in flight, and no
    /// delivery was found that may begin now. `None`: the sink is not idle.
    pub(super) idle_after: Option<u64>,
    /// Whether the sink was removed from the configuration: no delivery begins any more.
    pub(super) is_retired: bool,
}

impl Published {
    /// The values that are shown before the first turn of a sink's loop.
    pub(super) fn at_start(name: &str) -> Self {
        let status = SinkStatus { name: name.to_owned(), ..SinkStatus::default() };
        Self { status, idle_after: None, is_retired: false }
    }
}

/// How delivery ended: how many deliveries under way were not recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Deliveries that were cut off before the receiver had answered. The next process attempts them again.
    pub cut_off: usize,
    /// Deliveries that were answered but could not be recorded. The next process attempts them again, too.
    pub unrecorded: usize,
}
