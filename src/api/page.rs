//! Reading a page of messages (API documentation, "Pagination" and "List messages").
//!
//! Each row keeps its text as it came. The relay reads only a few fields from the text (such as the id and the times),
//! one by one, so that a field of an unexpected type does no harm to other fields. A row that is invalid JSON is
//! separated from its neighbours (`spoiled_rows`). An answer that is no complete page is an error. Otherwise the relay
//! would count the rows of the missing part as read.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::spoiled_rows::{self, FoundRow};
use crate::domain::{Cursor, More, Row, SpoiledRow, UnixMs};

/// The most rows on a page, according to the API's documentation of requests with an API key.
pub const PAGE_ROWS: u32 = 10;

/// The most rows that a page may have. The API may give more rows than were asked for, but a page with more than this
/// is an error.
const MAX_ROWS: usize = 10_000;

/// The longest cursor, in bytes. A longer cursor would not fit into a request, and counts as missing.
const MAX_CURSOR_BYTES: usize = 8192;

/// A page of messages: the rows, newest first, and whether more rows follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether more rows follow.
    pub more: More,
    /// The total number of messages, if the API states it.
    pub total: Option<u64>,
}

#[derive(Deserialize)]
struct PageJson<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(borrow)]
    meta: Object<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "hasMore")]
    has_more: Option<bool>,
    #[serde(rename = "nextCursor", borrow)]
    next_cursor: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    total: Option<&'a RawValue>,
}

/// A wrapper that accepts a JSON object only. The code that serde derives would also accept a list of the fields, so
/// that `[[],{}]` would be an empty page.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectMembers<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectMembers<T> {
            type Value = T;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(ObjectMembers(PhantomData)).map(Self)
    }
}

/// The fields that are read from a row.
#[derive(Default)]
struct RowFields<'a> {
    id: Option<&'a RawValue>,
    received_at: Option<&'a RawValue>,
    ingested_at: Option<&'a RawValue>,
    number_id: Option<&'a RawValue>,
}

/// If a field occurs twice, the last occurrence counts, as in most JSON parsers. A field name with invalid escapes does
/// no harm to other fields.
impl<'de: 'a, 'a> Deserialize<'de> for RowFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowMembers;
        impl<'de> Visitor<'de> for RowMembers {
            type Value = RowFields<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowFields<'de>, A::Error> {
                let mut fields = RowFields::default();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    let field = match text(name).as_deref() {
                        Some("id") => &mut fields.id,
                        Some("receivedAt") => &mut fields.received_at,
                        Some("ingestedAt") => &mut fields.ingested_at,
                        Some("numberId") => &mut fields.number_id,
                        _ => continue,
                    };
                    *field = Some(value);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(RowMembers)
    }
}

/// Returns the text of a JSON string. `None` for other values, and for strings with escapes that are no characters.
fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

impl Page {
    /// Reads the body of an answer to a request for up to `limit` rows. A row without a readable time gets the time of
    /// a neighbouring row. If no row has a time, all rows get `fallback`.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::Garbled`]. Both name the mistake and its place, and quote nothing of the body.
    pub fn read(body: &[u8], limit: u32, fallback: UnixMs) -> Result<Self, Error> {
        let error = match PageJson::read(body) {
            Ok(wire) => {
                let rows = wire.data.iter().map(|raw| read_message(raw)).collect();
                return Ok(Self::from_rows(rows, &wire, wire.data.len(), limit, fallback));
            }
            Err(error) => error,
        };
        let is_row = |raw: &RawValue| {
            let (row, has_time) = read_message(raw);
            row.readable && has_time
        };
        let pieces = spoiled_rows::find_rows(body, is_envelope, is_row, "receivedAt");
        // If one row was asked for, and the ends of rows cannot be found, the whole list counts as one row.
        let only_row = || (limit == 1).then(|| spoiled_rows::only_row(body, is_envelope, is_row)).flatten();
        let pieces = pieces.or_else(only_row).ok_or(error)?;
        let count = pieces.rows.len();
        if count > MAX_ROWS {
            return Err(too_many_rows());
        }
        let rows = pieces.rows.iter().enumerate().map(|(place, row)| read_row(row, place)).collect();
        let wire = PageJson::read(&pieces.envelope)?;
        Ok(Self::from_rows(rows, &wire, count, limit, fallback))
    }

