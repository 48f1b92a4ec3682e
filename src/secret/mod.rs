//! Secret values: the type that keeps them, the places from which they are read, and the trimming of what was read.
//!
//! Invariants: [`Secret::expose`] is the only way to the value of a [`Secret`], so a search for that word finds every
//! use. A secret prints as `[redacted]` and is wiped from memory when it is dropped. No error of this module repeats
//! the text that was read.

mod source;
pub mod trimming;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

pub use source::{Environment, Source, Unavailable};

/// This text is hashed together with the secret, so a fingerprint differs from the plain SHA-256 of the secret. The
/// state on disk depends on this value, so it must never change.
const FINGERPRINT_DOMAIN: &[u8] = b"joltsms-relay secret fingerprint v1\0";

/// A text that must not appear in any output.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The value itself. It may be sent to its receiver, but never be put into a log line or an error.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The last four characters, by which people recognise an API key. `None` if the secret is so short that these
    /// characters would help to guess it.
    pub fn ending(&self) -> Option<String> {
        let count = self.expose().chars().count();
        (count >= LONG).then(|| self.expose().chars().skip(count - SHOWN).collect())
    }

    /// A hash of 16 hexadecimal characters. Equal values have equal hashes, and the value cannot be computed from the
    /// hash.
    ///
    /// The state keeps the hash, so that the relay notices when another account is configured. Fingerprints may be made
    /// only of values with the entropy of an API key: a short password could be found by trying many values.
    pub fn fingerprint(&self) -> String {
        let hash = Sha256::new().chain_update(FINGERPRINT_DOMAIN).chain_update(self.expose()).finalize();
        hex::encode(&hash[..8])
    }
}

/// How many characters of a secret [`Secret::ending`] shows.
const SHOWN: usize = 4;
/// The length below which a secret is too short to show a part of it.
const LONG: usize = 24;

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value.into())
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing_of_itself() {
        assert_eq!(
            format!("{:?} {:#?}", Secret::from("hunter2"), Some(Secret::from("x"))).matches("hunter2").count(),
            0
        );
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "[redacted]");
    }

    #[test]
    fn only_a_long_secret_shows_its_end() {
        assert_eq!(Secret::from("jolt_sk_0123456789abcdef0123456789abcdef").ending().as_deref(), Some("cdef"));
        assert_eq!(Secret::from("hunter2hunter2hunter2hu").ending(), None);
    }

    #[test]
    fn fingerprint_is_stable_across_versions() {
        // printf 'joltsms-relay secret fingerprint v1\0hunter2' | sha256sum | cut -c1-16
        assert_eq!(Secret::from("hunter2").fingerprint(), "55e8d3018829c04e");
        assert_ne!(Secret::from("hunter2").fingerprint(), Secret::from("hunter3").fingerprint());
    }
}
