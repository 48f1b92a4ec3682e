//! The bytes of an input as a source of choices. After the last byte, every further byte counts as 0.

use crate::ingest::coverage::testbed::Choices;

/// The rest of an input.
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next eight bytes, as a number.
    pub(super) fn number(&mut self) -> i64 {
        i64::from_le_bytes([0; 8].map(|_| self.byte()))
    }

    /// The bytes before the next 0.
    pub(super) fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        line
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Each choice takes one byte.
impl Choices for Bytes<'_> {
    /// `end` must be at most 256.
    fn below(&mut self, end: u64) -> u64 {
        u64::from(self.byte()) % end
    }

    /// The probability is rounded down to a multiple of 1/256.
    fn chance(&mut self, probability: f64) -> bool {
        let byte = self.byte();
        byte > 0 && f64::from(byte) <= probability * 256.0
    }
}