    fn from_rows(mut rows: Vec<(Row, bool)>, wire: &PageJson<'_>, count: usize, limit: u32, fallback: UnixMs) -> Self {
        let total = wire.meta.0.total.and_then(|total| total.get().parse().ok());
        fill_missing_times(&mut rows, fallback);
        Self { rows: rows.into_iter().map(|(row, _)| row).collect(), more: wire.more(count, limit), total }
    }
}

/// Whether the body is a page without rows.
fn is_envelope(page: &[u8]) -> bool {
    PageJson::read(page).is_ok_and(|wire| wire.data.is_empty())
}

fn too_many_rows() -> Error {
    Error::Malformed(format!("it has more than {MAX_ROWS} rows"))
}

impl<'a> PageJson<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Error> {
        let Object(wire): Object<Self> = serde_json::from_slice(body).map_err(|error| {
            let wrong = what_is_wrong(body, &error);
            let garbled = !error.is_data() && spoiled_rows::is_valid_up_to_rows(body);
            if garbled { Error::Garbled(wrong) } else { Error::Malformed(wrong) }
        })?;
        if wire.data.len() > MAX_ROWS {
            return Err(too_many_rows());
        }
        Ok(wire)
    }

    /// Whether more rows follow a page of `count` rows, if `limit` rows were asked for.
    fn more(&self, count: usize, limit: u32) -> More {
        let full = count >= usize::try_from(limit).unwrap_or(usize::MAX);
        let cursor = self.meta.0.next_cursor.as_deref().filter(|cursor| (1..=MAX_CURSOR_BYTES).contains(&cursor.len()));
        match (self.meta.0.has_more, cursor) {
            (Some(false), _) => More::End,
            (_, Some(cursor)) => More::Cursor(Cursor(cursor.to_owned())),
            (Some(true), None) => More::Lost,
            (None, None) if full => More::Lost,
            (None, None) => More::End,
        }
    }
}

/// A page of numbers (API documentation, "List numbers").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberPage {
    /// The numbers that have an id.
    pub numbers: Vec<Number>,
    /// The number of entries of the list that are invalid JSON and were left out.
    pub spoiled: usize,
    /// Whether more numbers follow.
    pub more: More,
}

/// A number that the account has, or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// The API's id, which messages refer to.
    pub id: String,
    /// The JSON text of the number, byte for byte.
    pub raw: Box<str>,
}

impl NumberPage {
    /// Reads the body of an answer to a request for up to `limit` numbers.
    ///
    /// # Errors
    /// The errors of [`Page::read`].
    pub fn read(body: &[u8], limit: u32) -> Result<Self, Error> {
        let error = match PageJson::read(body) {
            Ok(wire) => {
                let numbers = wire.data.iter().filter_map(|raw| read_number(raw)).collect();
                return Ok(Self { numbers, spoiled: 0, more: wire.more(wire.data.len(), limit) });
            }
            Err(error) => error,
        };
        let pieces = spoiled_rows::find_rows(body, is_envelope, |raw| read_number(raw).is_some(), "id").ok_or(error)?;
        let sound = pieces.rows.iter().filter_map(|piece| match piece {
            FoundRow::Sound(raw) => Some(raw),
            FoundRow::Spoiled(_) => None,
        });
        let spoiled = pieces.rows.len() - sound.clone().count();
        let wire = PageJson::read(&pieces.envelope)?;
        let more = wire.more(pieces.rows.len(), limit);
        Ok(Self { numbers: sound.filter_map(|raw| read_number(raw)).collect(), spoiled, more })
    }
}

/// Reads one entry of the list of numbers; `None` if the entry has no id.
pub fn read_number(raw: &RawValue) -> Option<Number> {
    let fields = serde_json::from_str::<RowFields<'_>>(raw.get()).ok()?;
    let id = serde_json::from_str::<String>(fields.id?.get()).ok()?;
    Some(Number { id, raw: raw.get().into() })
}

