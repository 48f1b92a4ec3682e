//! The transactions of operators: pausing, resuming, renaming and dropping sinks, and settling dead letters.
//!
//! Commands make them beside a relay that may be running. The relay notices them within seconds.
//!
//! Invariants: a paused sink loses nothing, and the pause does not count for `retry.give_up_after`. A dead letter that
//! an operator gave up leaves a record. A sink that a relay may send to is not dropped; nor is one with messages,
//! unless the operator says so.

use serde::{Serialize, Serializer};

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{PauseReason, Seq, SinkName, UnixMs};

/// The pause of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why the sink is paused.
    pub reason: PauseReason,
    /// Since when it is paused.
    pub since: UnixMs,
}

impl Pause {
    /// Serializes the fields `paused` and `paused_at`; both are null without a pause.
    pub(super) fn serialize_if_any<S: Serializer>(pause: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        let (paused, paused_at) = pause.map(|pause| (pause.reason, pause.since)).unzip();
        PauseFields { paused, paused_at }.serialize(serializer)
    }
}

/// [`Pause`] as `sinks list --json` shows it.
#[derive(Serialize)]
struct PauseFields {
    paused: Option<PauseReason>,
    paused_at: Option<UnixMs>,
}

/// What an operator ended by resuming a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// This pause.
    Pause(Pause),
    /// The silence that the receiver had asked for, and until when.
    Silence(UnixMs),
}

/// How often a sink was resumed. Only good for comparing with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumes(pub(super) i64);

/// Which dead letters are meant. Both conditions must hold; without any, all are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterSelection {
    /// Those of the sink with this name.
    pub sink: Option<String>,
    /// Those of the message with this id.
    pub id: Option<String>,
}

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterVerdict {
    /// They are sent again, as if for the first time.
    Retry,
    /// They are given up. A record of them stays.
    Drop,
}

/// The dead letter up to which others were settled: where [`OperatorTransactions::settle_dead`] goes on. The default is
/// before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettledUpTo {
    pub(super) sink: i64,
    pub(super) seq: i64,
}

/// What an operator allows to go with a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MayDrop {
    /// The sink may go although it was configured at the last start: no relay runs, and none can begin.
    pub configured: bool,
    /// Messages that wait for the sink, and its dead letters, may go.
    pub messages: bool,
}

/// What one step of dropping a sink did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropping {
    /// Deliveries up to that of this message are gone; there are more.
    GoOn(Seq),
    /// The sink is gone.
    Gone,
    /// Nothing: the sink is configured and may not go.
    IsConfigured,
    /// Nothing: the sink has messages, and these may not go.
    HasMessages,
}

/// How many dead letters are settled in one transaction, so that the relay does not wait long for the writer.
pub(super) const SETTLED_AT_ONCE: i64 = 1000;

/// How many deliveries go with a sink in one transaction.
pub(super) const DROPPED_AT_ONCE: usize = 2000;

/// Transactions of operators on sinks and dead letters.
pub trait OperatorTransactions {
    /// Finds the sink with this name.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn sink_named(&self, name: &str) -> Result<Option<SinkId>, Error>;

    /// Reads the present name of a sink; `None` if it was dropped.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn sink_name(&self, sink: SinkId) -> Result<Option<String>, Error>;

    /// Reads the names of all sinks, in their order. Sinks that are not configured any more are among them until they
    /// are dropped.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn sink_names(&self) -> Result<Vec<String>, Error>;

    /// Reads whether and why a sink is paused.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn pause_of(&self, sink: SinkId) -> Result<Option<Pause>, Error>;

    /// Pauses a sink and returns how it was paused before. A sink that is paused already stays so since that time. Its
    /// reason changes only if `reason` is the operator: so a restart does not lift the pause.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn pause(&mut self, sink: SinkId, reason: PauseReason, now: UnixMs) -> Result<Option<Pause>, Error>;

    /// Ends pauses of `sinks` with the reason `closed`: after a start the output that nobody read is another one.
    /// Returns how each of them is paused now.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn lift_closed(&mut self, sinks: &[SinkId], now: UnixMs) -> Result<Vec<Option<Pause>>, Error>;

    /// Ends the pause of a sink; if it is not paused, ends the silence that its receiver asked for. What failed is due
    /// now, and the time of the pause does not count for it. Returns what was ended; `None` if there was neither. Then
    /// nothing is changed but the count that tells a running relay to forget what it has learnt of the receiver.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn resume(&mut self, sink: SinkId, now: UnixMs) -> Result<Option<Resumed>, Error>;

    /// Counts how often the sink was resumed. If the count differs from an earlier one, an operator has resumed the
    /// sink meanwhile.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn resumes(&self, sink: SinkId) -> Result<Resumes, Error>;

    /// Settles at most 1000 dead letters of a selection, those after `after`; the default begins. Each is met once,
    /// even if it dies again meanwhile. Returns how many were settled, and where the next call goes on; `None` if that
    /// was all.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn settle_dead(
        &mut self,
        selection: &DeadLetterSelection,
        verdict: DeadLetterVerdict,
        after: SettledUpTo,
        now: UnixMs,
    ) -> Result<(usize, Option<SettledUpTo>), Error>;

    /// Gives a sink another name. Its queue, its dead letters and its pause stay with it. Returns `false` and changes
    /// nothing if another sink has that name.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn rename_sink(&mut self, sink: SinkId, name: &SinkName) -> Result<bool, Error>;

    /// Removes deliveries of a sink, some of those after the message `after`, and with the last of them the sink
    /// itself. Each of these transactions looks whether the sink may go: a relay may have started meanwhile, or a
    /// command may have sent something again. The id of a dropped sink is never given to another.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn drop_sink(&mut self, sink: SinkId, after: Seq, may: MayDrop) -> Result<Dropping, Error>;
}
