//! Reads a page with a row that is invalid JSON, for example because it contains a raw control character, `NaN` or
//! invalid UTF-8, or is cut off. Without this module, one such row at the top of the feed would hide every message
//! below it.
//!
//! Only rows are read leniently. The rest of the page, above all the cursor, must be valid JSON. The end of a row is
//! decided in this order:
//!
//! 1. The row is valid JSON, and a comma, the end of the list, or another valid row follows. The row is used byte for
//!    byte as it came, whatever follows the comma.
//! 2. The row would be JSON if any bytes were allowed in strings, if any word could be a name or a value, if values
//!    could be missing, and if there could be spare commas. Then the end of the row is certain, and the row is spoiled.
//! 3. Otherwise the row is spoiled up to the next place from which the page can be read to its end: the end of the
//!    list, or a comma that is followed by a valid row with an id and a time.
//!
//! Invariant: no row is invented. A string cannot contain a row, because the quotes in a string are escaped. An object
//! that is nested in a row is not taken for a row, because the page cannot be read to its end from there. If a row has
//! a brace too many, the row seems to end at this brace. Then the bytes up to the real end are joined with the row
//! again (`is_tail`).
//!
//! If one row was asked for, and everything around the list of rows is valid, the whole list is read as that row
//! ([`only_row`]).

use std::collections::HashSet;

use serde_json::value::RawValue;

/// The longest page that is searched, in bytes. A page of the API has a few kilobytes.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// The most places of one page that are tried as the beginning of a row.
const MAX_TRIES: usize = 256;

/// The deepest nesting that is followed.
const MAX_DEPTH: usize = 64;

/// One row of a page, as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) enum FoundRow<'a> {
    /// A row that is valid JSON.
    Sound(&'a RawValue),
    /// A row that is invalid JSON: its bytes as they came.
    Spoiled(&'a [u8]),
}

/// The rows of a page, and the page without its rows.
#[derive(Debug)]
pub(super) struct FoundRows<'a> {
    pub(super) rows: Vec<FoundRow<'a>>,
    /// The page with an empty list of rows.
    pub(super) envelope: Vec<u8>,
}

/// Finds the rows of a page that is invalid JSON as a whole. `is_envelope` decides whether a page without its rows is
/// valid, and `is_row` whether a valid object certainly is a row of the list. `row_field` is the name of a field that
/// each row has exactly once. Returns `None` if something other than rows is invalid, or if the end of a row cannot be
/// decided.
pub(super) fn find_rows<'a>(
    body: &'a [u8],
    is_envelope: impl Fn(&[u8]) -> bool,
    is_row: impl Fn(&RawValue) -> bool,
    row_field: &'static str,
) -> Option<FoundRows<'a>> {
    if body.len() > MAX_PAGE_BYTES {
        return None;
    }
    let start = list_of_rows(body)?;
    let envelope = |end: usize| [&body[..start], &body[end..]].concat();
    let mut search = RowSearch {
        body,
        ends_list: |end: usize| is_envelope(&envelope(end)),
        is_row,
        row_field,
        tries: MAX_TRIES,
        dead_ends: HashSet::new(),
    };
    let (rows, end) = search.rows(start, 0)?;
    Some(FoundRows { rows, envelope: envelope(end) })
}

/// Reads the whole list of a page as one spoiled row, for a request of one row. Returns `None` if something around the
/// list is invalid, or if the list contains a complete row and so may have several rows.
pub(super) fn only_row<'a>(
    body: &'a [u8],
    is_envelope: impl Fn(&[u8]) -> bool,
    is_row: impl Fn(&RawValue) -> bool,
) -> Option<FoundRows<'a>> {
    let start = list_of_rows(body)?;
    let ends = (start..body.len()).rev().filter(|place| body[*place] == b']').take(MAX_TRIES);
    let mut envelopes = ends.map(|end| (end, [&body[..start], &body[end..]].concat()));
    let (end, envelope) = envelopes.find(|(_, envelope)| is_envelope(envelope))?;
    let row = body[start..end].trim_ascii();
    let begins_object = |place: &usize| row[*place] == b'{' && row.get(space(row, place + 1)) == Some(&b'"');
    let mut objects = (0..row.len()).filter(begins_object).take(MAX_TRIES);
    let shows_row = objects.any(|place| sound(row, place).is_some_and(|(object, _)| is_row(object)));
    (!row.is_empty() && !shows_row).then(|| FoundRows { rows: vec![FoundRow::Spoiled(row)], envelope })
}

