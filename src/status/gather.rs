//! Reads everything that `status` shows.

use std::path::Path;
use std::time::Duration;

use super::fields::{
    BudgetStatus, CoverageStatus, OwnBudget, PollingStatus, ReadingKind, RelayStatus, ReplicaStatus, ReplicasStatus,
    Seconds, SinkSection, StateStatus, Status, StoredSink, WalkStatus,
};
use super::health::problems;
use super::status_file::Live;
use crate::api::PAGE_ROWS;
use crate::api::budget::Ring;
use crate::domain::{Marks, UnixMs, Walk, WalkKind, pages, time_for};
use crate::ingest::StorageReport;
use crate::store::{self, Database, Error, ReplicaGroup, ReplicaView, Spool, StateLocation};
use crate::time::Clock;

impl Status {
    /// Reads the status of a state; `None` if there is no state. `once_within`: a state on which no relay runs is
    /// healthy if `once` has caught up within this time.
    ///
    /// Also sets `clock` to the relay's time, as the state records it. If `clock` kept this machine's time, the relay
    /// would look after a jump of the machine's clock as if it had written nothing for a long time.
    ///
    /// # Errors
    /// The errors of [`store::open_snapshot`].
    pub fn of(state: &StateLocation, clock: &Clock, once_within: Option<Duration>) -> Result<Option<Self>, Error> {
        let Some(snapshot) = store::open_snapshot(state)? else { return Ok(None) };
        let (left, runs) = snapshot.spool.clock_beside()?;
        clock.adopt_memory(left, runs);
        let now = clock.relay_time();
        let live = Live::read(state.dir());
        let running = snapshot.running.unwrap_or_else(|| live.as_ref().is_some_and(|live| live.is_recent(now)));
        // If a relay runs, but the report has a `stopped_at`, then an earlier relay wrote this report. It does not
        // describe the running relay.
        let live = live.filter(|live| !running || live.relay.stopped_at.is_none());
        let view = StateView { state, spool: &*snapshot.spool, replicas: snapshot.replicas };
        Self::gather(view, now, running, live, once_within).map(Some)
    }

    /// Reads the status of an opened state at `now` by the relay's time. `running`: whether a relay runs. `live`: the
    /// report of the running relay about itself, or, if no relay runs, the report of the last one. `once_within` as for
    /// [`Status::of`].
    pub(super) fn gather(
        StateView { state, spool, replicas }: StateView<'_>,
        now: UnixMs,
        running: bool,
        live: Option<Live>,
        once_within: Option<Duration>,
    ) -> Result<Self, Error> {
        let dir = state.dir();
        let coverage = spool.load_coverage()?;
        let coverage = coverage
            .map(|coverage| CoverageStatus::of(&coverage.marks, &coverage.walks, spool, now, live.as_ref(), running))
            .transpose()?;
        let own = Ring::look(&dir.join("budget.ring"), now).ok().map(|(limit, used)| OwnBudget {
            limit,
            used,
            left: limit.saturating_sub(used),
        });
        let mut status = Self::before_reports(now, dir, running);
        status.state.bytes = store::size(state, spool);
        status.replicas = state.database().zip(replicas).map(|(database, group)| ReplicasStatus::of(database, group));
        status.coverage = coverage;
        status.budget.own = own;
        let sinks = spool.sinks()?.into_iter();
        status.sinks = sinks.map(|sink| SinkSection { stored: StoredSink::at(now, sink), live: None }).collect();
        if let Some(live) = live {
            status.add(live);
        }
        status.relay.obstacle = Live::obstacle(dir);
        status.problems = problems(&status, once_within).into_iter().map(|problem| problem.detail).collect();
        status.healthy = status.problems.is_empty();
        Ok(status)
    }

    /// The status of the state in `dir` before any report was added.
    pub(super) fn before_reports(now: UnixMs, dir: &Path, running: bool) -> Self {
        Self {
            now,
            version: env!("CARGO_PKG_VERSION"),
            healthy: false,
            problems: Vec::new(),
            state: StateStatus { dir: dir.display().to_string(), bytes: 0, storage: StorageReport::default() },
            relay: RelayStatus { running, obstacle: None, report: None },
            polling: PollingStatus {
                interval_seconds: None,
                last_poll_age_seconds: None,
                slowed_by: Duration::ZERO,
                report: None,
            },
            coverage: None,
            budget: BudgetStatus { own: None, api: None },
            sinks: Vec::new(),
            replicas: None,
        }
    }

