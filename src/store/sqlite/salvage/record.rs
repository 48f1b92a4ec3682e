//! Reading single rows of SQLite's file format, with pure functions from bytes to values. The words (page, row, cell,
//! payload, serial type …) are those of <https://www.sqlite.org/fileformat2.html>.
//!
//! Invariant: whatever the bytes are, no function panics or makes a row that is longer than [`LONGEST`].

/// The size of a page in bytes, in every state file.
pub(super) const PAGE: usize = 4096;

/// The greatest length of a row in bytes. A longer row is damaged: even a whole answer of the API is shorter.
const LONGEST: usize = 16 << 20;

/// The size in bytes of the header of the file, at the beginning of the first page.
const FILE_HEADER: usize = 100;

/// The kinds of pages that hold rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TableLeaf,
    IndexLeaf,
    IndexInterior,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Text(String),
    /// A real number or a blob. The relay stores neither.
    Other,
}

/// A row of a table or of an index. If a table has an integer as its primary key, `rowid` is the key, and the column of
/// the key is NULL. A row of an index, or of a table `WITHOUT ROWID`, has no `rowid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SalvagedRow {
    pub(super) rowid: Option<i64>,
    pub(super) values: Vec<Value>,
}

impl SalvagedRow {
    /// Returns the value of the column if it is a number.
    pub(super) fn int(&self, column: usize) -> Option<i64> {
        if let Value::Int(number) = self.values.get(column)? { Some(*number) } else { None }
    }

    /// Returns the value of the column if it is a text.
    pub(super) fn text(&self, column: usize) -> Option<&str> {
        if let Value::Text(text) = self.values.get(column)? { Some(text) } else { None }
    }
}

/// Reads the rows of a page. Returns the rows, and the number of rows that cannot be read. `is_first`: whether this is
/// the first page of the file. The rest of a long row is on a chain of overflow pages; `follow` reads such a page by
/// its number.
pub(super) fn rows(
    page: &[u8],
    is_first: bool,
    follow: &mut dyn FnMut(u32) -> Option<Vec<u8>>,
) -> (Vec<SalvagedRow>, u64) {
    let (mut found, mut unreadable) = (Vec::new(), 0);
    let start = if is_first { FILE_HEADER } else { 0 };
    let kind = match page.get(start) {
        Some(0x0d) => Kind::TableLeaf,
        Some(0x0a) => Kind::IndexLeaf,
        Some(0x02) => Kind::IndexInterior,
        _ => return (found, unreadable),
    };
    let pointers = start + if kind == Kind::IndexInterior { 12 } else { 8 };
    let count = number(page, start + 3, 2).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    // A cell takes at least four bytes, and its pointer takes two. So a page has at most this many cells.
    for cell in 0..count.min(PAGE / 6) {
        let at = number(page, pointers + 2 * cell, 2).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| row(page, at, kind, follow)) {
            Some(row) => found.push(row),
            None => unreadable += 1,
        }
    }
    (found, unreadable)
}

fn row(page: &[u8], at: usize, kind: Kind, follow: &mut dyn FnMut(u32) -> Option<Vec<u8>>) -> Option<SalvagedRow> {
    let at = if kind == Kind::IndexInterior { at + 4 } else { at };
    let (length, at) = varint(page, at)?;
    let (rowid, at) = match kind {
        Kind::TableLeaf => varint(page, at).map(|(rowid, at)| (Some(rowid), at))?,
        Kind::IndexLeaf | Kind::IndexInterior => (None, at),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST)?;
    // How much of a row is on this page: `most`, `least` and `fitting` are X, M and K in SQLite's description. The rest
    // of the row is on overflow pages.
    let most = if kind == Kind::TableLeaf { PAGE - 35 } else { (PAGE - 12) * 64 / 255 - 23 };
    if length <= most {
        return Some(SalvagedRow { rowid, values: record(page.get(at..at.checked_add(length)?)?)? });
    }
    let least = (PAGE - 12) * 32 / 255 - 23;
    let fitting = least + (length - least) % (PAGE - 4);
    let here = if fitting <= most { fitting } else { least };
    let mut payload = page.get(at..at + here)?.to_vec();
    let mut next = u32::try_from(number(page, at + here, 4)?).ok()?;
    while payload.len() < length {
        let page = if next == 0 { None } else { follow(next) }?;
        next = u32::try_from(number(&page, 0, 4)?).ok()?;
        let part = (length - payload.len()).min(PAGE - 4);
        payload.extend_from_slice(page.get(4..4 + part)?);
    }
    Some(SalvagedRow { rowid, values: record(&payload)? })
}

fn record(payload: &[u8]) -> Option<Vec<Value>> {
    let (header, mut at) = varint(payload, 0)?;
    let mut body = usize::try_from(header).ok().filter(|end| *end <= payload.len())?;
    let end = body;
    let mut values = Vec::new();
    while at < end {
        let (serial, next) = varint(payload, at)?;
        at = next;
        let length = match serial {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(serial).ok()?,
            5 => 6,
            6 | 7 => 8,
            12.. => usize::try_from((serial - 12) / 2).ok()?,
            _ => return None,
        };
        let bytes = payload.get(body..body.checked_add(length)?)?;
        body += length;
        values.push(match serial {
            0 => Value::Null,
            8 => Value::Int(0),
            9 => Value::Int(1),
            1..=6 => Value::Int(signed(bytes)),
            text if text >= 13 && text % 2 == 1 => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
            _ => Value::Other,
        });
    }
    Some(values)
}

/// Reads a big-endian number without a sign.
pub(super) fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn signed(bytes: &[u8]) -> i64 {
    let start = if bytes.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
    bytes.iter().fold(start, |number, byte| number << 8 | i64::from(*byte))
}

fn varint(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let mut number = 0_i64;
    for place in 0..8 {
        let byte = *bytes.get(at + place)?;
        number = number << 7 | i64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((number, at + place + 1));
        }
    }
    Some((number << 8 | i64::from(*bytes.get(at + 8)?), at + 9))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_a_record() {
        // The header is six bytes: its own length, and the type of each value. Then come the values: NULL, 1, -2, 300
        // and "ab". NULL and 1 take no bytes.
        let payload = [6, 0, 9, 1, 2, 17, 0xfe, 1, 44, b'a', b'b'];
        let expected =
            [Value::Null, Value::Int(1), Value::Int(-2), Value::Int(300), Value::Text("ab".to_owned())].to_vec();
        assert_eq!(record(&payload), Some(expected));
        assert_eq!(record(&payload[..10]), None, "cut off");
        assert_eq!(varint(&[0x81, 0x00], 0), Some((128, 2)));
        assert_eq!(varint(&[0xff; 9], 0), Some((-1, 9)));
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(mut page in proptest::collection::vec(any::<u8>(), PAGE), kind in 0..3_usize) {
            page[0] = [0x0d, 0x0a, 0x02][kind];
            let (chain, mut left) = (page.clone(), 50);
            rows(&page, false, &mut |_| {
                left -= 1;
                (left > 0).then(|| chain.clone())
            });
        }
    }
}
