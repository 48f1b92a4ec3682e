//! Reads files that contain one message, or one number, as the API shows them.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use serde_json::value::RawValue;

use crate::api::{self, Number, PAGE_CAP, read_message};
use crate::domain::{Row, UnixMs};

/// The largest file that is read, in bytes. The relay does not read a larger page from the API, either.
const LARGEST: usize = PAGE_CAP;

/// How to make a file with a message.
const MAKES_FILE: &str = "; `joltsms-relay tail --since 24h --json | head -n 1 > FILE` makes one of a stored message";

/// Why a file cannot be used, in words: the name of the file, the place of the error, and the error. The content of the
/// file is not quoted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(String);

/// The message that a file contains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MessageFile {
    /// The row that the relay reads from the message.
    pub(super) row: Row,
    /// When the message was received; `None` if the message has no such time.
    pub(super) received: Option<UnixMs>,
}

/// Reads the message in a file; `-` is standard input.
pub(super) fn read(file: &Path) -> Result<MessageFile, Unreadable> {
    let (bytes, name) = bytes(file, MAKES_FILE)?;
    parse(&bytes, &name)
}

/// Reads the number in a file; `-` is standard input.
pub(super) fn read_number(file: &Path) -> Result<Number, Unreadable> {
    let (bytes, name) = bytes(file, "")?;
    parse_number(&bytes, &name)
}

/// Returns the content of a file, and the file's name for error messages. `advice` is added to the error if the file
/// does not exist.
fn bytes(file: &Path, advice: &str) -> Result<(Vec<u8>, String), Unreadable> {
    let is_stdin = file == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
    let read = if is_stdin { up_to_limit(io::stdin().lock()) } else { File::open(file).and_then(up_to_limit) };
    let bytes = read.map_err(|error| {
        let advice = if error.kind() == ErrorKind::NotFound { advice } else { "" };
        Unreadable(format!("cannot read {name}: {error}{advice}"))
    })?;
    if bytes.len() > LARGEST {
        let mebibytes = LARGEST >> 20;
        return Err(Unreadable(format!(
            "{name} has more than {mebibytes} MiB: the relay reads no page that is so large"
        )));
    }
    Ok((bytes, name))
}

/// Reads at most one byte more than is allowed. If that byte exists, the input is too large.
fn up_to_limit(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], name: &str) -> Result<MessageFile, Unreadable> {
    let message = json(bytes, name, "message")?;
    let (row, has_time) = read_message(message);
    if row.readable {
        return Ok(MessageFile { received: has_time.then_some(row.time), row });
    }
    Err(wrong(bytes, name, message, "message", "; the relay stores such a message and delivers it to nobody"))
}

fn parse_number(bytes: &[u8], name: &str) -> Result<Number, Unreadable> {
    let number = json(bytes, name, "number")?;
    api::read_number(number).ok_or_else(|| wrong(bytes, name, number, "number", ""))
}

/// Parses the file as one JSON value. `what` names the value that the file should contain.
fn json<'b>(bytes: &'b [u8], name: &str, what: &str) -> Result<&'b RawValue, Unreadable> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(&bytes[..error.valid_up_to()]);
        Unreadable(format!("{name}:{line}:{column}: this is no UTF-8, so it is no JSON"))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(Unreadable(format!("{name} is empty: it must hold one {what} as the API shows it")));
    }
    serde_json::from_str(text).map_err(|error| {
        let (line, column, mut said) = (error.line(), error.column(), error.to_string());
        if let Some(end) = said.rfind(" at line ") {
            said.truncate(end);
        }
        let hint = if said == "trailing characters" { format!("; it must hold one {what}") } else { String::new() };
        Unreadable(format!("{name}:{line}:{column}: this is not JSON: {said}{hint}"))
    })
}