/// Whether the page is valid up to the beginning of its list of rows.
pub(super) fn is_valid_up_to_rows(body: &[u8]) -> bool {
    list_of_rows(body).is_some()
}

/// Returns the place directly after the opening bracket of the list `data`. Everything before that place must be valid.
fn list_of_rows(body: &[u8]) -> Option<usize> {
    let mut at = expect(body, 0, b'{')?;
    loop {
        let (name, after) = sound(body, at)?;
        let name: String = serde_json::from_str(name.get()).ok()?;
        at = expect(body, after, b':')?;
        if name == "data" {
            return expect(body, at, b'[');
        }
        let (_, after) = sound(body, at)?;
        at = expect(body, after, b',')?;
    }
}

struct RowSearch<'a, E, R> {
    body: &'a [u8],
    ends_list: E,
    is_row: R,
    row_field: &'static str,
    tries: usize,
    /// The places from which the end of the page cannot be reached.
    dead_ends: HashSet<usize>,
}

impl<'a, E: Fn(usize) -> bool, R: Fn(&RawValue) -> bool> RowSearch<'a, E, R> {
    /// Returns the rows from `at` on, and the place of the bracket that ends the list.
    fn rows(&mut self, mut at: usize, depth: usize) -> Option<(Vec<FoundRow<'a>>, usize)> {
        let body = self.body;
        let mut rows = Vec::new();
        let mut last = at;
        loop {
            at = space(body, at);
            match body.get(at)? {
                b',' => at += 1,
                b']' => return (self.ends_list)(at).then_some((rows, at)),
                first => {
                    if let Some((row, end)) = self.sound_row(at) {
                        rows.push(FoundRow::Sound(row));
                        (last, at) = (at, end);
                    } else if let Some(end) = LenientReader::end_of_value(body, at).filter(|end| ends_row(body, *end)) {
                        rows.push(FoundRow::Spoiled(&body[at..end]));
                        (last, at) = (at, end);
                    } else {
                        let (end, (rest, end_of_list)) = self.resume(at, depth)?;
                        let mut begin = at;
                        if *first != b'{' && self.is_tail(rows.last(), &body[at..end]) {
                            rows.pop();
                            begin = last;
                        }
                        rows.push(FoundRow::Spoiled(body[begin..end].trim_ascii_end()));
                        rows.extend(rest);
                        return Some((rows, end_of_list));
                    }
                }
            }
        }
    }

    /// Returns the valid row at `at` and its end, if a comma, the end of the list or another valid row follows.
    fn sound_row(&self, at: usize) -> Option<(&'a RawValue, usize)> {
        let (row, end) = sound(self.body, at)?;
        if ends_row(self.body, end) {
            return Some((row, end));
        }
        let next = space(self.body, end);
        let is_followed = self.body.get(next) == Some(&b'{')
            && (self.is_row)(row)
            && sound(self.body, next).is_some_and(|(next, _)| (self.is_row)(next));
        is_followed.then_some((row, end))
    }

    /// Whether the bytes `found`, which follow the row `last`, belong to that row, because only a brace too many seemed
    /// to end it. If `is_row` accepts `last`, they do not: the row is complete. If `last` is valid and has an id, but
    /// `is_row` does not accept it, a field is missing. Then they belong to the row only if they contain the name
    /// `row_field`. In all other cases they belong to the row.
    fn is_tail(&self, last: Option<&FoundRow<'a>>, found: &[u8]) -> bool {
        match last {
            None => false,
            Some(FoundRow::Sound(row)) if (self.is_row)(row) => false,
            Some(FoundRow::Sound(row)) if member(row.get().as_bytes(), "id").is_some() => {
                places(found, self.row_field).next().is_some()
            }
            Some(_) => true,
        }
    }

