//! What the state takes on its disk, and what is left there of texts that went.

use super::error::Error;

/// What a state takes on its disk, in bytes.
///
/// A backend whose disk is not the relay's own reports its size as `used`, the most that a number can hold as `free`,
/// and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// What is in use. Of the journal no more than [`JOURNAL_COUNTS`] is counted.
    pub used: u64,
    /// What the file holds beside that for later use.
    pub unused: u64,
    /// What the file system has left.
    pub free: u64,
    /// The whole length of the journal, in which changes stand before they come into the file.
    pub journal: u64,
}

/// How much of the journal, in bytes, counts as used at most: twice what SQLite leaves of an emptied one. What is
/// beyond that is on its way into the file, or is kept by another program that reads; no message takes that room.
pub const JOURNAL_COUNTS: u64 = 8 << 20;

/// Work on the disk itself. It changes nothing that a transaction reads.
pub trait DiskUpkeep {
    /// Makes the text of a message go in the transaction that settles its last delivery, from now on. Until then the
    /// text lies where it can be overwritten completely. For `keep_delivered = "0s"`.
    fn erase_on_delivery(&mut self);

    /// Overwrites what is left on disk of texts that went since the last time, also in the journal. The first call
    /// after the opening always does. Returns `false` if a program that reads kept it from doing so: then it has to be
    /// called again.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn erase_traces(&mut self) -> Result<bool, Error>;

    /// Returns whether another process has changed the state since the last call.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn others_wrote(&mut self) -> Result<bool, Error>;

    /// Measures what the state takes on its disk.
    ///
    /// # Errors
    /// As [`super::Backend`] says, and [`Error::Io`] if the file system does not answer.
    fn space(&self) -> Result<Space, Error>;

    /// Gives some unused room back to the file system: if there is much of it, or, with `short`, any. Returns whether
    /// more could be given back.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn give_back(&mut self, short: bool) -> Result<bool, Error>;

    /// Brings the journal into the file and cuts it off. Returns `false` if a program that reads kept it from doing so.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn empty_journal(&mut self) -> Result<bool, Error>;
}
