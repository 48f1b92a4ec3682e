//! Lets a command take the role of the relay, so that no relay works on the state at the same time.

use std::time::Duration;

use super::error::Error;
use super::lease::{LeaseOffer, LeaseTransactions};
use super::location::StateLocation;
use super::open::join_replicas;
use super::role::RoleLock;

/// How long the role lasts on a state in PostgreSQL, unless it is renewed. If the command dies, no relay can take the
/// lease until this time is over.
const VALID: Duration = Duration::from_secs(60);

/// Proof that no relay works on a state. Dropping this value gives the role up.
pub struct CommandRole {
    _lock: Option<RoleLock>,
    /// The lease, and its epoch; `None` for a state in a SQLite file.
    lease: Option<(Box<dyn LeaseTransactions>, i64)>,
}

impl CommandRole {
    /// Takes the role. On a state in PostgreSQL the role ends after a minute, unless it is renewed (`keep`).
    ///
    /// # Errors
    /// [`Error::InUse`] and [`Error::HasActiveRelay`]: a relay works on the state. Otherwise the errors of
    /// [`RoleLock::take`] and [`join_replicas`].
    pub fn take(at: &StateLocation) -> Result<Self, Error> {
        let Some(database) = at.database() else {
            return Ok(Self { _lock: Some(RoleLock::take(at.dir())?), lease: None });
        };
        let name = format!("command {}", std::process::id());
        let mut replica = join_replicas(database, &name, None)?;
        match replica.take(VALID)? {
            LeaseOffer::Granted { epoch, .. } => Ok(Self { _lock: None, lease: Some((replica, epoch)) }),
            LeaseOffer::Held(view) => {
                replica.leave()?;
                let holder = view.holder.unwrap_or_default();
                Err(Error::HasActiveRelay { namespace: database.namespace().to_owned(), holder })
            }
        }
    }
}

impl CommandRole {
    /// Keeps the role on a state in PostgreSQL for another minute. The role on a state in a SQLite file does not end by
    /// itself.
    ///
    /// # Errors
    /// [`Error::RoleLost`]: the role has ended, and a relay may work on the state.
    pub(super) fn keep(&mut self) -> Result<(), Error> {
        let Some((replica, epoch)) = &mut self.lease else { return Ok(()) };
        if replica.renew(*epoch, VALID)? { Ok(()) } else { Err(Error::RoleLost) }
    }
}

impl Drop for CommandRole {
    fn drop(&mut self) {
        // If giving the lease back fails, the lease ends by itself.
        drop(self.lease.as_mut().map(|(replica, _)| replica.leave()));
    }
}