    /// Adds the report of the running relay about itself, or, if no relay runs, the report of the last one. If the
    /// relay has ended, values that hold only while it runs are left out.
    pub(super) fn add(&mut self, mut live: Live) {
        let running = self.relay.running;
        self.polling.interval_seconds = Some(Seconds(live.interval()));
        self.polling.last_poll_age_seconds = live.polling.last_poll_at.map(|at| Seconds(self.now.since(at)));
        self.polling.slowed_by = live.slowed_by();
        self.polling.report = Some(live.polling);
        if running {
            self.state.storage = live.storage;
            self.budget.api = Some(live.budget);
            for sink in &mut self.sinks {
                sink.live = live.sinks.remove(&sink.stored.view.name);
            }
        } else {
            live.relay.pid = None;
        }
        self.relay.report = Some(live.relay);
    }
}

/// An opened state, for reading its status.
pub(super) struct StateView<'s> {
    pub(super) state: &'s StateLocation,
    pub(super) spool: &'s Spool,
    /// The relays that share the state, if it is in PostgreSQL; `None` if it is in a SQLite file.
    pub(super) replicas: Option<ReplicaGroup>,
}

impl ReplicasStatus {
    fn of(database: &Database, ReplicaGroup { lease, replicas }: ReplicaGroup) -> Self {
        let replica = |ReplicaView { name, joined, seen }| ReplicaStatus {
            active: lease.holder.as_ref() == Some(&name),
            name,
            joined_age_seconds: Seconds(joined),
            seen_age_seconds: Seconds(seen),
        };
        let replicas = replicas.into_iter().map(replica).collect();
        let lease_seconds = lease.holder.is_some().then_some(Seconds(lease.left));
        Self {
            namespace: database.namespace().to_owned(),
            active: lease.holder,
            epoch: lease.epoch,
            lease_seconds,
            replicas,
        }
    }
}

impl CoverageStatus {
    fn of(
        marks: &Marks,
        walks: &[Walk],
        spool: &Spool,
        now: UnixMs,
        live: Option<&Live>,
        running: bool,
    ) -> Result<Self, Error> {
        let feed = live.map(|live| live.feed).unwrap_or_default();
        // The frontier and the anchor are times of the API's clock, which may differ from the relay's time.
        let api_now = UnixMs(now.0.saturating_add(feed.server_ahead_ms.unwrap_or(0)));
        let pages_per_minute =
            live.filter(|_| running).and_then(|live| live.catch_up).map(|reading| reading.pages_per_minute);
        let walks = walks.iter().map(|walk| {
            let unread = spool.unread(walk, marks, feed.total)?;
            let pages_left = unread.rows(walk).map(|rows| pages(rows, PAGE_ROWS));
            Ok(WalkStatus::of(walk, spool.count_held(walk.id)?, pages_left, pages_per_minute))
        });
        Ok(Self {
            start: spool.account()?.start,
            frontier: marks.frontier,
            frontier_age_seconds: Seconds(api_now.since(marks.frontier)),
            last_sweep_at: marks.anchor,
            last_sweep_age_seconds: Seconds(api_now.since(marks.anchor)),
            walks: walks.collect::<Result<_, Error>>()?,
        })
    }
}

impl WalkStatus {
    pub(super) fn of(walk: &Walk, held_messages: u64, pages_left: Option<u64>, pages_per_minute: Option<f64>) -> Self {
        let (kind, streaming) = match walk.kind {
            WalkKind::Gap { streaming, .. } => (ReadingKind::Gap, streaming),
            WalkKind::Sweep => (ReadingKind::Sweep, false),
            WalkKind::Seed => (ReadingKind::Seed, false),
        };
        Self {
            kind,
            opened_at: walk.opened_at,
            reached: walk.lowest,
            down_to: Some(walk.floor).filter(|floor| *floor > UnixMs::MIN),
            held_messages,
            streaming,
            failures: walk.progress.failures,
            pages_left,
            seconds_left: pages_left.zip(pages_per_minute).and_then(|(pages, pace)| time_for(pages, pace)),
        }
    }
}
