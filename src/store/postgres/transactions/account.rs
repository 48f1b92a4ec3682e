//! Transactions about the account.

use super::values::{from_json, to_json};
use crate::store::account::{Account, AccountTransactions};
use crate::store::error::Error;
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, params};

/// Records a value under a key in the table `meta`.
pub(super) const PUT: &str =
    "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// Reads the value under a key of the table `meta`.
pub(super) fn read_meta(statements: &Statements<'_>, key: &str) -> Result<Option<String>, Failure> {
    statements.value("SELECT value FROM meta WHERE key = $1", params![key])
}

impl AccountTransactions for PostgresBackend {
    fn account(&self) -> Result<Account, Error> {
        self.read(|statements| {
            let keys = known_keys(statements)?;
            let (api_url, start) = (read_meta(statements, "api_url")?, read_meta(statements, "start")?);
            Ok(Account { api_url, key_fingerprints: keys, start })
        })
    }

    fn remember_account(&mut self, api_url: &str, key_fingerprint: &str) -> Result<(), Error> {
        self.transaction(|statements| {
            let mut keys = known_keys(statements)?;
            if !keys.iter().any(|known| known == key_fingerprint) {
                keys.push(key_fingerprint.to_owned());
            }
            statements.later(PUT, params!["api_url", api_url]);
            statements.later(PUT, params!["key_fingerprints", &to_json(&keys)?]);
            Ok(())
        })
    }

    fn reported_foreign_requests(&self) -> Result<u32, Error> {
        let told = self.read(|statements| read_meta(statements, "foreign_told"))?;
        Ok(told.and_then(|told| told.parse().ok()).unwrap_or(0))
    }

    fn record_reported_foreign_requests(&mut self, requests: u32) -> Result<(), Error> {
        self.transaction(|statements| {
            statements.later(PUT, params!["foreign_told", &requests.to_string()]);
            Ok(())
        })
    }

    fn knows_number(&self, ids: &[&str]) -> Result<bool, Error> {
        self.read(|statements| {
            let ids = vec![Param::byte_texts(ids.iter().copied())];
            statements.exists("SELECT 1 FROM number WHERE id = ANY ($1) LIMIT 1", ids)
        })
    }

    fn has_messages_of(&self, number: &str) -> Result<bool, Error> {
        self.read(|statements| {
            statements.exists(
                "SELECT 1 FROM number WHERE id = $1 AND EXISTS (SELECT 1 FROM message WHERE message.number = key)",
                vec![Param::bytes(number)],
            )
        })
    }

    fn knows_any_number(&self) -> Result<bool, Error> {
        self.read(|statements| statements.exists("SELECT 1 FROM number LIMIT 1", Vec::new()))
    }
}

fn known_keys(statements: &Statements<'_>) -> Result<Vec<String>, Failure> {
    read_meta(statements, "key_fingerprints")?.map_or(Ok(Vec::new()), |text| from_json(&text))
}
