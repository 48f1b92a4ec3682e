//! The transactions of the relay's time: what one process leaves to the next about it, and how stored instants follow
//! when it is put right.
//!
//! Invariants: an instant in the past stays, or moves by as much as the time was put right. Afterwards no instant lies
//! ahead of now but the ends of waits, which keep their length. Nothing is ended or removed here.

use super::error::Error;
use crate::domain::{Seq, UnixMs};
use crate::time::{ClockMemory, Rebase};

/// Transactions of the relay's time.
pub trait RelayTimeTransactions {
    /// Reads what the last process left about the relay's time; `None` if it left nothing, or nothing that this version
    /// can read.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn clock_memory(&self) -> Result<Option<ClockMemory>, Error>;

    /// Reads, for a command, what the last process left about the relay's time, and whether that process runs now.
    ///
    /// # Errors
    /// As [`super::Backend`] says, and those of [`super::is_running`].
    fn clock_beside(&self) -> Result<(Option<ClockMemory>, bool), Error>;

    /// Records this for the next process, and for commands.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn remember_clock(&mut self, memory: &ClockMemory) -> Result<(), Error>;

    /// Reads the newest instant at which a message was stored. If no process has left its time in the state yet,
    /// settled deliveries are searched too.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn newest_instant(&self) -> Result<UnixMs, Error>;

    /// Returns whether the state holds an instant later than `now` that only a clock which was ahead can have written.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn is_ahead_of(&self, now: UnixMs) -> Result<bool, Error>;

    /// Moves the instants of some thousand messages after the message `after` as the relay's time was put right; `now`
    /// is that time now. `Seq(i64::MIN)` begins, and moves the instants of sinks and of open walks too. Returns where
    /// the next call goes on; `None` if all have been moved.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn follow_rebase(&mut self, rebase: Rebase, now: UnixMs, after: Seq) -> Result<Option<Seq>, Error>;
}
