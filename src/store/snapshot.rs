//! A state that a command reads without being the relay.

use super::backend::Spool;
use super::lease::ReplicaGroup;
use super::role::SharedRoleLock;

/// A state that was opened for reading only. All reads of a state in a SQLite file show the state as it was at one
/// moment. Each read of a state in PostgreSQL shows the state at the time of that read.
#[derive(Debug)]
pub struct Snapshot {
    /// The opened state; only its methods that read can be used.
    pub spool: Box<Spool>,
    /// Whether a relay runs on the state; `None` if this user has no permission to find out.
    pub running: Option<bool>,
    /// The relays that share the state; `None` if the state is in a SQLite file.
    pub replicas: Option<ReplicaGroup>,
    /// A shared lock on the role: while it is held, no relay can start. It is held if SQLite opened the file as
    /// immutable, because then nobody may write the file.
    pub(super) _role: Option<SharedRoleLock>,
}
