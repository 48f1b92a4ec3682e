//! Transactions about the account.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::values::{from_json, to_json};
use crate::store::account::{Account, AccountTransactions};
use crate::store::error::Error;
use crate::store::sqlite::connection::SqliteBackend;

const PUT: &str = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";

impl AccountTransactions for SqliteBackend {
    fn account(&self) -> Result<Account, Error> {
        self.read(|connection| {
            let keys = get(connection, "key_fingerprints")?.map_or(Ok(Vec::new()), |text| from_json(&text))?;
            let (api_url, start) = (get(connection, "api_url")?, get(connection, "start")?);
            Ok(Account { api_url, key_fingerprints: keys, start })
        })
    }

    fn remember_account(&mut self, api_url: &str, key_fingerprint: &str) -> Result<(), Error> {
        let mut keys = self.account()?.key_fingerprints;
        if !keys.iter().any(|known| known == key_fingerprint) {
            keys.push(key_fingerprint.to_owned());
        }
        self.transaction(|transaction| {
            let keys = to_json(&keys)?;
            let mut put = transaction.prepare_cached(PUT)?;
            put.execute(params!["api_url", api_url])?;
            put.execute(params!["key_fingerprints", keys]).map(drop)
        })
    }

    fn reported_foreign_requests(&self) -> Result<u32, Error> {
        let told = self.read(|connection| get(connection, "foreign_told"))?;
        Ok(told.and_then(|told| told.parse().ok()).unwrap_or(0))
    }

    fn record_reported_foreign_requests(&mut self, requests: u32) -> Result<(), Error> {
        self.transaction(|transaction| {
            transaction.prepare_cached(PUT)?.execute(params!["foreign_told", requests.to_string()]).map(drop)
        })
    }

    fn knows_number(&self, ids: &[&str]) -> Result<bool, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM number WHERE id = ?1")?;
            for id in ids {
                if statement.exists([id])? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn has_messages_of(&self, number: &str) -> Result<bool, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM number WHERE id = ?1 AND EXISTS (SELECT 1 FROM message WHERE number = key)",
                )?
                .exists([number])
        })
    }

    fn knows_any_number(&self) -> Result<bool, Error> {
        self.read(|connection| connection.prepare_cached("SELECT 1 FROM number LIMIT 1")?.exists([]))
    }
}

fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}
