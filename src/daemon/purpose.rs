//! The purpose for which the daemon is started.

use crate::ingest::Mode;

/// How the daemon is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Whether to relay until stopped, or to catch up once.
    pub mode: Mode,
    /// Whether the operator said that a new key or address belongs to the same account.
    pub accept_account: bool,
    /// Whether the caller shows the progress of a long catch-up. If not, the log reports the progress.
    pub shows_progress: bool,
    /// The id of the machine's present boot, if the service manager has passed it on.
    pub boot_id: Option<String>,
}
