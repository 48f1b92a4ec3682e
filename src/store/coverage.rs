//! The transactions of ingest: reading coverage, looking ids up, and storing what one page brought.

use super::error::Error;
use crate::domain::{Coverage, Seq, StoreOp, UnixMs, WalkId};

/// Transactions on coverage and on messages that were not released yet.
pub trait CoverageTransactions {
    /// Reads coverage; `None` before the first page.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn load_coverage(&self) -> Result<Option<Coverage>, Error>;

    /// Looks ids of messages up. Returns, for each id, the sequence number of its message if the state knows it. All
    /// are looked up at the same moment.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn known(&self, ids: &[&str]) -> Result<Vec<Option<Seq>>, Error>;

    /// Carries out the changes of one page in their order, all in one transaction. `now` is recorded as the instant at
    /// which its messages were stored. Without changes there is no transaction.
    ///
    /// A message that is released gets its place in the order of release (older messages first; of equal times the one
    /// further down the page first) and a delivery for each registered sink that wants it.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn commit(&mut self, ops: &[StoreOp], now: UnixMs) -> Result<(), Error>;

    /// Releases messages that are held by a gap which is closed, or which streams: nothing else would ever release
    /// them. Returns how many there were.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn mend_holds(&mut self) -> Result<usize, Error>;

    /// Counts the messages that a gap holds.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn held(&self, walk: WalkId) -> Result<u64, Error>;
}
