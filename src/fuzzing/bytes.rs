//! Bytes as a source of decisions. After their end every value is 0.

/// The bytes that are left of an input.
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    /// A number below `end`, which is at most 256.
    pub(super) fn below(&mut self, end: u16) -> u16 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u16::from(*first) % end
    }

    /// Whether an event happens that has a chance of `of` in 256.
    pub(super) fn chance(&mut self, of: u8) -> bool {
        let byte = self.byte();
        byte > 0 && byte <= of
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let place = self.below(u16::try_from(of.len()).unwrap_or(256));
        of[usize::from(place)]
    }

    pub(super) fn number(&mut self) -> i64 {
        let mut number = [0; 8];
        for byte in &mut number {
            *byte = self.byte();
        }
        i64::from_le_bytes(number)
    }

    /// The bytes up to the next 0, without it.
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