    /// Returns the end of the spoiled row at `at`, and the rows that follow it.
    fn resume(&mut self, at: usize, depth: usize) -> Option<(usize, (Vec<FoundRow<'a>>, usize))> {
        let body = self.body;
        let mut comma = None;
        for (place, byte) in body.iter().enumerate().skip(at) {
            match *byte {
                b']' if (self.ends_list)(place) => return Some((place, (Vec::new(), place))),
                b',' => comma = Some(place),
                b'{' => {
                    let Some(comma) = comma.take() else { continue };
                    if self.tries == 0 || depth >= MAX_DEPTH {
                        return None;
                    }
                    if self.dead_ends.contains(&place) {
                        continue;
                    }
                    self.tries -= 1;
                    let begins = self.sound_row(place).is_some_and(|(row, _)| (self.is_row)(row));
                    if begins && let Some(rest) = self.rows(place, depth + 1) {
                        return Some((comma, rest));
                    }
                    self.dead_ends.insert(place);
                }
                byte if is_space(byte) => {}
                _ => comma = None,
            }
        }
        None
    }
}

/// Returns the valid JSON value that begins at `at`, and the end of the value.
fn sound(body: &[u8], at: usize) -> Option<(&RawValue, usize)> {
    let mut values = serde_json::Deserializer::from_slice(body.get(at..)?).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

/// Whether a comma or the end of the list follows the value that ends at `end`.
fn ends_row(body: &[u8], end: usize) -> bool {
    matches!(body.get(space(body, end)), Some(b',' | b']'))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn space(body: &[u8], at: usize) -> usize {
    body.iter().skip(at).position(|byte| !is_space(*byte)).map_or(body.len(), |length| at + length)
}

/// Returns the place directly after `byte`, if `byte` comes next.
fn expect(body: &[u8], at: usize, byte: u8) -> Option<usize> {
    let at = space(body, at);
    (body.get(at) == Some(&byte)).then_some(at + 1)
}

/// A reader of bytes that have only the form of JSON: any bytes in strings, any words as names and values, missing
/// values, spare commas.
struct LenientReader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> LenientReader<'a> {
    fn end_of_value(body: &'a [u8], at: usize) -> Option<usize> {
        let mut reader = Self { body, at };
        reader.value(0)?;
        Some(reader.at)
    }

    fn next(&mut self) -> Option<u8> {
        self.at = space(self.body, self.at);
        self.body.get(self.at).copied()
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'{' => self.object(depth, &mut |_, _| ()),
            b'[' => self.list(depth),
            b'"' => self.string(),
            _ => self.word(),
        }
    }

    /// Calls a function with the name and the value of each member.
    fn object(&mut self, depth: usize, member: &mut dyn FnMut(&'a [u8], &'a [u8])) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.at += 1;
        loop {
            let begin = match self.next()? {
                b'}' => break,
                b',' => {
                    self.at += 1;
                    continue;
                }
                b'"' => {
                    let begin = self.at;
                    self.string()?;
                    begin
                }
                _ => {
                    let begin = self.at;
                    self.word()?;
                    begin
                }
            };
            let name = &self.body[begin..self.at];
            self.at = expect(self.body, self.at, b':')?;
            let begin = match self.next()? {
                b',' | b'}' => self.at,
                _ => {
                    let begin = self.at;
                    self.value(depth + 1)?;
                    begin
                }
            };
            member(name, &self.body[begin..self.at]);
            if !matches!(self.next()?, b',' | b'}') {
                return None;
            }
        }
        self.at += 1;
        Some(())
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.at += 1;
        loop {
            match self.next()? {
                b']' => break,
                b',' => self.at += 1,
                _ => {
                    self.value(depth + 1)?;
                    if !matches!(self.next()?, b',' | b']') {
                        return None;
                    }
                }
            }
        }
        self.at += 1;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.body.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    fn word(&mut self) -> Option<()> {
        let ends = |byte: &u8| is_space(*byte) || b"{}[]\":,".contains(byte);
        let length = self.body[self.at..].iter().position(ends)?;
        self.at += length;
        (length > 0).then_some(())
    }
}

/// Returns the text of a member of a spoiled row, if the text is readable and no other member has the same name. The
/// row is read up to the place where it no longer has the form of JSON.
pub(super) fn member(row: &[u8], name: &str) -> Option<String> {
    let read = |text: &[u8]| serde_json::from_slice::<String>(text).ok();
    let mut found = Vec::new();
    let mut reader = LenientReader { body: row, at: 0 };
    if reader.next()? != b'{' {
        return None;
    }
    // Whether the reading succeeds does not matter: the members before the place where the form of JSON ends count.
    reader.object(0, &mut |key, value| {
        if read(key).as_deref() == Some(name) {
            found.push(value);
        }
    });
    match found.as_slice() {
        [value] => read(value),
        _ => None,
    }
}

/// Returns the place directly after each `"name"` in a row.
fn places<'a>(row: &'a [u8], name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_name = move |at: &usize| {
        let inside = row[*at..].strip_prefix(b"\"").and_then(|rest| rest.strip_prefix(name.as_bytes()));
        inside.is_some_and(|rest| rest.starts_with(b"\""))
    };
    (0..row.len()).filter(is_name).map(move |at| at + name.len() + 2)
}

