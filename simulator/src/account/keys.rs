//! The API keys of the account. Keys are made, listed and revoked, and they expire. A revoked or expired key is still
//! accepted for a short time.
//!
//! Invariants: the API shows a secret once, when its key is made. Only the simulator's web page shows a secret again.
//! An accepted key is accepted without another check until its cache time is over, so a revocation takes effect late,
//! never early.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::account::identity;
use crate::clock::Now;
use crate::switches::Switches;

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    /// An API key, named by its id.
    Key(String),
    Session,
}

/// A key as the list shows it, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The id of the key.
    pub id: String,
    /// The name of the key.
    pub name: String,
    /// The first characters of the key's secret.
    pub prefix: String,
    /// When the key was made.
    #[serde(serialize_with = "milliseconds")]
    pub created_at: Timestamp,
    /// When the key stops being accepted; `None`: never.
    #[serde(serialize_with = "optional_milliseconds")]
    pub expires_at: Option<Timestamp>,
    /// When the key was revoked; `None`: it was not revoked.
    #[serde(serialize_with = "optional_milliseconds")]
    pub revoked_at: Option<Timestamp>,
    /// When the key was last accepted.
    #[serde(serialize_with = "optional_milliseconds")]
    pub last_used_at: Option<Timestamp>,
}

/// Writes a time as the API writes it.
fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn optional_milliseconds<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// A key that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedKey {
    /// The key's id.
    pub id: String,
    /// The secret. The secret is shown only here.
    pub secret: String,
}

/// The error for an account that already has as many active keys as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyKeys {
    /// How many active keys the account may have.
    pub allowed: usize,
}

impl std::fmt::Display for TooManyKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the account has {} active keys, which is as many as it may have", self.allowed)
    }
}

impl std::error::Error for TooManyKeys {}

/// The keys of the account.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    list: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    key: Key,
    secret: String,
    /// The time until which the key is accepted without another check.
    cached_until: Option<Duration>,
}

impl Held {
    fn valid(&self, now: Now) -> bool {
        self.key.revoked_at.is_none() && self.key.expires_at.is_none_or(|expires| now.wall < expires)
    }

    fn is_called(&self, name: &str) -> bool {
        self.key.id == name || self.secret == name || self.key.name == name
    }
}

impl Keys {
    /// Makes a key.
    pub(crate) fn create(
        &mut self,
        name: &str,
        expires_at: Option<Timestamp>,
        now: Now,
        switches: &Switches,
        random: &mut fastrand::Rng,
    ) -> Result<CreatedKey, TooManyKeys> {
        if self.list.iter().filter(|held| held.valid(now)).count() >= switches.max_keys {
            return Err(TooManyKeys { allowed: switches.max_keys });
        }
        let secret = identity::secret(random);
        let key = Key {
            id: format!("key_{}", identity::letters(random, 12)),
            name: name.to_owned(),
            prefix: secret.chars().take("jolt_sk_".len() + 4).collect(),
            created_at: now.wall,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let created = CreatedKey { id: key.id.clone(), secret: secret.clone() };
        self.list.push(Held { key, secret, cached_until: None });
        Ok(created)
    }

    /// Returns the id of the key with this secret, if the key is accepted now.
    pub(crate) fn accept(&mut self, secret: &str, now: Now, switches: &Switches) -> Option<&str> {
        let held = self.list.iter_mut().find(|held| held.secret == secret)?;
        let cached = held.cached_until.is_some_and(|until| now.elapsed < until);
        if !cached {
            if !held.valid(now) {
                return None;
            }
            held.cached_until = Some(now.elapsed.saturating_add(switches.key_cache));
        }
        held.key.last_used_at = Some(now.wall);
        Some(&held.key.id)
    }

    /// Returns the key with this id, secret or name.
    pub(crate) fn find(&self, name: &str) -> Option<&Key> {
        self.list.iter().find(|held| held.is_called(name)).map(|held| &held.key)
    }

    /// Returns the secret of the key with this id.
    pub(crate) fn secret(&self, id: &str) -> Option<&str> {
        self.list.iter().find(|held| held.key.id == id).map(|held| held.secret.as_str())
    }

    /// Revokes a key, given by id, secret or name. Returns whether there is such a key that was not revoked yet.
    pub(crate) fn revoke(&mut self, name: &str, now: Now) -> bool {
        let Some(held) = self.list.iter_mut().find(|held| held.is_called(name) && held.key.revoked_at.is_none()) else {
            return false;
        };
        held.key.revoked_at = Some(now.wall);
        true
    }

    /// Sets or removes the expiry of a key, given by id, secret or name. Returns whether there is such a key.
    pub(crate) fn set_expiry(&mut self, name: &str, expires_at: Option<Timestamp>) -> bool {
        let Some(held) = self.list.iter_mut().find(|held| held.is_called(name)) else { return false };
        held.key.expires_at = expires_at;
        true
    }

    /// Ends all cache times, so that every key is checked again when it is next used.
    pub(crate) fn forget_cache(&mut self) {
        for held in &mut self.list {
            held.cached_until = None;
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Key> {
        self.list.iter().map(|held| &held.key)
    }
}
