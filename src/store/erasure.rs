//! No trace of a text that went: what SQLite would leave behind of it, and how that is prevented.
//!
//! SQLite removes a row by forgetting where it is. Its bytes stay in free pages, in the free part of a page, and in the
//! journal, until they happen to be written over. So:
//!
//! - Every connection that writes has `secure_delete` on: what is removed is overwritten with zeros.
//! - [`Spool::wipe`] brings the journal into the file and cuts it off.
//! - Where texts go at once ([`Spool::let_go_at_once`]), each lies on pages of its own. When SQLite moves rows from one
//!   page to another, of those that stay it may leave a copy in the free part, which nothing overwrites. What lies on
//!   overflow pages is never moved, and those are zeroed as a whole. A text gets there by spaces in front of it, which
//!   JSON does not mind and [`text_of`] takes away again.

use super::error::Error;
use super::spool::Spool;

/// A row that does not fit into a page of 4096 bytes keeps at least so many of its bytes with other rows, and fills overflow
/// pages with the rest, of so many each; see "Cell Payload Overflow Pages" in the description of SQLite's file format.
const WITH_OTHERS: usize = 489;
const OVERFLOW: usize = 4092;

/// What a row takes beside its id and its text, at most: its header, seven numbers and a word.
const BESIDE: usize = 112;

impl Spool {
    /// From now on a text goes in the transaction that settles its last delivery, and lies by itself until then; see the
    /// module. For those who keep nothing that was delivered.
    pub fn let_go_at_once(&mut self) {
        self.at_once = true;
    }

    /// Brings the journal into the file and cuts it off, if texts went or pages were given back since the last time; after
    /// the opening it is taken that some did. False if somebody reads at this moment: then it is to be called again.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn wipe(&mut self) -> Result<bool, Error> {
        if self.has_traces && self.empty_journal()? {
            self.has_traces = false;
        }
        Ok(!self.has_traces)
    }

    /// Whether another process has written to the state since this was asked before.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn others_wrote(&mut self) -> Result<bool, Error> {
        let version = self.pragma("data_version")?;
        Ok(self.data_version.replace(version).is_some_and(|before| before != version))
    }
}

/// A text as it is stored where it has to lie by itself: its row fills overflow pages, or nearly, so that it leaves no more
/// than [`WITH_OTHERS`] with others, and these bytes are spaces.
pub(super) fn apart(id: &str, text: &str) -> String {
    let row = BESIDE + id.len() + text.len();
    let whole = WITH_OTHERS + row.div_ceil(OVERFLOW) * OVERFLOW;
    " ".repeat(whole - row) + text
}

/// The text that is stored, byte for byte as it came: nothing that came began with a space.
pub(super) fn text_of(stored: &str) -> &str {
    stored.trim_start_matches(' ')
}
