//! The transactions of operators: pausing, resuming, renaming and dropping sinks, and retrying or dropping dead
//! letters.
//!
//! Commands and the status page run these transactions, also while a relay is running. The relay notices the changes
//! within seconds.
//!
//! Invariants: a paused sink loses no message, and the time of the pause does not count for `retry.give_up_after`. A
//! dead letter that an operator gave up leaves a record. A sink that a relay may send to is never dropped. A sink for
//! which messages wait, or which has dead letters, is dropped only if the operator allows that.

use serde::{Serialize, Serializer};

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{PauseReason, Seq, SinkName, UnixMs};

/// The pause of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why the sink is paused.
    pub reason: PauseReason,
    /// When the pause began.
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

/// The pause or the silence that [`OperatorTransactions::resume`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The pause of the sink.
    Pause(Pause),
    /// The silence that the receiver had asked for, with the instant at which the silence would have ended.
    Silence(UnixMs),
}

/// How often a sink was resumed. Compare this count only with an earlier count of the same sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeCount(pub(super) i64);

/// Which dead letters a command means. Both conditions must hold; a condition that is `None` holds for every dead
/// letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterSelection {
    /// The name of the sink that the dead letters belong to.
    pub sink: Option<String>,
    /// The API's id of the message that the dead letters belong to.
    pub id: Option<String>,
}

/// What an operator decided about dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterAction {
    /// The dead letters are sent again, as if for the first time.
    Retry,
    /// The dead letters are given up. A record of them stays.
    Drop,
}

/// The last dead letter that was looked at: [`OperatorTransactions::resolve_dead_letters`] goes on after it. The
/// default stands before all dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUpTo {
    pub(super) sink: i64,
    pub(super) seq: i64,
}

/// What an operator allows to be removed when a sink is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropPermission {
    /// The sink may be removed even if it was configured at the last start or reload of a relay. The caller allows this if no
    /// relay runs, and none can start in the meantime.
    pub configured: bool,
    /// Messages that wait for the sink, and its dead letters, may be removed.
    pub messages: bool,
}

/// The result of one step of dropping a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropProgress {
    /// Deliveries up to the delivery of this message were removed. There may be more. The sink itself was not removed
    /// yet.
    MoreToRemove(Seq),
    /// The sink was removed.
    Removed,
    /// Nothing was removed, because the sink is configured and may not be removed.
    SinkIsConfigured,
    /// Nothing was removed, because the sink has messages, and these may not be removed.
    SinkHasMessages,
}

/// How many dead letters are retried or dropped in one transaction. The number is limited so that the relay does not
/// wait long to write.
pub(super) const RESOLVE_BATCH: i64 = 1000;

/// How many deliveries of a dropped sink are removed in one transaction.
pub(super) const DROP_BATCH: usize = 2000;

/// Transactions of operators on sinks and dead letters.
pub trait OperatorTransactions {
    /// Finds the sink with this name; `None` if no sink has it.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn sink_named(&self, name: &str) -> Result<Option<SinkId>, Error>;

    /// Reads the present name of a sink; `None` if it was dropped.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn sink_name(&self, sink: SinkId) -> Result<Option<String>, Error>;

    /// Reads the names of all sinks, in the order of the names. Sinks that are no longer configured are included until
    /// they are dropped.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn sink_names(&self) -> Result<Vec<String>, Error>;

    /// Reads whether and why a sink is paused.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn pause_of(&self, sink: SinkId) -> Result<Option<Pause>, Error>;

    /// Pauses a sink and returns the pause that it had before. If the sink is paused already, its pause keeps the time
    /// at which it began. If `reason` is [`PauseReason::Operator`], it becomes the reason of that pause, so that no
    /// restart ends the pause. With any other reason, nothing changes.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn pause(&mut self, sink: SinkId, reason: PauseReason, now: UnixMs) -> Result<Option<Pause>, Error>;

    /// Ends those pauses of `sinks` that have the reason `closed`. Such a pause began because nobody read the standard
    /// output of the process any more, and the present process has a new standard output. Returns for each sink the
    /// pause that it still has.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn end_closed_pauses(&mut self, sinks: &[SinkId], now: UnixMs) -> Result<Vec<Option<Pause>>, Error>;

    /// Ends the pause of a sink or, if the sink is not paused, the silence that its receiver asked for. Failed
    /// deliveries become due now, and the time of the pause does not count for their `retry.give_up_after`. Returns
    /// the pause or the silence. If there was neither, returns `None`, and changes only the count of
    /// [`resume_count`](Self::resume_count). A new count makes a running relay discard what it has learnt about the
    /// receiver.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn resume(&mut self, sink: SinkId, now: UnixMs) -> Result<Option<Resumed>, Error>;

    /// Counts how often the sink was resumed. If the count differs from an earlier one, an operator has resumed the
    /// sink meanwhile.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn resume_count(&self, sink: SinkId) -> Result<ResumeCount, Error>;

    /// Takes the next dead letters of a selection, at most 1000: those that follow `after`. Retries or drops them, as
    /// `verdict` says. The
    /// default of `after` stands before the first. In a series of calls each dead letter is retried only once: if it
    /// becomes a dead letter again before the last call, no later call finds it. Returns how many dead letters were
    /// retried or dropped, and where the next call goes on; `None` if there are no more.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn resolve_dead_letters(
        &mut self,
        selection: &DeadLetterSelection,
        verdict: DeadLetterAction,
        after: ResolvedUpTo,
        now: UnixMs,
    ) -> Result<(usize, Option<ResolvedUpTo>), Error>;

    /// Gives a sink another name. The queue, the dead letters and the pause of the sink stay with it. Returns `false`
    /// and changes nothing if another sink has the name already.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn rename_sink(&mut self, sink: SinkId, name: &SinkName) -> Result<bool, Error>;

    /// Removes some deliveries of a sink: those of the messages that follow the message `after`. A call that finds no
    /// more deliveries removes the sink itself. Each call checks whether the sink may be removed, because a relay may
    /// have started since the previous call, or a command may have sent a message again. The id of a dropped sink is
    /// never given to another sink.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn drop_sink(&mut self, sink: SinkId, after: Seq, may: DropPermission) -> Result<DropProgress, Error>;
}
