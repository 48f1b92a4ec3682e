//! Fuzzes the reading of a page from the body of an answer.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::Page;
use crate::domain::{More, UnixMs};

/// The time of rows on a page without any readable time.
const FALLBACK: UnixMs = UnixMs(1_750_000_000_000);

/// Reads a page with any content. Checks four promises:
///
/// - The text of each row is as it stands on the page.
/// - Errors repeat nothing of the page.
/// - If `serde_json` can read the page as a `Value`, the rows agree with this value.
/// - If a row that is not valid JSON is put into a valid page, the other rows stay the same.
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
    // The body may be invalid UTF-8 in places that the relay does not read.
    let text = String::from_utf8_lossy(body);
    for row in &page.rows {
        assert!(row.spoiled.is_some() || text.contains(&*row.raw), "this text is not on the page: {}", row.raw);
        assert!(row.spoiled.is_none() || !row.readable, "a spoiled row counts as readable: {}", row.raw);
        assert!(!row.id.is_empty(), "a row without an id");
        assert!(row.readable || row.id.starts_with("unreadable:"), "{}", row.id);
    }
    if let More::Cursor(cursor) = &page.more {
        assert!(!cursor.0.is_empty() && cursor.0.len() <= 8192, "a cursor of {} bytes", cursor.0.len());
    }
    // Some pages that the relay reads cannot become a `Value`: pages with deep nesting, and pages with escape sequences
    // that stand for no character.
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        compare(&page, &value);
    }
    put_a_spoiled_row_into(body, &page);
}

/// Texts that have the form of a row, but are not valid JSON.
const SPOILED: [&[u8]; 8] = [
    b"{\"id\":\"x\",\"n\":NaN}",
    b"{\"id\":\"x\",\"n\":[-Infinity]}",
    b"{\"id\":\"x\",\"n\":01}",
    b"{\"id\":\"x\",\"t\":\"},{\x01\"}",
    b"{\"id\":\"x\",\"t\":\"\\q]\"}",
    b"{\"id\":\"x\",\"t\":\"caf\xe9\"}",
    b"{\"id\":\"x\",}",
    b"undefined",
];

/// A page of this many bytes or more gets no spoiled row: that would only take more time.
const LONGEST: usize = 1 << 16;

fn put_a_spoiled_row_into(body: &[u8], page: &Page) {
    #[derive(Deserialize)]
    struct Rows<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
    }
    let rows = serde_json::from_slice::<Rows<'_>>(body);
    let Some(rows) = rows.ok().map(|rows| rows.data).filter(|rows| !rows.is_empty() && body.len() < LONGEST) else {
        return;
    };
    let chosen = body.iter().fold(body.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let (spoiled, place) = (SPOILED[chosen % SPOILED.len()], chosen / SPOILED.len() % rows.len());
    let at = rows[place].get().as_ptr().addr() - body.as_ptr().addr();
    let with = [&body[..at], spoiled, b",", &body[at..]].concat();
    // The page has one row more than before, so the limit is one row higher.
    let read = Page::read(&with, 11, FALLBACK).expect("the other rows are lost because of one spoiled row");
    let mut others = read.rows;
    let inserted = others.remove(place);
    assert!(
        inserted.spoiled.is_some_and(|spoiled| spoiled.place == place + 1),
        "a row at another place counts as spoiled"
    );
    assert_eq!(others.len(), page.rows.len(), "rows were left out or made up");
    for (row, before) in others.iter().zip(&page.rows) {
        assert_eq!((&row.id, &row.raw, row.readable), (&before.id, &before.raw, before.readable));
    }
    assert_eq!(read.more, page.more, "the cursor has changed");
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
        More::End => assert_ne!(meta["hasMore"], Value::Bool(true), "more follows, but the relay reads an end"),
        More::Lost => assert_ne!(meta["hasMore"], Value::Bool(false), "nothing follows, but the relay expects more"),
    }
}
