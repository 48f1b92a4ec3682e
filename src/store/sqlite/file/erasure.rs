//! How a text is erased so that no trace of it stays on disk.
//!
//! SQLite removes a row by forgetting where the row is. The bytes stay in free pages, in the free part of a page, and
//! in the journal, until something happens to be written over them. Therefore:
//!
//! - Every connection that writes has `secure_delete` on: what is removed is overwritten with zeros.
//! - [`DiskUpkeep::erase_traces`](crate::store::DiskUpkeep::erase_traces) brings the journal into the file
//!   and cuts the journal off.
//! - After [`DiskUpkeep::erase_on_delivery`](crate::store::DiskUpkeep::erase_on_delivery) each text lies on
//!   pages of its own. When SQLite moves rows from one page to another, it may leave a copy of rows that stay in the
//!   free part of the page, and nothing overwrites that copy. Overflow pages are never moved, and are zeroed as a
//!   whole. [`pad`] puts spaces in front of a text so that the text comes to lie on overflow pages. JSON allows the
//!   spaces, and [`text_of`] removes them.

/// How many bytes of a row that does not fit into a page of 4096 bytes SQLite keeps among other rows, at least. See
/// "Cell Payload Overflow Pages" in the description of SQLite's file format.
const WITH_OTHERS: usize = 489;

/// How many bytes of such a row an overflow page holds.
const OVERFLOW: usize = 4092;

/// How many bytes a row of a message takes beside its id and its text, at most: a header, seven numbers and a word.
const BESIDE: usize = 112;

/// The text as it is stored where it has to lie on pages of its own. The row fills overflow pages (nearly) completely,
/// so that no more than [`WITH_OTHERS`] bytes lie among other rows, and these bytes are spaces.
pub(in crate::store::sqlite) fn pad(id: &str, text: &str) -> String {
    let row = BESIDE + id.len() + text.len();
    let whole = WITH_OTHERS + row.div_ceil(OVERFLOW) * OVERFLOW;
    " ".repeat(whole - row) + text
}

/// The text of a message as the API sent it, of what is stored. No text from the API begins with a space.
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
