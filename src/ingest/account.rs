//! Whether the messages that come now belong to the account whose state this is.
//!
//! The API does not say whose messages it lists. So when the address or the key is new to the state, a page must show
//! something that the state knows: a message, or at least a number. Until then nothing is committed.

use crate::store::Account;

/// What is known of the account when a page comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// Address and key were used with this state before.
    pub(super) familiar: bool,
    /// The state has had a first page.
    pub(super) begun: bool,
    /// The state knows numbers, so a page could show one of them.
    pub(super) has_met_numbers: bool,
    /// The page has rows.
    pub(super) page_has_rows: bool,
    /// One of the rows is stored.
    pub(super) known_message: bool,
    /// One of the rows came to a number that the state knows.
    pub(super) known_number: bool,
    /// The operator says that the new address or key belongs to the account of the state.
    pub(super) accepted: bool,
}

/// Whose page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountVerdict {
    /// It is the account's of the state.
    Same,
    /// It is another account's.
    Other,
    /// The page is empty: a later one may tell.
    Open,
}

/// Whose page it is, by this evidence.
pub(super) fn judge(evidence: &Evidence) -> AccountVerdict {
    let Evidence { familiar, begun, has_met_numbers, page_has_rows, known_message, known_number, accepted } = *evidence;
    if familiar || !begun || accepted || known_message || known_number || !has_met_numbers {
        AccountVerdict::Same
    } else if page_has_rows {
        AccountVerdict::Other
    } else {
        AccountVerdict::Open
    }
}

/// Whether both the address and the key were used with this state before.
pub(super) fn is_familiar(account: &Account, url: &str, fingerprint: &str) -> bool {
    account.api_url.as_deref() == Some(url) && account.key_fingerprints.iter().any(|known| known == fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGE: Evidence = Evidence {
        familiar: false,
        begun: true,
        has_met_numbers: true,
        page_has_rows: true,
        known_message: false,
        known_number: false,
        accepted: false,
    };

    #[test]
    fn a_strange_page_is_refused_and_anything_familiar_accepted() {
        assert_eq!(judge(&STRANGE), AccountVerdict::Other);
        assert_eq!(judge(&Evidence { page_has_rows: false, ..STRANGE }), AccountVerdict::Open);
        for same in [
            Evidence { familiar: true, ..STRANGE },
            Evidence { begun: false, ..STRANGE },
            Evidence { has_met_numbers: false, ..STRANGE },
            Evidence { known_message: true, ..STRANGE },
            Evidence { known_number: true, ..STRANGE },
            Evidence { accepted: true, ..STRANGE },
        ] {
            assert_eq!(judge(&same), AccountVerdict::Same, "{same:?}");
        }
    }

    #[test]
    fn familiar_is_address_and_key_together() {
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
