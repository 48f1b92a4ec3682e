//! A state that a command reads without being the relay.

use super::backend::Spool;
use super::role::SharedRole;

/// A state as it was at one moment. Everything that is read from it is of that moment, and nothing can be written.
#[derive(Debug)]
pub struct Snapshot {
    /// For the methods that read.
    pub spool: Box<Spool>,
    /// Whether a relay runs on the state; `None` if this user may not know.
    pub running: Option<bool>,
    /// Keeps a relay from starting, where reading relies on that.
    pub(super) _role: Option<SharedRole>,
}