/// Describes why a value is no message or number. If the value is an object without an id, the text `without_id` is
/// added.
fn wrong(bytes: &[u8], name: &str, value: &RawValue, what: &str, without_id: &str) -> Unreadable {
    let wrong = if value.get().starts_with('[') {
        format!("this is a list and no {what}; take one out of it, such as with jq '.[0]'")
    } else if serde_json::from_str::<PageFile<'_>>(value.get()).is_ok() {
        format!("this is a page of the API and no {what}; take one out of it, such as with jq '.data[0]'")
    } else if value.get().starts_with('{') {
        format!("the {what} has no `id` that is a text{without_id}")
    } else {
        format!("this is no {what}: a {what} is an object, {{\"id\": …}}")
    };
    let before = bytes.len() - bytes.trim_ascii_start().len();
    let (line, column) = place(&bytes[..before]);
    Unreadable(format!("{name}:{line}:{column}: {wrong}"))
}

#[derive(serde::Deserialize)]
struct PageFile<'a> {
    #[serde(rename = "data", borrow)]
    _data: Vec<&'a RawValue>,
}

/// Returns the line and the column of the place after these bytes, counted from 1.
fn place(before: &[u8]) -> (usize, usize) {
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    (1 + before.iter().filter(|byte| **byte == b'\n').count(), 1 + before.len() - line_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_file_is_refused() {
        let said = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(said, "/dev/zero has more than 8 MiB: the relay reads no page that is so large");
    }

    #[test]
    fn a_message_keeps_every_byte() {
        let text = "\n { \"id\" : \"m1\",\n\"n\": 1.10, \"numberId\": \"n1\", \"receivedAt\": \"2026-01-31T08:00:00.000Z\" }\n";
        let MessageFile { row, received } = parse(text.as_bytes(), "x").unwrap();
        assert_eq!((&*row.raw, row.id.as_str(), row.number.as_deref()), (text.trim(), "m1", Some("n1")));
        assert_eq!(received, UnixMs::parse("2026-01-31T08:00:00.000Z"));
        assert_eq!(parse(b"{\"id\":\"m\"}", "x").unwrap().received, None);
    }

    #[test]
    fn a_number_is_read_and_other_values_are_refused() {
        let number = parse_number(b" {\"id\":\"n\", \"tags\":[]}\n", "x").unwrap();
        assert_eq!((number.id.as_str(), &*number.raw), ("n", "{\"id\":\"n\", \"tags\":[]}"));
        let cases: [(&[u8], &str); 4] = [
            (b"", "x is empty: it must hold one number as the API shows it"),
            (b"{\"tags\":[]}", "x:1:1: the number has no `id` that is a text"),
            (b"[]", "x:1:1: this is a list and no number; take one out of it, such as with jq '.[0]'"),
            (b"{} {}", "x:1:4: this is not JSON: trailing characters; it must hold one number"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_number(text, "x").unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_value_that_is_no_message_is_refused_and_its_place_is_named() {
        let cases: [(&[u8], &str); 10] = [
            (b" \n", "x is empty: it must hold one message as the API shows it"),
            (b"{\"id\":\n  oops}", "x:2:3: this is not JSON: expected value"),
            (
                b"{\"id\":\"m\"}\n{\"id\":\"n\"}",
                "x:2:1: this is not JSON: trailing characters; it must hold one message",
            ),
            (b"{\"id\":", "x:1:6: this is not JSON: EOF while parsing a value"),
            (b"{\"id\":\"m\",\n\"body\":\"\xff\"}", "x:2:9: this is no UTF-8, so it is no JSON"),
            (b"[{\"id\":\"m\"}]", "x:1:1: this is a list and no message; take one out of it, such as with jq '.[0]'"),
            (
                b"{\"data\":[{\"id\":\"m\"}],\"meta\":{}}",
                "x:1:1: this is a page of the API and no message; take one out of it, such as with jq '.data[0]'",
            ),
            (
                b"\n\n {\"id\":5}",
                "x:3:2: the message has no `id` that is a text; the relay stores such a message and delivers it to \
                 nobody",
            ),
            (b"\"m\"", "x:1:1: this is no message: a message is an object, {\"id\": …}"),
            (b"5", "x:1:1: this is no message: a message is an object, {\"id\": …}"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, "x").unwrap_err().to_string(), expected);
        }
    }
}
