//! The transactions on numbers: recording the API's details of numbers, and deciding deliveries that need those
//! details.
//!
//! Invariant: a delivery is undecided only while its sink needs details of the number that are not known. Once a list
//! of all numbers was read to its end, every number that was in the state before the relay began to read the list
//! counts as known: with its details, or as absent.

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{Seq, UnixMs};

/// The key of a number. A number that is added to the state later has a greater key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumberKey(pub(super) i64);

/// The relay's knowledge of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberDetails {
    /// The API was not asked for the number yet.
    Unknown,
    /// The API was asked and does not list the number.
    Absent,
    /// The JSON text of the number, byte for byte as the API sent it.
    Known(String),
}

/// Which undecided deliveries [`NumberTransactions::decide`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndecidedScope {
    /// All undecided deliveries, because the sinks may need other details now than when these deliveries became
    /// undecided.
    All,
    /// The deliveries whose number is known by now.
    Known,
}

/// The last undecided delivery that was looked at: [`NumberTransactions::decide`] goes on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedUpTo {
    pub(super) sink: SinkId,
    pub(super) seq: Seq,
}

/// How many deliveries are decided in one transaction. The number is limited so that other transactions do not wait
/// long.
pub(super) const DECIDE_BATCH: i64 = 500;

/// A number to which no message came is added to the state only while the state has fewer numbers than this. Otherwise
/// a fault of the API could fill the state: a list of numbers that never ends.
pub(super) const MAX_UNUSED_NUMBERS: i64 = 20_000;

/// The answer that is recorded for a delivery that became a dead letter because the details were never known.
pub(super) const NO_DETAILS: &str =
    "the details of its number could not be read, so nobody knows whether the sink wants it";

/// Transactions on numbers and on undecided deliveries.
pub trait NumberTransactions {
    /// Records the API's details of numbers. Each pair is the id of a number and its JSON text. A number to which no
    /// message came is recorded, too, unless the state has 20,000 numbers already.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn record_numbers(&mut self, numbers: &[(&str, &str)], now: UnixMs) -> Result<(), Error>;

    /// Reads what is known of the number with this id.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn number_details(&self, id: &str) -> Result<NumberDetails, Error>;

    /// Reads the key of the number that was added to the state last. The caller asks for it before it begins to read a
    /// list of all numbers ([`Self::complete_number_list`]).
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn newest_number(&self) -> Result<NumberKey, Error>;

    /// Records that a list of all numbers was read to its end. A number with a key up to `newest` was in the state
    /// before the list was read. If such a number is still [`Unknown`](NumberDetails::Unknown), the list does not
    /// contain it, and it is absent from now on. Returns how many numbers became absent.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn complete_number_list(&mut self, newest: NumberKey, now: UnixMs) -> Result<usize, Error>;

    /// Returns whether a delivery of a configured sink is undecided.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn has_undecided(&self) -> Result<bool, Error>;

    /// Decides up to 500 undecided deliveries, all of the same registered sink: those that follow `after`, or the
    /// first ones if `after` is `None`. A later call goes on with the next sink. A delivery that its sink wants becomes
    /// fresh, a delivery that its sink does not want is removed, and a delivery that still cannot be decided stays.
    /// Returns how many deliveries became fresh, and where the next call goes on; `None` if there are no more.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn decide(
        &mut self,
        after: Option<DecidedUpTo>,
        which: UndecidedScope,
    ) -> Result<(usize, Option<DecidedUpTo>), Error>;

    /// Makes undecided deliveries dead letters if their message was stored before the message `before` and the details
    /// of their number are still not known. Returns how many dead letters were made.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn give_up_undecided(&mut self, before: Seq, now: UnixMs) -> Result<usize, Error>;
}
