//! Whose messages the state holds, and what else ingest remembers from one start to the next.

use super::error::Error;

/// The account that the state belongs to, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The address of the API; `None` before the first page.
    pub api_url: Option<String>,
    /// The fingerprints of the keys that the API accepted.
    pub key_fingerprints: Vec<String>,
    /// `poll.start` at the first page, as people read it; `None` before the first page.
    pub start: Option<String>,
}

/// Transactions about the account.
pub trait AccountTransactions {
    /// Reads which account the state belongs to.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn account(&self) -> Result<Account, Error>;

    /// Records that this address and this key belong to the account.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn remember_account(&mut self, api_url: &str, key_fingerprint: &str) -> Result<(), Error>;

    /// Reads how many requests a minute other programs made with the key when the log last told of them; 0 if it never
    /// did.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn foreign_told(&self) -> Result<u32, Error>;

    /// Records that the log told of this many requests a minute of other programs.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn remember_foreign_told(&mut self, requests: u32) -> Result<(), Error>;

    /// Returns whether any of these ids of numbers is known.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn knows_number(&self, ids: &[&str]) -> Result<bool, Error>;

    /// Returns whether the state knows a message of this number.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn has_messages_of(&self, number: &str) -> Result<bool, Error>;

    /// Returns whether the state knows any number.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn has_met_numbers(&self) -> Result<bool, Error>;
}
