//! Checksums of the stored values that must not change unnoticed. SQLite notices if the structure of its file is
//! damaged, but not if a bit of a text or of a number has changed.
//!
//! The checksum is FNV-1a with 64 bits. It notices every change within a single byte. Of all other changes it misses
//! one in 2^64. It guards against faults of a disk, not against people.

use rusqlite::types::Type;

use crate::domain::{Marks, UnixMs, Walk, WalkKind};

/// A checksum that is being computed.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::sqlite) struct Checksum(u64);

impl Checksum {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Returns the checksum of a message.
    pub(in crate::store::sqlite) fn of_message(id: &str, time: i64, raw: &str) -> i64 {
        Self::new().text(id).number(time).text(raw).finish()
    }

    /// Returns the checksum of the marks of coverage.
    pub(in crate::store::sqlite) fn of_marks(marks: &Marks) -> i64 {
        let Marks { frontier, watermark, anchor, start_instant, next_seq, next_walk } = marks;
        let numbers = [frontier.0, watermark.0, anchor.0, start_instant.0, next_seq.0, next_walk.0];
        numbers.into_iter().fold(Self::new(), Self::number).finish()
    }

    /// Returns the checksum of an open walk.
    pub(in crate::store::sqlite) fn of_walk(walk: &Walk) -> i64 {
        let kind = match walk.kind {
            WalkKind::Gap { sweep_floor, streaming } => {
                let sum = Self::new().number(0).number(i64::from(streaming));
                sum.maybe(sweep_floor.map(|UnixMs(floor)| floor))
            }
            WalkKind::Sweep => Self::new().number(1),
            WalkKind::Seed => Self::new().number(2),
        };
        let places = walk.cursor.iter().chain(&walk.trail).fold(kind, |sum, cursor| sum.text(&cursor.0));
        let numbers = [walk.id.0, walk.floor.0, walk.opened_seq.0, walk.opened_at.0, walk.lowest.0];
        numbers.into_iter().fold(places, Self::number).finish()
    }

    /// Adds a text and its length. Because of the length, the texts "ab" and "c" have a different checksum from "a" and
    /// "bc".
    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).number(i64::try_from(text.len()).unwrap_or(i64::MAX))
    }

    fn number(self, number: i64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn maybe(self, number: Option<i64>) -> Self {
        number.map_or(self, |number| self.number(number))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// Returns the checksum as SQLite keeps it.
    const fn finish(self) -> i64 {
        self.0.cast_signed()
    }
}

/// A value on the disk has changed since it was stored. The field names the value.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not what was stored")]
struct Altered(String);

/// Compares the checksum of what was read (`found`) with the checksum that was stored beside it (`stored`). A record
/// that was stored in format 1 of the file has no checksum, and is not checked.
pub(in crate::store::sqlite) fn verify(
    stored: Option<i64>,
    found: i64,
    what: impl FnOnce() -> String,
) -> rusqlite::Result<()> {
    if stored.is_none_or(|stored| stored == found) {
        return Ok(());
    }
    Err(rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(Altered(what()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let (id, raw) = ("m1", "{\"id\":\"m1\",\"body\":\"482913\"}");
        let sum = Checksum::of_message(id, 1_700_000_000_000, raw);
        for bit in 0..64 {
            assert_ne!(Checksum::of_message(id, 1_700_000_000_000 ^ (1 << bit), raw), sum);
        }
        for at in 0..raw.len() {
            // With the highest bit of a byte changed, the text would not be UTF-8.
            for bit in 0..7 {
                let mut other = raw.as_bytes().to_vec();
                other[at] ^= 1 << bit;
                assert_ne!(Checksum::of_message(id, 1_700_000_000_000, std::str::from_utf8(&other).unwrap()), sum);
            }
        }
        assert_ne!(Checksum::of_message("m", 0, "1x"), Checksum::of_message("m1", 0, "x"), "the end of the id counts");
    }

    #[test]
    fn the_checksum_is_fnv_1a_as_in_the_files_of_earlier_versions() {
        assert_eq!(Checksum::of_message("", 0, ""), Checksum::new().bytes(&[0; 24]).finish());
        assert_eq!(Checksum::new().bytes(b"foobar").0, 0x8594_4171_f739_67e8, "the published test vector of FNV-1a");
    }
}
