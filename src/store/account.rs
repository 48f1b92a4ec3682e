//! Transactions about whose messages these are.

use rusqlite::{OptionalExtension as _, params};

use super::coverage::{from_json, to_json};
use super::error::Error;
use super::spool::Spool;

/// The account that the state belongs to, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The API's address.
    pub api_url: Option<String>,
    /// Fingerprints of the keys that were accepted.
    pub key_fingerprints: Vec<String>,
    /// `poll.start` as it was at the first page, for people.
    pub start: Option<String>,
}

impl Spool {
    /// Whose state this is.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn account(&self) -> Result<Account, Error> {
        let get = |key: &str| {
            self.connection
                .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([key], |row| row.get::<_, String>(0))
                .optional()
        };
        let read = || {
            let keys = get("key_fingerprints")?.map_or(Ok(Vec::new()), |text| from_json(&text))?;
            Ok(Account { api_url: get("api_url")?, key_fingerprints: keys, start: get("start")? })
        };
        read().map_err(|error| self.explain(error))
    }

    /// Writes down that this address and key belong to the account.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn remember_account(&mut self, api_url: &str, key_fingerprint: &str) -> Result<(), Error> {
        let mut keys = self.account()?.key_fingerprints;
        if !keys.iter().any(|known| known == key_fingerprint) {
            keys.push(key_fingerprint.to_owned());
        }
        self.transaction(|transaction| {
            let keys = to_json(&keys)?;
            let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
            put.execute(params!["api_url", api_url])?;
            put.execute(params!["key_fingerprints", keys]).map(drop)
        })
    }

    /// Requests a minute of other programs on the key, as they were last told of; 0 = never.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn foreign_told(&self) -> Result<u32, Error> {
        let read = || {
            let told: Option<String> = self
                .connection
                .prepare_cached("SELECT value FROM meta WHERE key = 'foreign_told'")?
                .query_row([], |row| row.get(0))
                .optional()?;
            Ok(told.and_then(|told| told.parse().ok()).unwrap_or(0))
        };
        read().map_err(|error| self.explain(error))
    }

    /// Writes down that they were told of.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn remember_foreign_told(&mut self, requests: u32) -> Result<(), Error> {
        self.transaction(|transaction| {
            let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
            put.execute(params!["foreign_told", requests.to_string()]).map(drop)
        })
    }

    /// Whether any of these number ids was seen in a message before.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn knows_number<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<bool, Error> {
        let look = || {
            let mut statement = self.connection.prepare_cached("SELECT 1 FROM number WHERE id = ?1")?;
            for id in ids {
                if statement.exists([id])? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        look().map_err(|error| self.explain(error))
    }

    /// Whether a message of this number was met.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn has_messages_of(&self, number: &str) -> Result<bool, Error> {
        self.connection
            .prepare_cached("SELECT 1 FROM number WHERE id = ?1 AND EXISTS (SELECT 1 FROM message WHERE number = key)")
            .and_then(|mut statement| statement.exists([number]))
            .map_err(|error| self.explain(error))
    }

    /// Whether any message that named its number was met.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn has_met_numbers(&self) -> Result<bool, Error> {
        self.connection
            .prepare_cached("SELECT 1 FROM number LIMIT 1")
            .and_then(|mut statement| statement.exists([]))
            .map_err(|error| self.explain(error))
    }
}
