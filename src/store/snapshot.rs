//! A state that a command reads without being the relay.

use super::backend::Spool;
use super::lease::ReplicaGroup;
use super::role::SharedRoleLock;

/// A state as it was at one moment. Everything that is read from the snapshot of a file is of that moment; in a database
/// each read is of its own moment. Nothing can be written.
#[derive(Debug)]
pub struct Snapshot {
    /// The opened state; only its methods that read can be used.
    pub spool: Box<Spool>,
    /// Whether a relay runs on the state; `None` if this user has no permission to find out.
    pub running: Option<bool>,
    /// The relays that share the state; `None` if the state is a file.
    pub replicas: Option<ReplicaGroup>,
    /// The shared role, if reading relies on it. It keeps a relay from starting.
    pub(super) _role: Option<SharedRoleLock>,
}
