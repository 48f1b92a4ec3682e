//! The API key in use: its last characters, by which people recognise it, and since when the relay uses it.

use crate::domain::UnixMs;

/// The key in use.
#[derive(Debug, Default)]
pub(super) struct KeyInUse {
    fingerprint: String,
    ending: Option<String>,
    since: Option<UnixMs>,
}

impl KeyInUse {
    /// Records the key that is in use at `now`, by the relay's time.
    pub(super) fn note(&mut self, fingerprint: String, ending: Option<String>, now: UnixMs) {
        if self.since.is_none() || self.fingerprint != fingerprint {
            *self = Self { fingerprint, ending, since: Some(now) };
        }
    }

    /// Records that the relay's time was corrected by `shift` milliseconds.
    pub(super) fn rebase(&mut self, shift: i64) {
        self.since = self.since.map(|since| UnixMs(since.0.saturating_add(shift)));
    }

    /// Returns the last characters of the key.
    pub(super) fn ending(&self) -> Option<String> {
        self.ending.clone()
    }

    /// Returns when this process began to use the key, by the relay's time.
    pub(super) fn since(&self) -> Option<UnixMs> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_use_begins_anew_only_with_another_key() {
        let mut key = KeyInUse::default();
        let mut note = |fingerprint: &str, now| {
            key.note(fingerprint.to_owned(), Some(format!("…{fingerprint}")), UnixMs(now));
            (key.ending().unwrap(), key.since().unwrap().0)
        };
        assert_eq!(note("a", 1), ("…a".to_owned(), 1));
        assert_eq!(note("a", 2), ("…a".to_owned(), 1));
        assert_eq!(note("b", 3), ("…b".to_owned(), 3));
        key.rebase(-2);
        assert_eq!(key.since(), Some(UnixMs(1)));
    }
}
