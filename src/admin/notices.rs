//! The results of the last actions, for the page that the browser shows after an action.
//!
//! The address of that page contains only the id of a notice, so nobody can make a link that shows a text of their own
//! on the page.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

/// How many notices are kept.
const KEPT: usize = 64;

/// The result of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionNotice {
    /// Sentences for people, one in each line.
    pub(super) text: String,
    /// Whether the action was refused or has failed.
    pub(super) is_refusal: bool,
}

/// The last notices. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Notices(Arc<Mutex<VecDeque<(String, ActionNotice)>>>);

impl Notices {
    /// Keeps a notice. Returns its id.
    pub(super) fn keep(&self, notice: ActionNotice) -> String {
        let id = format!("{:016x}", RandomState::new().build_hasher().finish());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((id.clone(), notice));
        id
    }

    /// Returns the notice with this id, if it is still kept.
    pub(super) fn find(&self, id: &str) -> Option<ActionNotice> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(own, _)| own == id).map(|(_, notice)| notice.clone())
    }
}