/// Reads the row of one message. Returns the row, and whether it has a time of its own.
pub fn read_message(raw: &RawValue) -> (Row, bool) {
    let fields: RowFields<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let time = |field: Option<&RawValue>| field.and_then(text).and_then(|text| UnixMs::parse(&text));
    let id = fields.id.and_then(text).filter(|id| !id.is_empty());
    let received = time(fields.received_at);
    let row = Row {
        readable: id.is_some(),
        spoiled: None,
        id: id.unwrap_or_else(|| set_aside_id(raw.get().as_bytes())),
        time: received.unwrap_or_default(),
        ingested: time(fields.ingested_at),
        number: fields.number_id.and_then(text),
        raw: raw.get().into(),
    };
    (row, received.is_some())
}

fn read_row(piece: &FoundRow<'_>, place: usize) -> (Row, bool) {
    let bytes = match piece {
        FoundRow::Sound(raw) => return read_message(raw),
        FoundRow::Spoiled(bytes) => *bytes,
    };
    let id = spoiled_rows::member(bytes, "id").filter(|id| !id.is_empty());
    let received = spoiled_rows::only_text(bytes, "receivedAt").and_then(|text| UnixMs::parse(&text));
    let row = Row {
        readable: false,
        // A spoiled row with a readable id is always stored under the same id, even if the rest of the row changes.
        id: set_aside_id(id.as_ref().map_or(bytes, |id| id.as_bytes())),
        time: received.unwrap_or_default(),
        ingested: None,
        number: None,
        raw: spoiled_rows::lossless_text(bytes).into(),
        spoiled: Some(Box::new(SpoiledRow { id, place: place + 1, wrong: spoiled_rows::mistake(bytes) })),
    };
    (row, received.is_some())
}

/// Returns the id under which the state keeps an unreadable row. `raw` is the API's id of the row or, if that cannot be
/// read, the whole row.
pub fn set_aside_id(raw: &[u8]) -> String {
    format!("unreadable:{}", hex::encode(&Sha256::digest(raw)[..16]))
}

/// Gives each row without a time the time of the row above it. Rows at the top get the time of the first row that has a
/// time.
fn fill_missing_times(rows: &mut [(Row, bool)], fallback: UnixMs) {
    let first = rows.iter().find(|(_, own)| *own).map_or(fallback, |(row, _)| row.time);
    let mut above = first;
    for (row, own) in rows {
        if *own {
            above = row.time;
        } else {
            row.time = above;
        }
    }
}

