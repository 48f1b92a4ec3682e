//! The transactions of the relay's time: what one process passes to the next process about this time, and how stored
//! instants are moved when this time is corrected.
//!
//! Invariants: a correction either moves a stored instant of the past by as much as the relay's time, or leaves it as
//! it is. After a correction no stored time at which something happened lies in the future, and no wait has become
//! longer. A correction ends no delivery and removes no record. It leaves `sink.created_at` and `number.fetched_at` as
//! they are, because nothing compares these with another time.

use super::error::Error;
use crate::domain::{Seq, UnixMs};
use crate::time::{ClockCorrection, ClockMemory};

/// Transactions of the relay's time.
pub trait RelayTimeTransactions {
    /// Reads what the last process recorded about the relay's time; `None` if it recorded nothing, or nothing that this
    /// version can read.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn clock_memory(&self) -> Result<Option<ClockMemory>, Error>;

    /// Reads, for a command, what the last process recorded about the relay's time, and whether a relay runs now. For a
    /// state in PostgreSQL the second value is always `false`, because the relay may run on another machine.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists, and those of [`super::is_locked`].
    fn clock_beside(&self) -> Result<(Option<ClockMemory>, bool), Error>;

    /// Records `memory` for the next process and for commands.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn remember_clock(&mut self, memory: &ClockMemory) -> Result<(), Error>;

    /// Reads the newest instant at which a message was stored. If no process has recorded the relay's time in the state
    /// yet, the instants at which deliveries were settled count too.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn newest_instant(&self) -> Result<UnixMs, Error>;

    /// Returns whether a stored time at which something happened lies after `now`. Only a clock that was ahead can have
    /// written such a time.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn is_ahead_of(&self, now: UnixMs) -> Result<bool, Error>;

    /// Moves stored instants after the relay's time was corrected by `correction`. `now` is the corrected time. One
    /// call moves the instants of up to 2,000 messages: those that follow the message `after`. The first call has
    /// `Seq(i64::MIN)`; this call moves the instants of sinks and of open walks too. Returns where the next call goes
    /// on; `None` if all instants have been moved.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn apply_correction(&mut self, correction: ClockCorrection, now: UnixMs, after: Seq) -> Result<Option<Seq>, Error>;
}
