//! What the API says of numbers, and deliveries that are undecided until it is known.
//!
//! Invariant: a delivery is undecided only while what its sink needs to know of the number is not known. Once a list of
//! all numbers was read to its end, every number that was met before the list began counts as known, if only as absent.

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{Seq, UnixMs};

/// The newest number at some moment; see [`NumberTransactions::end_numbers`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumberKey(pub(super) i64);

/// What is known of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberDetails {
    /// The API was not asked yet.
    Unknown,
    /// The API was asked and does not list the number.
    Absent,
    /// The JSON text of the number's row, byte for byte as the API sent it.
    Known(String),
}

/// Which undecided deliveries are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichUndecided {
    /// All: what the sinks ask for may have changed.
    All,
    /// Those whose number is known by now.
    Known,
}

/// The delivery up to which undecided ones were looked at: where [`NumberTransactions::decide`] goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedUpTo {
    pub(super) sink: SinkId,
    pub(super) seq: Seq,
}

/// How many deliveries are decided in one transaction, so that nobody waits long for the writer.
pub(super) const DECIDED_AT_ONCE: i64 = 500;

/// How many numbers that no message came to are kept at most: a list may have no end.
pub(super) const MOST_NUMBERS: i64 = 20_000;

/// What stands as the answer of a delivery that waited for details in vain.
pub(super) const NO_DETAILS: &str =
    "the details of its number could not be read, so nobody knows whether the sink wants it";

/// Transactions on numbers and on undecided deliveries.
pub trait NumberTransactions {
    /// Records what the API says of numbers: pairs of the number's id and the JSON text of its row. Numbers that no
    /// message came to are recorded too, up to 20,000.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn put_numbers(&mut self, numbers: &[(&str, &str)], now: UnixMs) -> Result<(), Error>;

    /// Reads what is known of the number with this id.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn number_details(&self, id: &str) -> Result<NumberDetails, Error>;

    /// Reads which number is the newest. To be called before a list of all numbers is begun.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn newest_number(&self) -> Result<NumberKey, Error>;

    /// Records that a list of all numbers was read to its end: numbers up to `newest` that it did not have are absent.
    /// Returns how many these are.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn end_numbers(&mut self, newest: NumberKey, now: UnixMs) -> Result<usize, Error>;

    /// Returns whether a delivery of a configured sink is undecided.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn has_undecided(&self) -> Result<bool, Error>;

    /// Decides some hundred undecided deliveries of one registered sink, those after `after`; `None` begins. A delivery
    /// that the sink wants becomes fresh, one that it does not want is removed, and one that still cannot be decided
    /// stays. Returns how many became fresh, and where the next call goes on; `None` if that was all.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn decide(
        &mut self,
        after: Option<DecidedUpTo>,
        which: WhichUndecided,
    ) -> Result<(usize, Option<DecidedUpTo>), Error>;

    /// Makes dead letters of undecided deliveries of messages stored before the message `before`, if the details of
    /// their number are still not known. Returns how many.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn give_up_undecided(&mut self, before: Seq, now: UnixMs) -> Result<usize, Error>;
}
