//! The transactions of ingest: reading coverage, looking up ids, and storing the rows of one page.

use super::error::Error;
use crate::domain::{Coverage, PollChange, Seq, UnixMs, WalkId};

/// Transactions on coverage and on messages that are not released yet.
pub trait CoverageTransactions {
    /// Reads coverage; `None` before the first page.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn load_coverage(&self) -> Result<Option<Coverage>, Error>;

    /// Looks up ids of messages in one transaction. Returns, for each id, the sequence number of its message; `None` if
    /// the state does not know the id.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn known(&self, ids: &[&str]) -> Result<Vec<Option<Seq>>, Error>;

    /// Carries out the changes of one page in their order, all in one transaction. `now` is recorded as the instant at
    /// which the messages of the page were stored. If `changes` is empty, there is no transaction.
    ///
    /// A message that is released gets its place in the order of release, and a delivery for each registered sink that
    /// wants the message. Messages that are released together are released oldest first. Of messages with the same
    /// time, the one further down the page comes first.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn commit(&mut self, changes: &[PollChange], now: UnixMs) -> Result<(), Error>;

    /// Releases messages that no gap will ever release: messages held by a gap that is closed or that streams. Returns
    /// how many messages were released.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn release_orphaned_rows(&mut self) -> Result<usize, Error>;

    /// Counts the messages that a gap holds.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn count_held(&self, walk: WalkId) -> Result<u64, Error>;
}