/// Describes the mistake in a body without quoting the body, which may hold messages.
fn what_is_wrong(body: &[u8], error: &serde_json::Error) -> String {
    let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match (start, error.classify()) {
        (None, _) => "it is empty".to_owned(),
        (Some(b'<'), _) => "it is HTML".to_owned(),
        (_, serde_json::error::Category::Eof) => format!("it is cut off after {} bytes", body.len()),
        (_, serde_json::error::Category::Data) => {
            format!("a field is missing or of another type at line {} column {}", error.line(), error.column())
        }
        _ => format!("it is not JSON at line {} column {}", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Page, Error> {
        Page::read(body.as_bytes(), 10, UnixMs(77))
    }

    fn with_meta(meta: &str) -> Result<More, Error> {
        read(&format!(r#"{{"data":[],"meta":{meta}}}"#)).map(|page| page.more)
    }

    #[test]
    fn rows_pass_through_byte_for_byte() {
        let raw = r#"{ "id":"msg_1", "receivedAt":"1970-01-01T00:00:01.500Z","numberId":"n1",
            "ingestedAt":"1970-01-01T00:00:02Z","new":[1.10, 12345678901234567890, "\u0000 \ud83d\ude00 é"]}"#;
        let page = read(&format!(r#"{{"data":[{raw}],"meta":{{"hasMore":false}}}}"#)).unwrap();
        let row = &page.rows[0];
        assert_eq!(&*row.raw, raw);
        assert_eq!((row.id.as_str(), row.time, row.ingested), ("msg_1", UnixMs(1500), Some(UnixMs(2000))));
        assert_eq!((row.number.as_deref(), row.readable), (Some("n1"), true));
    }

    #[test]
    fn whether_more_rows_follow() {
        let cursor = || More::Cursor(Cursor("abc=".to_owned()));
        assert_eq!(with_meta(r#"{"hasMore":true,"nextCursor":"abc="}"#).unwrap(), cursor());
        assert_eq!(with_meta(r#"{"nextCursor":"abc="}"#).unwrap(), cursor());
        assert_eq!(with_meta(r#"{"hasMore":true,"nextCursor":"abc\u003d"}"#).unwrap(), cursor());
        for end in [
            r#"{"hasMore":false}"#,
            r#"{"hasMore":false,"nextCursor":null}"#,
            r#"{"hasMore":false,"nextCursor":"abc="}"#,
            "{}",
        ] {
            assert_eq!(with_meta(end).unwrap(), More::End, "{end}");
        }
        for lost in [r#"{"hasMore":true}"#, r#"{"hasMore":true,"nextCursor":""}"#] {
            assert_eq!(with_meta(lost).unwrap(), More::Lost, "{lost}");
        }
        let full = ["{}"; 10].join(",");
        assert_eq!(read(&format!(r#"{{"data":[{full}],"meta":{{}}}}"#)).unwrap().more, More::Lost);
    }

    #[test]
    fn a_row_that_cannot_be_read_spoils_nothing() {
        let page = read(
            r#"{"data":[{"id":7},{"id":"a","receivedAt":"1970-01-01T00:00:05Z","numberId":9},{"id":"b","receivedAt":1},
               {"id":null},5,{"receivedAt":"1970-01-01T00:00:03Z"},{"id":""}],"meta":{"hasMore":false}}"#,
        )
        .unwrap();
        let seen: Vec<(bool, i64)> = page.rows.iter().map(|row| (row.readable, row.time.0)).collect();
        let expected =
            [(false, 5000), (true, 5000), (true, 5000), (false, 5000), (false, 5000), (false, 3000), (false, 3000)];
        assert_eq!(seen, expected);
        let mut ids: Vec<&str> = page.rows.iter().map(|row| row.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 7, "each row has an id of its own");
        assert_eq!(read(r#"{"data":[{"id":"a"}],"meta":{}}"#).unwrap().rows[0].time, UnixMs(77));
    }

    #[test]
    fn if_a_field_occurs_twice_the_last_occurrence_counts() {
        let page = read(
            r#"{"data":[{"id":"a","id":"b","numberId":"n","numberId":7,"receivedAt":1,"\u0072eceivedAt":"1970-01-01T00:00:09Z"},
               {"\ud800":"half of a character","id":"c","body":"\udfff"}],"meta":{"hasMore":false}}"#,
        )
        .unwrap();
        let seen: Vec<_> =
            page.rows.iter().map(|row| (row.id.as_str(), row.readable, row.number.as_deref(), row.time.0)).collect();
        assert_eq!(seen, [("b", true, None, 9000), ("c", true, None, 9000)]);
    }

    #[test]
    fn a_cursor_that_is_too_long_for_a_request_counts_as_missing() {
        let meta = |length| format!(r#"{{"hasMore":true,"nextCursor":"{}"}}"#, "c".repeat(length));
        assert!(matches!(with_meta(&meta(8192)).unwrap(), More::Cursor(_)));
        assert_eq!(with_meta(&meta(8193)).unwrap(), More::Lost);
    }

    #[test]
    fn numbers_with_an_id_pass_through_byte_for_byte() {
        let raw = r#"{"id":"n1", "tags":["prod"],"new":1.10}"#;
        let body = format!(r#"{{"data":[{raw},{{"id":7}},5],"meta":{{"hasMore":true,"nextCursor":"c"}}}}"#);
        let page = NumberPage::read(body.as_bytes(), 10).unwrap();
        assert_eq!(page.numbers, [Number { id: "n1".to_owned(), raw: raw.into() }]);
        assert_eq!(page.more, More::Cursor(Cursor("c".to_owned())));
        assert!(NumberPage::read(b"<html>", 10).is_err());
    }

    const META: &str = r#""meta":{"hasMore":true,"nextCursor":"c"}"#;

    fn sound_row(id: &str, body: &str) -> String {
        let body = serde_json::to_string(body).unwrap();
        format!(
            r#"{{"id":"{id}", "numberId":"n","number":{{"id":"n","phoneNumber":"+1"}},"tags":[{{"id":"t"}},{{"id":"u"}}],"body":{body},"parsedCode":null,"receivedAt":"1970-01-01T00:00:05Z"}}"#
        )
    }

    /// A page with `row` in the middle.
    fn around(row: &[u8]) -> Vec<u8> {
        let (above, below) = (sound_row("above", "},{"), sound_row("below", "]}"));
        [format!(r#"{{"data":[{above},"#).as_bytes(), row, format!(r#",{below}],{META}}}"#).as_bytes()].concat()
    }

    #[test]
    fn one_spoiled_row_spoils_nothing_beside_it() {
        let sound = sound_row("bad", "@");
        let with = |body: &[u8]| {
            let at = sound.find('@').unwrap();
            [&sound.as_bytes()[..at], body, &sound.as_bytes()[at + 1..]].concat()
        };
        let instead = |old: &str, new: &str| sound.replacen(old, new, 1).into_bytes();
        let table: [(&str, Vec<u8>, &str); 18] = [
            ("a raw control character", with(b"\x1b[2J"), "control character"),
            ("a raw line break", with(b"a\nb"), "control character"),
            ("a bad escape", with(b"\\q"), "invalid escape"),
            ("a bad byte", with(b"caf\xe9"), "invalid unicode code point"),
            ("half of a character", with(b"\xf0\x9f"), "invalid unicode code point"),
            ("NaN", instead("null", "NaN"), "expected value"),
            ("infinity", instead("null", "-Infinity"), "invalid number"),
            ("a leading zero", instead("null", "01"), "invalid number"),
            ("a trailing comma", instead("5Z\"}", "5Z\",}"), "key must be a string"),
            ("no value", instead("null", ""), "expected value"),
            ("quotes of its own", with(b"say \"hi\" now"), "expected `,` or `}`"),
            ("an open quote", instead("@\"", "@"), "expected `,` or `}`"),
            ("an escaped end", with(b"\\"), "expected `,` or `}`"),
            ("no colon", instead("\"body\":", "\"body\" "), "expected `:`"),
            ("an open brace", instead("\"+1\"}", "\"+1\""), ""),
            ("a brace too early", instead("\"numberId\":\"n\"", "\"numberId\":\"n\"}"), ""),
            ("cut off", sound.as_bytes()[..sound.find('@').unwrap()].to_vec(), "EOF"),
            ("a word", b"undefined".to_vec(), "expected value"),
        ];
        for (name, row, wrong) in table {
            let body = around(&row);
            assert!(PageJson::read(&body).is_err(), "{name} is read as it is");
            let page = Page::read(&body, 10, UnixMs(77)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let [above, bad, below] = page.rows.as_slice() else { panic!("{name}: {page:?}") };
            assert_eq!((above.id.as_str(), &*above.raw), ("above", &*sound_row("above", "},{")), "{name}");
            assert_eq!((below.id.as_str(), &*below.raw), ("below", &*sound_row("below", "]}")), "{name}");
            assert_eq!((&*bad.raw, bad.readable), (&*spoiled_rows::lossless_text(&row), false), "{name}");
            let said = bad.spoiled.as_ref().unwrap();
            assert!(said.place == 2 && said.wrong.contains(wrong), "{name}: {said:?}");
            let id = (name != "a word").then(|| "bad".to_owned());
            assert_eq!(said.id, id, "{name}");
            assert!(bad.id.starts_with("unreadable:") && bad.time == UnixMs(5000), "{name}: {bad:?}");
            assert_eq!(page.more, More::Cursor(Cursor("c".to_owned())), "{name}");
            // A page with only this row, and a page with several such rows.
            let page = |rows: &[&[u8]]| {
                let body =
                    [br#"{"data":["#, rows.join(&b","[..]).as_slice(), format!("],{META}}}").as_bytes()].concat();
                Page::read(&body, 1, UnixMs(77)).unwrap().rows
            };
            assert_eq!(page(&[&row]).len(), 1, "{name}");
            let (first, last) = (sound_row("first", "x"), sound_row("last", "y"));
            let rows = page(&[&row, first.as_bytes(), &row, last.as_bytes(), b"NaN"]);
            let readable: Vec<&str> = rows.iter().filter(|row| row.readable).map(|row| row.id.as_str()).collect();
            assert_eq!(readable, ["first", "last"], "{name}");
            assert_eq!(page(&[&row])[0].id, bad.id, "{name}: the same row has the same id");
        }
    }

    #[test]
    fn a_spoiled_number_spoils_nothing_beside_it() {
        let page = NumberPage::read(br#"{"data":[{"id":"a"},{"id":"b","n":NaN},{"id":"c"}],"meta":{}}"#, 10).unwrap();
        let ids: Vec<&str> = page.numbers.iter().map(|number| number.id.as_str()).collect();
        assert_eq!((ids, page.spoiled, page.more), (vec!["a", "c"], 1, More::End));
    }

    /// A page with these rows, each as it came, with a comma between them.
    fn page_of(rows: &[&[u8]], limit: u32) -> Result<Page, Error> {
        let body = [br#"{"data":["#, rows.join(&b","[..]).as_slice(), format!("],{META}}}").as_bytes()].concat();
        Page::read(&body, limit, UnixMs(77))
    }

    #[test]
    fn a_sound_row_is_not_spoiled_by_what_stands_below_it() {
        let [first, above, below] = ["first", "above", "below"].map(|id| sound_row(id, "hello").into_bytes());
        let table: [&[u8]; 12] = [
            b"[object Object]",
            b"<b>x y</b>",
            b"Error: x",
            b"\"a \"b\" c\"",
            b"%s %s",
            b"9Z\",\"ingestedAt\":\"x\"}",
            b"9Z\", \"ingestedAt\": \"x\"}",
            b"<b>Internal error</b>",
            b"undefined",
            b"{ [x",
            b"(null)",
            b"\"ingestedAt\":\"x\"}",
        ];
        for garbage in table {
            let name = String::from_utf8_lossy(garbage);
            for (rows, expected) in [
                (vec![&*first, &*above, garbage, &*below], vec!["first", "above", "", "below"]),
                (vec![&*above, garbage], vec!["above", ""]),
                (vec![garbage, &*above, garbage], vec!["", "above", ""]),
            ] {
                let page = page_of(&rows, 10).unwrap_or_else(|error| panic!("{name}: {error}"));
                let ids: Vec<&str> =
                    page.rows.iter().map(|row| if row.readable { row.id.as_str() } else { "" }).collect();
                assert_eq!(ids, expected, "{name}");
                for (row, came) in page.rows.iter().zip(&rows) {
                    assert_eq!(row.raw.as_bytes(), *came, "{name}");
                }
            }
        }
    }

    #[test]
    fn an_object_without_a_time_is_a_whole_row_unless_a_time_follows() {
        let page = page_of(&[br#"{"id":"a"}"#, b"<b>x y</b>"], 10).unwrap();
        assert_eq!(page.rows.iter().map(|row| &*row.raw).collect::<Vec<_>>(), [r#"{"id":"a"}"#, "<b>x y</b>"]);
        let torn: &[u8] = br#"{"id":"a","body":"hi"},x","receivedAt":"1970-01-01T00:00:05Z"}"#;
        let page = page_of(&[torn], 10).unwrap();
        assert_eq!(page.rows.iter().map(|row| row.raw.as_bytes()).collect::<Vec<_>>(), [torn]);
    }

    #[test]
    fn two_sound_rows_without_a_comma_are_two_rows() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| sound_row(id, "hello"));
        let rows = [format!("{a}{b}\n{c}"), "<b>x y</b>".to_owned(), format!("{c} {d}")];
        let page = page_of(&[rows[0].as_bytes(), rows[1].as_bytes(), rows[2].as_bytes()], 10).unwrap();
        let came: Vec<&str> = page.rows.iter().map(|row| &*row.raw).collect();
        assert_eq!(came, [&*a, &*b, &*c, "<b>x y</b>", &*c, &*d]);
        // The text of a message does not become a row.
        let page = page_of(&[br#"{"id":"a","body":"hi"}{"id":"evil","receivedAt":"1970-01-01T00:00:05Z"}x","receivedAt":"1970-01-01T00:00:06Z"}"#], 10);
        assert!(page.unwrap().rows.iter().all(|row| !row.readable));
    }

    #[test]
    fn a_list_that_cannot_be_divided_is_one_row_if_one_row_was_asked_for() {
        let whole = sound_row("x", "SECRET");
        let nest = ",{".repeat(300);
        let table = [
            whole.replace("\"body\"", "}],\"body\""),
            whole.replace("SECRET", &format!("SECRET \"{nest}")),
            whole.replace("SECRET", &format!("SECRET {nest}"))[..500].to_owned(),
            whole.replace("SECRET", &format!("\u{1}{}", "y".repeat(1_100_000))),
        ];
        for row in &table {
            let page = page_of(&[row.as_bytes()], 1).unwrap();
            let [only] = page.rows.as_slice() else { panic!("{page:?}") };
            assert_eq!((&*only.raw, only.readable, only.spoiled.is_some()), (&**row, false, true));
            assert_eq!(only.id, page_of(&[row.as_bytes()], 1).unwrap().rows[0].id, "the same row has the same id");
            assert_eq!(page.more, More::Cursor(Cursor("c".to_owned())));
        }
        // The API gives more rows than were asked for. Then the page is an error, so that no sound row becomes a part
        // of a spoiled one.
        let row = table[1].as_bytes();
        assert!(page_of(&[row, sound_row("y", "hello").as_bytes()], 1).is_err());
        assert!(page_of(&[sound_row("y", "hello").as_bytes(), row], 1).is_err());
        assert!(page_of(&[row], 10).is_err(), "several were asked for");
        assert!(Page::read(format!(r#"{{"data":[{}],"meta":5}}"#, table[1]).as_bytes(), 1, UnixMs(0)).is_err());
    }

    proptest::proptest! {
        /// In one row, one byte is changed, is missing, or is inserted.
        #[test]
        fn if_one_row_is_spoiled_the_others_are_found(
            bodies in proptest::collection::vec(r#"[ -~é}{\]\[,"\\]{0,12}"#, 1..6),
            bad in 0_usize..6,
            place in 0_usize..1000,
            change in 0_u8..3,
            byte in proptest::prelude::any::<u8>(),
        ) {
            let rows: Vec<Vec<u8>> =
                bodies.iter().enumerate().map(|(n, body)| sound_row(&format!("m{n}"), body).into_bytes()).collect();
            let bad = bad % rows.len();
            let mut spoiled = rows.clone();
            let place = place % spoiled[bad].len();
            match change {
                0 => spoiled[bad][place] = byte,
                1 => drop(spoiled[bad].remove(place)),
                _ => spoiled[bad].insert(place, byte),
            }
            let body =
                [br#"{"data":["#, spoiled.join(&b","[..]).as_slice(), format!("],{META}}}").as_bytes()].concat();
            if PageJson::read(&body).is_ok() {
                return Ok(());
            }
            let page = Page::read(&body, 10, UnixMs(77));
            let page = page.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)));
            let found: Vec<&[u8]> = page.rows.iter().filter(|row| row.readable).map(|row| row.raw.as_bytes()).collect();
            let expected: Vec<&[u8]> =
                rows.iter().enumerate().filter(|(n, _)| *n != bad).map(|(_, row)| row.as_slice()).collect();
            proptest::prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn an_answer_that_is_no_page_is_an_error_that_quotes_nothing() {
        let table = [
            ("", "it is empty"),
            ("<html>secret</html>", "it is HTML"),
            (r#"{"data":[{"id":"secret"}"#, "it is cut off after 24 bytes"),
            (r#"{"data":"secret","meta":{}}"#, "a field is missing or of another type at line 1 column 16"),
            ("[[],{}]", "a field is missing or of another type at line 1 column 0"),
            (r#"{"data":[],"meta":[false]}"#, "a field is missing or of another type at line 1 column 18"),
            (r#"{"data":[]}"#, "a field is missing or of another type at line 1 column 11"),
            (r#"{"data":[],"meta":{"hasMore":"yes"}}"#, "a field is missing or of another type at line 1 column 34"),
            (r#"{"data":[],"meta":{"nextCursor":5}}"#, "a field is missing or of another type at line 1 column 33"),
            ("secret", "it is not JSON at line 1 column 1"),
            (&format!(r#"{{"data":[0{}],"meta":{{}}}}"#, ",1".repeat(10_000)), "it has more than 10000 rows"),
        ];
        for (body, expected) in table {
            let said = format!("the answer is not a page of messages: {expected}");
            assert_eq!(read(body).unwrap_err().to_string(), said, "{body}");
        }
        assert!(Page::read(b"{\"data\":[],\"meta\":{\"\xff\":0}}", 10, UnixMs(0)).is_err());
        assert!(Page::read(b"{\"data\":[NaN],\"meta\":{\"\xff\":0}}", 10, UnixMs(0)).is_err());
        assert!(Page::read(b"{\"data\":[NaN],\"meta\":{}}}", 10, UnixMs(0)).is_err());
    }
}
