//! The check whether the messages that the API shows belong to the account of this state.
//!
//! The API does not say to which account its messages belong. So if the API's address or the key is new to the state,
//! the first page that has rows must show a message or a number that the state knows. Otherwise the page counts as a
//! page of another account. Until that page comes, nothing is stored.

use crate::store::Account;

/// The evidence for the question to which account a page belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct AccountEvidence {
    /// Whether both the address and the key were used with this state before.
    pub(super) familiar: bool,
    /// Whether coverage has begun: the first page of a first run was stored in this state.
    pub(super) begun: bool,
    /// Whether the state knows numbers, so that a page could show one of them.
    pub(super) knows_any_number: bool,
    /// Whether the page has rows.
    pub(super) page_has_rows: bool,
    /// Whether one of the rows is stored already.
    pub(super) known_message: bool,
    /// Whether a number that the state knows received one of the rows.
    pub(super) known_number: bool,
    /// Whether the operator says that the new address or key belongs to the account of the state.
    pub(super) accepted: bool,
}

/// The verdict on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountVerdict {
    /// The page belongs to the account of the state.
    Same,
    /// The page belongs to another account.
    Other,
    /// The page is empty, so only a later page can show the account.
    Undecided,
}

/// Decides whether a page belongs to the account of the state.
pub(super) fn judge(evidence: &AccountEvidence) -> AccountVerdict {
    let AccountEvidence { familiar, begun, knows_any_number, page_has_rows, known_message, known_number, accepted } =
        *evidence;
    if familiar || !begun || accepted || known_message || known_number || !knows_any_number {
        AccountVerdict::Same
    } else if page_has_rows {
        AccountVerdict::Other
    } else {
        AccountVerdict::Undecided
    }
}

/// Whether both the address and the key were used with this state before.
pub(super) fn is_familiar(account: &Account, url: &str, fingerprint: &str) -> bool {
    account.api_url.as_deref() == Some(url) && account.key_fingerprints.iter().any(|known| known == fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGE: AccountEvidence = AccountEvidence {
        familiar: false,
        begun: true,
        knows_any_number: true,
        page_has_rows: true,
        known_message: false,
        known_number: false,
        accepted: false,
    };

    #[test]
    fn a_page_without_anything_known_belongs_to_another_account() {
        assert_eq!(judge(&STRANGE), AccountVerdict::Other);
        assert_eq!(judge(&AccountEvidence { page_has_rows: false, ..STRANGE }), AccountVerdict::Undecided);
        for same in [
            AccountEvidence { familiar: true, ..STRANGE },
            AccountEvidence { begun: false, ..STRANGE },
            AccountEvidence { knows_any_number: false, ..STRANGE },
            AccountEvidence { known_message: true, ..STRANGE },
            AccountEvidence { known_number: true, ..STRANGE },
            AccountEvidence { accepted: true, ..STRANGE },
        ] {
            assert_eq!(judge(&same), AccountVerdict::Same, "{same:?}");
        }
    }

    #[test]
    fn an_account_is_familiar_if_its_address_and_its_key_are_known() {
        let account = Account {
            api_url: Some("https://a".to_owned()),
            key_fingerprints: vec!["1".to_owned(), "2".to_owned()],
            start: None,
        };
        assert!(is_familiar(&account, "https://a", "2"));
        assert!(!is_familiar(&account, "https://a", "3"));
        assert!(!is_familiar(&account, "https://b", "2"));
    }
}
