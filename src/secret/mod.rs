//! Secret values: how they are kept, where they come from, and how they are tidied.
//!
//! Invariants: a [`Secret`] leaves this type only through [`Secret::expose`], so a search for that word finds every
//! use. A secret prints as `[redacted]` and is wiped from memory when it is dropped. No error of this module repeats
//! what was read.

mod source;
pub mod trimming;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

pub use source::{Environment, Source, Unavailable};

/// Keeps these hashes apart from every other use of SHA-256 on the same input. Part of the state on disk: never change
/// it.
const FINGERPRINT_DOMAIN: &[u8] = b"joltsms-relay secret fingerprint v1\0";

/// A text that must not appear in any output.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The value itself, to be sent, never to be put into a message.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The last four characters, by which people recognise an API key; `None` for a secret so short that they would help
    /// to guess it.
    pub fn ending(&self) -> Option<String> {
        let count = self.expose().chars().count();
        (count >= LONG).then(|| self.expose().chars().skip(count - SHOWN).collect())
    }

    /// A hash of 16 hexadecimal characters: the same for the same value, and useless for finding the value.
    ///
    /// It is kept in the state, to notice that another account is configured. Use it only for values with the entropy
    /// of an API key: a short password could be found by trying.
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
