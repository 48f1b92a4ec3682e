//! A relay that shares its state with others: it stands by until it is elected, works for its term, and stands by
//! again.
//!
//! Invariants:
//! - The relay works only under a lease. The opened state, the sinks and the poller are made anew for each term, so
//!   none of them outlives its term.
//! - The relay takes a new name for each election in which it takes part. Otherwise the database might carry out a
//!   request from an earlier election late, and so change a later lease of the same relay.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::build_error::BuildError;
use super::election::{Election, ReplicaState};
use super::ending::{Ended, RunError};
use super::log_sentences::{STANDING_BY, STATE_UNREACHABLE};
use super::open::{Term, open};
use super::relay_process::{RelayProcess, StoodBy};
use super::signals::{Stop, StopSignal};
use super::work_permit::WorkPermit;
use crate::ingest::{Mode, PollError};
use crate::store::{self, ChangeHints, ChangeWatch, Database, LEASE, Lease, LeaseTransactions, join_replicas};
use crate::time::Clock;

/// The time between two tries to join the other relays, and between a term that failed and the next election.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How long `once` waits for the lease. The lease of a relay that has died ends within this time.
const ONCE_WAITS: Duration = Duration::from_secs(LEASE.as_secs() + 2);

/// How long the end of a term waits until the lease is given back. If the database does not answer, the lease ends by
/// itself.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Takes part in elections, and works whenever this relay is the active one. Ends when `stop` asks for the end, or when
/// `once` has nothing left to do.
///
/// # Errors
/// [`RunError`]. If an error only ends a term, `run` does not return it, but stands by again; `once` returns it.
pub(super) async fn take_part(
    process: &mut RelayProcess,
    database: &Database,
    stop: &mut watch::Receiver<Stop>,
) -> Result<Ended, RunError> {
    let is_once = process.purpose.mode == Mode::Once;
    loop {
        let clock = process.clock.clone();
        let hints = ChangeHints::default();
        let joining = join(database, &hints, is_once);
        let replica = match process.stand_by(stop, joining).await? {
            StoodBy::Done(joined) => joined?,
            StoodBy::Stopped(signal) => return Ok(ended_standing_by(signal)),
        };
        if !is_once {
            tracing::info!(schema = database.namespace(), "{STANDING_BY}");
        }
        let election = Election::new(replica, clock, hints.watch());
        let state = election.state();
        let (end_election, election_ends) = watch::channel(false);
        let electing = tokio::spawn(election.run(election_ends));
        let result = next_term(process, database, state, hints.watch(), stop).await;
        end_election.send_replace(true);
        drop(timeout(HAND_OVER, electing).await);
        match result {
            Err(error) if !is_once && only_ends_term(&error) => {
                tracing::warn!(%error, "this relay stands by again");
                if let StoodBy::Stopped(signal) = process.stand_by(stop, sleep(TRY_AGAIN)).await? {
                    return Ok(ended_standing_by(signal));
                }
            }
            otherwise => return otherwise,
        }
    }
}

fn ended_standing_by(signal: StopSignal) -> Ended {
    tracing::info!("stopped while standing by");
    Ended::Stopped(signal)
}

/// Returns whether the relay stands by again after this error: its lease has ended, or the database failed in a way
/// that may pass.
fn only_ends_term(error: &RunError) -> bool {
    error.ends_term()
        || matches!(error, RunError::Store(error) | RunError::Build(BuildError::Store(error))
            | RunError::Poll(PollError::Store(error)) if error.is_passing() && !matches!(error, store::Error::InUse { .. }))
}

/// Joins the relays that share the state. If the database cannot be reached, `run` tries again, and `once` fails.
async fn join(
    database: &Database,
    hints: &ChangeHints,
    is_once: bool,
) -> Result<Box<dyn LeaseTransactions>, store::Error> {
    let mut is_told = false;
    loop {
        let (database, name, hints) = (database.clone(), replica_name(), hints.clone());
        let joined = spawn_blocking(move || join_replicas(&database, &name, Some(&hints))).await;
        let error = match joined.unwrap_or_else(|failed| Err(store::Error::Database(failed.into()))) {
            Err(error) if error.is_passing() && !is_once => error,
            otherwise => return otherwise,
        };
        if !std::mem::replace(&mut is_told, true) {
            tracing::error!(%error, "{STATE_UNREACHABLE}");
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Returns a name that no other relay has: the machine, the process, and a random number.
fn replica_name() -> String {
    let machine = rustix::system::uname();
    format!(
        "{}-{}-{:04x}",
        machine.nodename().to_string_lossy(),
        std::process::id(),
        RandomState::new().build_hasher().finish() & 0xffff
    )
}

/// Stands by until this relay is elected, and then works for its term.
async fn next_term(
    process: &mut RelayProcess,
    database: &Database,
    mut state: watch::Receiver<ReplicaState>,
    changes: ChangeWatch,
    stop: &mut watch::Receiver<Stop>,
) -> Result<Ended, RunError> {
    let is_once = process.purpose.mode == Mode::Once;
    let elected = process.stand_by(stop, elected(&mut state, database, is_once)).await?;
    let lease = match elected {
        StoodBy::Done(lease) => lease?,
        StoodBy::Stopped(signal) => return Ok(ended_standing_by(signal)),
    };
    // The clocks of the machines may differ, so all relays use the clock of the database.
    let clock = Clock::told(lease.database_time(process.clock.monotonic()));
    let clock = clock.with_boot_id(process.purpose.boot_id.clone());
    let permit = WorkPermit::under_lease(lease.epoch(), state, clock.clone());
    let term = Term { database, epoch: lease.epoch(), permit: &permit, changes: &changes };
    let opening = open(&process.config, &process.purpose, &clock, &process.metrics, &process.builder, Some(term));
    let opened = tokio::select! {
        opened = opening => opened?,
        () = permit.ended() => return Err(RunError::Store(store::Error::RoleLost)),
    };
    process.status.follow_clock(&clock);
    let result = process.work(opened, stop).await;
    process.status.follow_clock(&process.clock);
    result
}

/// Waits until this relay is elected. `once` waits for at most [`ONCE_WAITS`], and fails if this relay is not elected
/// by then.
async fn elected(
    state: &mut watch::Receiver<ReplicaState>,
    database: &Database,
    is_once: bool,
) -> Result<Lease, store::Error> {
    let elected = state.wait_for(|state| matches!(state, ReplicaState::Active(_)));
    let limit = if is_once { ONCE_WAITS } else { Duration::MAX };
    drop(timeout(limit, elected).await);
    let last = state.borrow().clone();
    match last {
        ReplicaState::Active(lease) => Ok(lease),
        ReplicaState::StandsBy(view) => {
            let holder = view.and_then(|view| view.holder);
            let namespace = database.namespace().to_owned();
            Err(holder.map_or(store::Error::RoleLost, |holder| store::Error::HasActiveRelay { namespace, holder }))
        }
    }
}