/// Returns the text that follows the only occurrence of `"name"` in a spoiled row, even if the row does not have the
/// form of JSON.
pub(super) fn only_text(row: &[u8], name: &str) -> Option<String> {
    let mut places = places(row, name);
    let (Some(place), None) = (places.next(), places.next()) else { return None };
    let (value, _) = sound(row, expect(row, place, b':')?)?;
    serde_json::from_str(value.get()).ok()
}

/// Returns the row as text. If the row is not UTF-8, each invalid byte is written as `\xNN`, and each `\x` of the row
/// as `\x5cx`, so that the bytes can be restored.
pub(super) fn lossless_text(row: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(row) {
        return text.to_owned();
    }
    let mut text = String::with_capacity(row.len() + 8);
    for chunk in row.utf8_chunks() {
        text.push_str(&chunk.valid().replace("\\x", "\\x5cx"));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Describes the mistake in a spoiled row, without quoting the row.
pub(super) fn mistake(row: &[u8]) -> String {
    match serde_json::from_slice::<&RawValue>(row) {
        Err(error) if !error.is_data() => error.to_string(),
        _ => "its end is missing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_row_can_be_restored_from_its_text() {
        for (row, expected) in [
            (&b"{\"body\":\"a\x01\\x41\"}"[..], "{\"body\":\"a\u{1}\\x41\"}"),
            (b"caf\xe9 \\x41", "caf\\xe9 \\x5cx41"),
            (b"\xf0\x9f", "\\xf0\\x9f"),
        ] {
            assert_eq!(lossless_text(row), expected);
        }
    }

    #[test]
    fn members_of_a_spoiled_row() {
        let row = br#"{"id":"a","number":{"id":"n"},"n":NaN,"body":"x","id2":"b"}"#;
        assert_eq!(member(row, "id").as_deref(), Some("a"));
        assert_eq!(member(br#"{"id":"a","id":"b","n":NaN}"#, "id"), None, "two members have this name");
        assert_eq!(member(b"{\"id\":\"a\xff\"}", "id"), None);
        assert_eq!(member(br#"{"id":"a","body":"say "hi"","receivedAt":"t"}"#, "id").as_deref(), Some("a"));
        assert_eq!(member(br#"{"id":"a","body":"say "hi"","receivedAt":"t"}"#, "receivedAt"), None);
        assert_eq!(only_text(br#"{"id":"a","body":"say "hi"","receivedAt": "t"}"#, "receivedAt").as_deref(), Some("t"));
        assert_eq!(only_text(br#"{"receivedAt":"t","receivedAt":"u"}"#, "receivedAt"), None);
        assert_eq!(member(b"NaN", "id"), None);
        assert_eq!(member(b"{", "id"), None);
    }
}
