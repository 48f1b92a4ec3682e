//! The transactions about the account whose messages the state holds, and about the foreign requests that the log
//! reported.

use super::error::Error;

/// The account that the state belongs to, as far as the relay knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The address of the API; `None` before the first page.
    pub api_url: Option<String>,
    /// The fingerprints of the keys that the API accepted.
    pub key_fingerprints: Vec<String>,
    /// The value of `poll.start` when the first page was read, in a form for people; `None` before the first page.
    pub start: Option<String>,
}

/// Transactions about the account.
pub trait AccountTransactions {
    /// Reads which account the state belongs to.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn account(&self) -> Result<Account, Error>;

    /// Records the address of the API, and that this key belongs to the account.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn remember_account(&mut self, api_url: &str, key_fingerprint: &str) -> Result<(), Error>;

    /// Reads the number of foreign requests a minute that the log last reported; 0 if the log never reported any.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn reported_foreign_requests(&self) -> Result<u32, Error>;

    /// Records the number of foreign requests a minute that the log has reported.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn record_reported_foreign_requests(&mut self, requests: u32) -> Result<(), Error>;

    /// Returns whether the state has a number with one of these ids.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn knows_number(&self, ids: &[&str]) -> Result<bool, Error>;

    /// Returns whether the state has messages of the number with this id.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn has_messages_of(&self, number: &str) -> Result<bool, Error>;

    /// Returns whether the state has any numbers.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn knows_any_number(&self) -> Result<bool, Error>;
}
