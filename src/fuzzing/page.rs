//! The body of an answer, as a page.

use serde_json::Value;

use crate::api::Page;
use crate::domain::{More, UnixMs};

/// What a row without a time gets where no other has one.
const FALLBACK: UnixMs = UnixMs(1_750_000_000_000);

/// Whatever the body is: rows stay the text that came, what is said of it repeats nothing of it, and where another
/// reader of JSON understands it, both read the same.
pub fn page(body: &[u8]) {
    let read = Page::read(body, 10, FALLBACK);
    assert_eq!(read, Page::read(body, 10, FALLBACK), "read differently the second time");
    let page = match read {
        Ok(page) => page,
        Err(error) => {
            let said = error.to_string();
            let known = [
                "it is empty",
                "it is HTML",
                "it is cut off after # bytes",
                "a field is missing or of another type at line # column #",
                "it is not JSON at line # column #",
                "it has more than # rows",
            ];
            let mut plain: String = said.chars().map(|next| if next.is_ascii_digit() { '#' } else { next }).collect();
            while plain.contains("##") {
                plain = plain.replace("##", "#");
            }
            let told = plain.strip_prefix("the answer is not a page of messages: ");
            assert!(told.is_some_and(|told| known.contains(&told)), "{said}");
            return;
        }
    };
    // What is not read may be no text.
    let text = String::from_utf8_lossy(body);
    for row in &page.rows {
        assert!(text.contains(&*row.raw), "a row that did not come: {}", row.raw);
        assert!(!row.id.is_empty(), "a row without a name");
        assert!(row.readable || row.id.starts_with("unreadable:"), "{}", row.id);
    }
    if let More::Cursor(cursor) = &page.more {
        assert!(!cursor.0.is_empty() && cursor.0.len() <= 8192, "a cursor of {} bytes", cursor.0.len());
    }
    // It gives up on what is nested deeply, and on escapes that are no characters.
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        compare(&page, &value);
    }
}

fn compare(page: &Page, value: &Value) {
    let rows = value["data"].as_array().expect("a page without a list");
    assert_eq!(rows.len(), page.rows.len(), "rows were left out or made up");
    for (row, value) in page.rows.iter().zip(rows) {
        let id = value["id"].as_str().filter(|id| !id.is_empty());
        assert_eq!(id, row.readable.then_some(row.id.as_str()), "{value}");
        assert_eq!(value["numberId"].as_str(), row.number.as_deref(), "{value}");
        if let Some(time) = value["receivedAt"].as_str().and_then(UnixMs::parse) {
            assert_eq!(time, row.time, "{value}");
        }
        assert_eq!(value["ingestedAt"].as_str().and_then(UnixMs::parse), row.ingested, "{value}");
    }
    let meta = &value["meta"];
    match &page.more {
        More::Cursor(cursor) => assert_eq!(meta["nextCursor"].as_str(), Some(cursor.0.as_str())),
        More::End => assert_ne!(meta["hasMore"], Value::Bool(true), "an end where more was promised"),
        More::Lost => assert_ne!(meta["hasMore"], Value::Bool(false), "more where an end was told"),
    }
}
