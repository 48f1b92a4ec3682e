//! The lease: the role of the relay for some seconds, if several relays share a state in PostgreSQL.
//!
//! By the clock of the database, a lease ends six seconds ([`LEASE`]) after it was taken or renewed. The relay stops
//! its work earlier: five seconds (`WORK`) after it *began* to ask for the lease or for its last successful renewal. It
//! measures these seconds by a clock that cannot be set. So neither a slow answer nor a wrong clock lets a relay work
//! while another one has the lease.

use std::time::Duration;

use super::error::Error;
use crate::domain::UnixMs;
use crate::time::Instant;

/// How long a lease is valid after it was taken or renewed, by the clock of the database.
pub const LEASE: Duration = Duration::from_secs(6);

/// How long a relay may work after it began to ask for the lease, or for its last successful renewal. The remaining
/// second of [`LEASE`] allows for clocks that run at different speeds, and for the time that the relay needs to stop.
const WORK: Duration = Duration::from_secs(5);

/// The time between the beginnings of two renewals.
const RENEWAL: Duration = Duration::from_millis(1_500);

/// The lease that this relay has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    epoch: i64,
    /// When the relay began to ask for the last successful renewal; before the first renewal, when it began to ask for
    /// the lease.
    asked: Instant,
    /// When the database granted the lease, by the database's clock; and when the relay began to ask for it, by the
    /// relay's monotonic clock.
    granted_at: (UnixMs, Instant),
}

impl Lease {
    /// Makes a lease that the database has granted. `asked`: when the relay began to ask for the lease. `granted_at`:
    /// when the database granted the lease, by the database's clock.
    pub fn taken(epoch: i64, asked: Instant, granted_at: UnixMs) -> Self {
        Self { epoch, asked, granted_at: (granted_at, asked) }
    }

    /// Returns the time by the database's clock at the instant `now`. The returned time may be ahead of that clock, at
    /// most by the time that the database took to grant the lease.
    pub fn database_time(&self, now: Instant) -> UnixMs {
        let (granted_at, asked) = self.granted_at;
        granted_at.after(now.saturating_duration_since(asked))
    }

    /// Returns the epoch: it grows whenever a relay takes the lease.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Records that the database has renewed the lease. `asked`: when the relay began to ask for the renewal.
    pub fn renewed(&mut self, asked: Instant) {
        self.asked = self.asked.max(asked);
    }

    /// Returns the instant at which the relay asks for the next renewal.
    pub fn next_renewal(&self) -> Instant {
        self.asked + RENEWAL
    }

    /// Returns the instant at which all work has to stop, unless the lease is renewed before this instant.
    pub fn work_ends(&self) -> Instant {
        self.asked + WORK
    }

    /// Returns whether the relay may still work.
    pub fn allows_work(&self, now: Instant) -> bool {
        now < self.work_ends()
    }
}

/// The database's answer to a relay that asks for the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOffer {
    /// The relay has the lease now.
    Granted {
        /// The epoch of the lease.
        epoch: i64,
        /// The time by the database's clock.
        at: UnixMs,
    },
    /// Another relay has the lease.
    Held(LeaseView),
}

/// The lease as every process can read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseView {
    /// The epoch of the last relay that took the lease; 0 if none ever did.
    pub epoch: i64,
    /// The name of the relay that has the lease; `None` if none has it.
    pub holder: Option<String>,
    /// How long the lease is still valid.
    pub left: Duration,
}

/// A relay that shares the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaView {
    /// The name of the relay.
    pub name: String,
    /// How long ago the relay joined.
    pub joined: Duration,
    /// How long ago the relay last recorded that it runs.
    pub seen: Duration,
}

/// The relays that share a state, and which of them is the active one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaGroup {
    /// The lease.
    pub lease: LeaseView,
    /// The relays that ran in the last minutes, in the order of their names.
    pub replicas: Vec<ReplicaView>,
}

/// Transactions on the lease. Like those of [`super::Backend`], they block their thread until they are done.
pub trait LeaseTransactions: Send {
    /// Asks for a lease that is valid for the time `valid`. The database grants it if no relay has the lease. If a
    /// transaction of the previous holder is still open, the database waits for its end first. Also records that this
    /// relay runs.
    ///
    /// # Errors
    /// After an error this relay must not work. If the database has granted the lease nevertheless, the lease ends by
    /// itself.
    fn take(&mut self, valid: Duration) -> Result<LeaseOffer, Error>;

    /// Renews the lease of `epoch` for the time `valid`. Returns `false` if this relay does not have it any more.
    ///
    /// # Errors
    /// After an error it is unknown whether the lease was renewed.
    fn renew(&mut self, epoch: i64, valid: Duration) -> Result<bool, Error>;

    /// Gives the lease of `epoch` back, so that another relay can take it at once. Changes nothing if this relay does
    /// not have that lease.
    ///
    /// # Errors
    /// After an error the lease may not have been given back; then it ends by itself.
    fn hand_over(&mut self, epoch: i64) -> Result<(), Error>;

    /// Records that this relay no longer shares the state, and gives the lease back if this relay has it.
    ///
    /// # Errors
    /// After an error the lease ends by itself, and the relay is still listed for some minutes.
    fn leave(&mut self) -> Result<(), Error>;
}

/// Transactions that record the API requests of the relays that share a state. They block like [`LeaseTransactions`].
pub trait RequestTransactions: Send {
    /// Takes a slot of the request budget: records that a request to the API leaves now. The request may leave only if
    /// this method returns `Ok`.
    ///
    /// # Errors
    /// [`Error::RoleLost`]: this relay does not have the lease of `epoch`. The request may not leave after any error.
    fn record_request(&mut self, epoch: i64) -> Result<RequestId, Error>;

    /// Records that a request was answered now. The slot of the request is free again when a window of the budget has
    /// passed since the answer.
    ///
    /// # Errors
    /// After an error the request still counts as being under way.
    fn record_answer(&mut self, request: RequestId) -> Result<(), Error>;

    /// Lists the requests of the last minutes, the oldest first. The value for a request is the time since its answer,
    /// or `None` if it was not answered.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn recent_requests(&self) -> Result<Vec<Option<Duration>>, Error>;
}

/// Identifies a recorded request to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub(super) i64);

#[cfg(test)]
impl RequestId {
    /// Makes the id of a request that a test double records.
    pub(crate) fn of(id: i64) -> Self {
        Self(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    #[test]
    fn work_ends_earlier_than_the_lease_and_counts_from_the_beginning_of_the_request() {
        let asked = Clock::starting_at(UnixMs(1_700_000_000_000)).monotonic();
        let mut lease = Lease::taken(7, asked, UnixMs(5_000));
        assert!(lease.work_ends() < asked + LEASE);
        assert!(lease.next_renewal() + RENEWAL * 2 < lease.work_ends(), "two renewals may fail");
        assert!(lease.allows_work(asked + WORK - Duration::from_millis(1)) && !lease.allows_work(asked + WORK));
        // The time counts from the beginning of the request, however long the answer takes.
        lease.renewed(asked + Duration::from_secs(1));
        assert_eq!(lease.work_ends(), asked + Duration::from_secs(1) + WORK);
        // The answer to an earlier request comes late.
        lease.renewed(asked);
        assert_eq!(lease.work_ends(), asked + Duration::from_secs(1) + WORK);
        assert_eq!(lease.epoch(), 7);
        assert_eq!(lease.database_time(asked + Duration::from_secs(2)), UnixMs(7_000));
    }
}
