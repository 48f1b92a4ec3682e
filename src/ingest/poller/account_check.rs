//! The findings so far about the key in use: whether the messages that the API shows for this key belong to the account
//! of the state. The verdict on a single page comes from [`account::judge`](crate::ingest::account::judge).

use crate::ingest::account::AccountVerdict;

/// The reason why nothing is stored while the account is not known.
pub(super) const UNVERIFIED: &str =
    "the API key or address is new and shows no messages yet; waiting for a message of a number that the state knows";

#[derive(Debug)]
pub(super) struct AccountCheck {
    /// Whether the operator says that another key or address belongs to the account of the state.
    is_accepted: bool,
    /// Whether the address and the key were found to belong to the account of the state.
    is_verified: bool,
    /// Whether the previous key was found to belong to the account of the state.
    was_verified: bool,
    /// How many polls had the verdict `Undecided` since the last verdict `Same`.
    undecided_polls: u32,
}

impl AccountCheck {
    pub(super) fn new(is_accepted: bool) -> Self {
        Self { is_accepted, is_verified: false, was_verified: false, undecided_polls: 0 }
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    pub(super) fn is_verified(&self) -> bool {
        self.is_verified
    }

    pub(super) fn undecided_polls(&self) -> u32 {
        self.undecided_polls
    }

    /// Records that another key is in use.
    pub(super) fn key_changed(&mut self) {
        self.was_verified = std::mem::replace(&mut self.is_verified, false);
    }

    /// Whether the previous key was found to belong to the account of the state. If so, a page that was requested with
    /// that key may still be stored.
    pub(super) fn was_verified(&self) -> bool {
        self.was_verified
    }

    /// Records the verdict on a page of the newest messages.
    pub(super) fn note(&mut self, verdict: AccountVerdict) {
        match verdict {
            AccountVerdict::Same => (self.is_verified, self.undecided_polls) = (true, 0),
            AccountVerdict::Undecided => {
                if self.undecided_polls == 0 {
                    tracing::warn!("{UNVERIFIED}");
                }
                self.undecided_polls = self.undecided_polls.saturating_add(1);
            }
            AccountVerdict::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_verified_anew() {
        let mut account = AccountCheck::new(false);
        account.note(AccountVerdict::Undecided);
        account.note(AccountVerdict::Undecided);
        assert_eq!((account.is_verified(), account.undecided_polls()), (false, 2));
        account.note(AccountVerdict::Same);
        assert_eq!((account.is_verified(), account.undecided_polls()), (true, 0));
        account.key_changed();
        account.note(AccountVerdict::Other);
        assert!(!account.is_verified());
    }
}
