//! The data of a state that commands show: sinks, dead letters, walks, and everything about one message. The backends
//! read and count the data in their `transactions/views.rs`.

use serde::{Serialize, Serializer};

use super::delivery_state::DeliveryState;
use super::error::Error;
use super::operator::{DeadLetterSelection, Pause};
use super::sink_id::SinkId;
use crate::domain::{Marks, RowStanding, Seq, UnixMs, Unread, Walk, WalkId};

/// The state's knowledge of one sink: an element of `sinks list --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkView {
    /// The sink's id.
    #[serde(skip)]
    pub id: SinkId,
    /// The sink's name.
    pub name: String,
    /// Whether the sink was configured at the last start or reload of a relay.
    pub configured: bool,
    /// The pause of the sink; `None` if it is not paused.
    #[serde(flatten, serialize_with = "Pause::serialize_if_any")]
    pub pause: Option<Pause>,
    /// How many messages wait for the sink: undecided, never attempted, or failed.
    pub waiting: u64,
    /// How many of the waiting messages have failed before.
    pub retrying: u64,
    /// How many dead letters the sink has.
    pub dead: u64,
    /// When the oldest of the waiting messages was read from the API; `None` if no message waits.
    #[serde(rename = "oldest_waiting_at")]
    pub oldest: Option<UnixMs>,
    /// The ids of the first waiting messages, at most [`SinkView::WAITING_IDS`]. Messages that have failed before come
    /// first, in the order of their due times. Then come messages that were never attempted, live ones before backfill.
    /// Undecided messages come last.
    pub waiting_ids: Vec<String>,
    /// The earliest due time of the messages that have failed before; `None` if there is no such message.
    #[serde(skip)]
    pub next_retry: Option<UnixMs>,
}

impl SinkView {
    /// The most ids of waiting messages in a view.
    pub const WAITING_IDS: usize = 3;
}

/// One dead letter: an element of `dead-letters list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The message's sequence number.
    #[serde(skip)]
    pub seq: Seq,
    /// The name of the sink.
    pub sink: String,
    /// The API's id of the message.
    pub id: String,
    /// When the message was received, by the API's clock.
    #[serde(rename = "received_at")]
    pub received: UnixMs,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the first attempt was made.
    #[serde(rename = "first_attempt_at")]
    pub first_attempt: Option<UnixMs>,
    /// When the relay gave up.
    #[serde(rename = "died_at")]
    pub died: Option<UnixMs>,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why the relay gave up: the word of a [`crate::domain::DeadReason`].
    pub reason: String,
    /// The last answer, in words.
    pub answer: String,
    /// How often an operator sent the message again.
    pub replays: u64,
}

/// How many dead letters of a sink have the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterReason {
    /// The name of the sink.
    pub sink: String,
    /// The word of a [`crate::domain::DeadReason`].
    pub reason: String,
    /// How many dead letters there are.
    pub count: u64,
}

/// The last dead letter that was listed: [`ViewTransactions::dead_letters`] goes on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpTo {
    pub(super) sink: String,
    pub(super) seq: Seq,
}

impl ListedUpTo {
    /// Returns the place of this dead letter in the list.
    pub fn at(letter: &DeadLetter) -> Self {
        Self { sink: letter.sink.clone(), seq: letter.seq }
    }
}

/// One message, with its delivery to each sink: `trace --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The API's id of the message.
    pub id: String,
    /// When the message was received, by the API's clock.
    #[serde(rename = "received_at")]
    pub received: UnixMs,
    /// When the API took in the message, by the API's clock (`ingestedAt`).
    #[serde(rename = "ingested_at")]
    pub ingested: Option<UnixMs>,
    /// When the relay first read the message.
    #[serde(rename = "first_read_at")]
    pub first_read: UnixMs,
    /// Whether the message is news, and if not, why.
    pub standing: RowStanding,
    /// The gap that has to end before the message is released; `None` if no gap holds the message.
    #[serde(rename = "held", serialize_with = "is_some")]
    pub held_by: Option<WalkId>,
    /// The message's place in the order of release.
    #[serde(rename = "release")]
    pub release_no: Option<i64>,
    /// How many bytes the message's text has; `None` if the text is not kept.
    pub bytes: Option<u64>,
    /// The API's id of the message's number.
    #[serde(rename = "number_id")]
    pub number: Option<String>,
    /// The delivery of the message to each sink that has a delivery of it, in the order of names.
    #[serde(rename = "sinks")]
    pub deliveries: Vec<TracedDelivery>,
    /// The names of configured sinks that have no delivery of the message.
    #[serde(rename = "not_for")]
    pub sinks_without_delivery: Vec<String>,
}

