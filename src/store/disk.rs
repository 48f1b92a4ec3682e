//! The disk space that a state takes, and the erasure of removed texts.

use super::error::Error;

/// The disk space that a state takes, in bytes.
///
/// A backend whose database is on a server reports the largest `u64` as `free`, and 0 as `journal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// The bytes in use. At most [`USUAL_JOURNAL_BYTES`] bytes of the journal are counted.
    pub used: u64,
    /// The bytes of the file that are free for later use.
    pub unused: u64,
    /// The free bytes of the file system.
    pub free: u64,
    /// The whole length of the journal, which holds changes until they are brought into the file.
    pub journal: u64,
}

/// At most this many bytes of the journal count as used. When SQLite has moved the changes of the journal into the
/// file, it shortens the journal to half of this length. The journal is longer than this only for a while, for example
/// while another program reads the state and so keeps SQLite from moving the changes.
pub const USUAL_JOURNAL_BYTES: u64 = 8 << 20;

/// The methods that concern the disk: its space, the journal, and the erasure of removed texts.
pub trait DiskMaintenance {
    /// Switches on `keep_delivered = "0s"`: from now on a text is removed as soon as every sink has the message, in the
    /// same transaction. From now on texts are stored in a way that allows them to be overwritten completely.
    fn erase_on_delivery(&mut self);

    /// While `keep` is true, a text stays when every sink has the message, so that another process, which waits for
    /// messages, can read it. Retention removes these texts later. This method has an effect only after
    /// [`DiskMaintenance::erase_on_delivery`].
    fn keep_for_readers(&mut self, keep: bool);

    /// Overwrites the traces of texts that were removed since the last call, in the file and in the journal. The first
    /// call after the state was opened always does this work. Returns `false` if another program that reads the state
    /// prevented it: then the method has to be called again.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn erase_traces(&mut self) -> Result<bool, Error>;

    /// Returns whether the state was changed over another connection since the last call, for example by a command.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn changed_by_others(&mut self) -> Result<bool, Error>;

    /// Measures the disk space that the state takes.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists, and [`Error::Io`] if the file system does not answer.
    fn disk_usage(&self) -> Result<DiskUsage, Error>;

    /// Gives a portion of the file's unused room back to the file system, if there is much unused room. `short` says
    /// that the disk is short of room; then even a little unused room is given back. Returns whether another call would
    /// give more back.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn shrink_file(&mut self, short: bool) -> Result<bool, Error>;

    /// Brings the changes of the journal into the file, and shortens the journal to nothing. Returns `false` if another
    /// program that reads the state prevented this.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn truncate_journal(&mut self) -> Result<bool, Error>;
}
