//! The erasure of texts so that no trace of them stays on disk.
//!
//! A *page* is a page of the database here: 4096 bytes of the file. SQLite removes a record by forgetting where the
//! record is. The bytes stay in free pages, in the free part of a page, and in the journal, until other data are
//! written over them. Therefore:
//!
//! - Every connection that writes has `secure_delete` on, so that removed bytes are overwritten with zeros.
//! - [`DiskMaintenance::erase_traces`](crate::store::DiskMaintenance::erase_traces) brings the journal into the file
//!   and cuts the journal off.
//! - After [`DiskMaintenance::erase_on_delivery`](crate::store::DiskMaintenance::erase_on_delivery) each new text is
//!   stored on pages of its own, the *overflow pages*. SQLite makes them for the rest of a record that is too long for
//!   one page. It does not rearrange their bytes, and fills them with zeros when it removes the record. A page with
//!   several records may keep traces: when SQLite moves some of them to another page, old copies of records may stay on
//!   the first page, and SQLite never overwrites these copies. So [`pad`] puts enough spaces in front of each text
//!   that the whole text lies on overflow pages. JSON allows the spaces, and [`text_of`] removes them.

/// If a record does not fit into a page of 4096 bytes, SQLite keeps at least this many bytes of the record on a page
/// with other records, and puts the rest on overflow pages. SQLite's description of its file format explains this under
/// "Cell Payload Overflow Pages".
const WITH_OTHERS: usize = 489;

/// How many bytes of a record one overflow page holds.
const OVERFLOW: usize = 4092;

/// The most bytes that the record of a message takes beside its id and its text: a header, seven numbers and a word.
/// The column `event` takes one byte of the header and no further byte, because its value is NULL or 1.
const BESIDE: usize = 113;

/// Puts so many spaces in front of the text of the message `id` that the record fills its overflow pages (nearly)
/// completely. Then SQLite keeps only the first [`WITH_OTHERS`] bytes of the record on a page with other records. These
/// bytes hold the id, some numbers and spaces, but nothing of the text.
pub(in crate::store::sqlite) fn pad(id: &str, text: &str) -> String {
    let row = BESIDE + id.len() + text.len();
    let whole = WITH_OTHERS + row.div_ceil(OVERFLOW) * OVERFLOW;
    " ".repeat(whole - row) + text
}

/// Removes the spaces of [`pad`] from a stored text. No text from the API begins with a space of its own.
pub(in crate::store::sqlite) fn text_of(stored: &str) -> &str {
    stored.trim_start_matches(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was() {
        for length in [0, 1, 400, 3_500, 4_000, 4_092, 8_100, 100_000] {
            let text = format!("{{{}}}", "a ".repeat(length));
            let stored = pad("an id", &text);
            assert_eq!(text_of(&stored), text);
            assert!(stored.len() >= text.len() + 489, "{length}");
        }
        assert_eq!(text_of("{ }"), "{ }");
    }
}