fn is_some<S: Serializer>(walk: &Option<WalkId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(walk.is_some())
}

/// The delivery of a message to one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TracedDelivery {
    /// The name of the sink.
    pub sink: String,
    /// Whether the sink was configured at the last start or reload of a relay.
    pub configured: bool,
    /// Whether the sink is paused.
    pub paused: bool,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// How many attempts were made since an operator last sent the message again.
    pub attempts: u32,
    /// When the first of these attempts was made.
    #[serde(rename = "first_attempt_at")]
    pub first_attempt: Option<UnixMs>,
    /// When the end of the last attempt was recorded, or when the delivery was given up.
    #[serde(rename = "settled_at")]
    pub settled: Option<UnixMs>,
    /// When the next attempt is due.
    #[serde(rename = "due_at")]
    pub due: Option<UnixMs>,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why the delivery is a dead letter.
    pub reason: Option<String>,
    /// The last answer, in words.
    pub answer: Option<String>,
    /// How often an operator sent the message again.
    pub replays: u32,
    /// The name of the other sink that handed the message over to this sink as its fallback; `None` if no other sink
    /// did, or if that sink was dropped.
    pub handed_over_by: Option<String>,
}

/// A message that was released to the sinks, as a reader of arrivals sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The message's place in the order of release.
    pub place: i64,
    /// The message's sequence number.
    pub seq: Seq,
    /// The API's id of the message.
    pub id: String,
    /// When the message was received, by the API's clock.
    pub received: UnixMs,
    /// The JSON text, byte for byte as the API sent it; `None` if the text is not kept any more.
    pub raw: Option<String>,
}

/// Transactions that show the state to operators. They change nothing.
pub trait ViewTransactions {
    /// Reads every sink that was not dropped, in the order of names. With SQLite the sinks are read one after the
    /// other, not at the same moment.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn sinks(&self) -> Result<Vec<SinkView>, Error>;

    /// Reads the values from which the remaining length of a walk is estimated. `total` is the number of rows in the
    /// feed, as the API reports it. The cost does not depend on the length of the walk. It grows with the number of
    /// known rows that a sweep still has to read; at most 100,000 of them are counted.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn unread(&self, walk: &Walk, marks: &Marks, total: Option<u64>) -> Result<Unread, Error>;

    /// Lists the dead letters of a selection: sink by sink in the order of their names, and for each sink the oldest
    /// message first. Returns at most `at_most` dead letters: those that follow `after`, or the first ones if `after`
    /// is `None`.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn dead_letters(
        &self,
        selection: &DeadLetterSelection,
        after: Option<&ListedUpTo>,
        at_most: usize,
    ) -> Result<Vec<DeadLetter>, Error>;

    /// Counts the dead letters of each sink by reason. The cost grows with the number of dead letters.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn dead_letter_reasons(&self) -> Result<Vec<DeadLetterReason>, Error>;

    /// Reads the JSON text of a message, byte for byte as the API sent it; `None` if the text is not kept.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn raw(&self, seq: Seq) -> Result<Option<String>, Error>;

    /// Reads the messages after the place `after` in the order of release, at most `at_most` messages. Leaves out
    /// messages that were in the feed before the first run, messages that came later than the lookback allows, and
    /// events.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn arrivals(&self, after: i64, at_most: usize) -> Result<Vec<Arrival>, Error>;

    /// Reads messages of the same kinds as [`arrivals`](Self::arrivals), but in the reverse order: those whose place in
    /// the order of release is lower than `before`, the highest place first, at most `at_most` messages.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn arrivals_before(&self, before: i64, at_most: usize) -> Result<Vec<Arrival>, Error>;

    /// Returns the place in the order of release after which all messages follow that were received at `since` or
    /// later. It is the place right before the first of these messages. If no such message was released, returns the
    /// place of the message that was released last.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn place_before(&self, since: UnixMs) -> Result<i64, Error>;

    /// Reads the ids of all rows that were received at `since` or later, whatever became of them.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn ids_since(&self, since: UnixMs) -> Result<Vec<String>, Error>;

    /// Reads everything that the state knows of the message with this id; `None` if the state does not know the id.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn trace(&self, id: &str) -> Result<Option<Trace>, Error>;
}
