//! The poller's work on the disk: committing, measuring space, removing old data, and erasing removed texts.
//!
//! The *state in memory* is the poller's copy of coverage ([`CoverageState`]). After a failed commit it is ahead of the
//! disk, and is called *stale*.
//!
//! Invariant: while the state in memory is stale, the poller sends no request, makes no decision and writes nothing.
//! It loads the state from the disk again first.

use std::collections::HashMap;
use std::time::Duration;

use super::database_journal::Journal;
use super::disk_space::{DiskSpace, Shortage};
use super::erasure::Erasure;
use super::maintenance::Maintenance;
use crate::domain::{Coverage, PollChange, UnixMs, WalkId};
use crate::ingest::coverage::CoverageState;
use crate::store::{self, Spool, Store};
use crate::time::Instant;

/// How long the text of a delivered message is kept while there are readers, if the configuration erases texts on
/// delivery.
const FOR_READERS: Duration = Duration::from_secs(5);

/// The store of the state, and the times at which work on it is due.
pub(super) struct Disk {
    store: Store,
    /// If the state in memory is stale: the instant from which the state may be loaded again.
    stale_until: Option<Instant>,
    space: DiskSpace,
    journal: Journal,
    maintenance: Maintenance,
    erasure: Erasure,
    /// Whether delivered texts are kept for some seconds ([`FOR_READERS`]) because a reader waits for messages.
    has_readers: bool,
}

/// The result of [`Disk::check_space`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpaceCheck {
    /// Space was not measured, or there is enough space, as before.
    Unchanged,
    /// There is space again: polling goes on.
    Recovered,
    /// Space is short: polling stops.
    Short(Shortage),
}

impl Disk {
    pub(super) fn new(store: Store, state: &store::Options, now: Instant) -> Self {
        let erase_on_delivery = state.erase_on_delivery();
        Self {
            store,
            stale_until: None,
            space: DiskSpace::new(state, now),
            journal: Journal::default(),
            maintenance: Maintenance::new(state, erase_on_delivery, now),
            erasure: Erasure::new(erase_on_delivery, now),
            has_readers: false,
        }
    }

    /// Takes the limits and the retention that a reload of the configuration has brought. Space is measured at once. If
    /// the retention has changed, maintenance begins at once, too.
    pub(super) fn follow(&mut self, state: &store::Options, now: Instant) {
        self.space.follow(state, now);
        self.maintenance.follow(state, now);
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the instant at which the next work on the disk is due.
    pub(super) fn due(&self) -> Instant {
        self.maintenance.due().min(self.space.due()).min(self.erasure.due())
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale_until.is_some()
    }

    /// If the state in memory is stale, returns when the state is loaded again; otherwise returns `None`.
    pub(super) fn reload_at(&self) -> Option<Instant> {
        self.stale_until
    }

    /// Marks the state in memory as stale. It is loaded again at `at` or later.
    pub(super) fn mark_stale(&mut self, at: Instant) {
        self.stale_until = Some(at);
    }

    /// Records that the state was loaded, and that the changes that followed from loading it are stored.
    pub(super) fn note_loaded(&mut self) {
        self.stale_until = None;
    }

    /// Loads coverage. Rows that are recorded as held by a gap, although that gap is closed or streams, are released
    /// first.
    pub(super) async fn load(&self) -> Result<CoverageState, store::Error> {
        let load = |spool: &mut Spool| {
            spool.release_orphaned_rows()?;
            let coverage = spool.load_coverage()?;
            let walks = coverage.iter().flat_map(|coverage: &Coverage| &coverage.walks);
            let held = walks.map(|walk| Ok((walk.id, spool.count_held(walk.id)?)));
            let held = held.collect::<Result<HashMap<WalkId, u64>, store::Error>>()?;
            Ok((coverage, held))
        };
        let (coverage, held) = self.store.write(load).await?;
        Ok(CoverageState::load(coverage, held))
    }

    /// Carries out the changes of a step, at `now` by the relay's time. Returns whether the changes release messages.
    pub(super) async fn commit(&mut self, changes: Vec<PollChange>, now: UnixMs) -> Result<bool, store::Error> {
        if changes.is_empty() {
            return Ok(false);
        }
        let releases =
            changes.iter().any(|change| matches!(change, PollChange::Release { .. } | PollChange::ReleaseHeld { .. }));
        self.store.write(move |spool| spool.commit(&changes, now)).await?;
        self.space.note_stored();
        Ok(releases)
    }

    /// Returns whether delivered messages are kept for a while.
    pub(super) fn keeps_delivered(&self) -> bool {
        !self.erasure.is_on_delivery()
    }

    /// Records whether any reader waits for messages ([`FOR_READERS`]).
    pub(super) fn note_readers(&mut self, present: bool, now: Instant) {
        if self.erasure.is_on_delivery() && self.has_readers != present {
            self.has_readers = present;
            self.maintenance.begin_again(now);
        }
    }

    /// Returns the journal's size in bytes while another program keeps the journal from being emptied; otherwise
    /// `None`.
    pub(super) fn journal_held(&self) -> Option<u64> {
        self.journal.held()
    }

    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.space.shortage()
    }

    /// Returns a shortage that maintenance cannot end at the moment, because everything that may be removed has been
    /// removed.
    pub(super) fn lasting_shortage(&self) -> Option<Shortage> {
        self.space.shortage().filter(|_| !self.maintenance.has_more())
    }

    /// Measures space if this is due, and begins to remove messages if space gets short.
    pub(super) async fn check_space(&mut self, now: Instant) -> Result<SpaceCheck, store::Error> {
        if !self.space.is_due(now) {
            return Ok(SpaceCheck::Unchanged);
        }
        self.space.begin_measuring(now);
        let space = match self.store.read(Spool::disk_usage).await {
            Ok(space) => space,
            // The next work that needs the disk will report the failure.
            Err(error) => {
                tracing::debug!(%error, "the space for the state cannot be measured");
                return Ok(SpaceCheck::Unchanged);
            }
        };
        self.journal.look(&self.store, space, now).await?;
        let change = self.space.take(space, now);
        if change.begins_shedding || change.begins_shortage {
            self.maintenance.begin_again(now);
        }
        Ok(match self.space.shortage() {
            Some(shortage) => SpaceCheck::Short(shortage),
            None if change.ends_shortage => SpaceCheck::Recovered,
            None => SpaceCheck::Unchanged,
        })
    }

    pub(super) fn is_maintenance_due(&self, now: Instant) -> bool {
        self.maintenance.due() <= now
    }

    /// Returns whether the round of maintenance has further steps.
    pub(super) fn has_more_maintenance(&self) -> bool {
        self.maintenance.has_more()
    }

    /// Begins a whole round of maintenance at once.
    pub(super) fn begin_maintenance(&mut self, now: Instant) {
        self.maintenance.begin_again(now);
    }

    /// Begins a step of maintenance. Returns whether it is the first step of a round.
    pub(super) fn begin_maintenance_step(&mut self, now: Instant) -> bool {
        self.maintenance.begin_step(now)
    }

    /// Postpones maintenance, because the state in memory is stale.
    pub(super) fn postpone_maintenance(&mut self, now: Instant) {
        self.maintenance.postpone(now);
    }

    /// Removes old data: settled messages, and ids below the `watermark` except the newest `keep_newest`. Then gives
    /// back to the file system the space that the state's file no longer needs. `now` is the relay's time. `known_now`
    /// is the same time, or `None` while it is not confirmed ([`Maintenance::cutoffs`]).
    pub(super) async fn remove_old(
        &mut self,
        now: UnixMs,
        known_now: Option<UnixMs>,
        watermark: Option<UnixMs>,
        keep_newest: u32,
    ) -> Result<(), store::Error> {
        let mut cutoffs = self.maintenance.cutoffs(known_now, self.space.sheds());
        if self.has_readers && !self.space.sheds() {
            cutoffs.delivered = Some(now.before(FOR_READERS));
        }
        if let Some(after) = self.maintenance.removes_after() {
            let dropped = self.store.write(move |spool| spool.remove_settled(cutoffs, after)).await?;
            if dropped.dead > 0 {
                tracing::info!(dead_letters = dropped.dead, "dead letters older than state.keep_dead were removed");
            }
            self.maintenance.note_removed(&dropped);
        }
        if let (Some(watermark), Some(after)) = (watermark, self.maintenance.forgets_after()) {
            let forgotten = self.store.write(move |spool| spool.forget_ids(watermark, keep_newest, after)).await?;
            self.maintenance.note_forgotten(&forgotten);
        } else {
            self.maintenance.forget_nothing();
        }
        let is_short = self.space.shortage().is_some();
        let has_more_to_shrink = self.store.write(move |spool: &mut Spool| spool.shrink_file(is_short)).await?;
        self.maintenance.end_step(has_more_to_shrink);
        if self.space.sheds() || is_short {
            self.space.note_stored();
        }
        Ok(())
    }

    /// Ends a step of maintenance that began at `at`.
    pub(super) fn end_maintenance_step(&mut self, at: Instant, now: Instant) {
        let is_urgent = self.space.sheds() || self.space.shortage().is_some() || self.has_readers;
        if self.maintenance.schedule_next(at, now, is_urgent) {
            self.erasure.erase_at(at);
        }
    }

    /// Records that a step of maintenance, which began at `at`, failed on the disk.
    pub(super) fn fail_maintenance(&mut self, at: Instant) {
        self.mark_stale(at);
        self.maintenance.fail(at);
    }

    /// Erases removed texts, if this is due. The poller does this because it runs as long as the relay, and because its
    /// loop goes round even if there is nothing to poll. If the configuration erases texts on delivery, and another
    /// process (such as a command) has changed the state, maintenance begins again.
    pub(super) async fn erase(&mut self, now: Instant) -> Result<(), store::Error> {
        if self.erasure.due() > now {
            return Ok(());
        }
        self.erasure.begin(now);
        let erased = self.store.write(|spool| {
            let changed_by_others = spool.changed_by_others()?;
            Ok((changed_by_others, spool.erase_traces()?))
        });
        match erased.await {
            Ok((changed_by_others, is_erased)) => {
                if changed_by_others && self.erasure.is_on_delivery() {
                    self.maintenance.begin_again(now);
                }
                self.journal.note_erased(is_erased, now);
                Ok(())
            }
            // The next work that needs the disk will report the failure.
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "the removed texts cannot be erased yet");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RetentionPeriod;
    use crate::time::Clock;

    fn disk(dir: &std::path::Path, max_size: u64, now: Instant) -> Disk {
        let (keep_delivered, keep_dead) = (RetentionPeriod::Forever, RetentionPeriod::Forever);
        let options = store::Options {
            dir: dir.to_owned(),
            database: None,
            namespace: String::new(),
            keep_delivered,
            keep_dead,
            max_size,
            min_free: 0,
        };
        Disk::new(Store::open(dir).unwrap(), &options, now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_state_stays_stale_until_it_was_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut disk = disk(dir.path(), 1 << 40, now);
        assert_eq!((disk.is_stale(), disk.reload_at()), (false, None));
        disk.mark_stale(now);
        assert_eq!((disk.is_stale(), disk.reload_at()), (true, Some(now)));
        assert_eq!(disk.load().await.unwrap().coverage, None);
        assert!(disk.is_stale(), "the changes that follow from loading it are not stored yet");
        disk.note_loaded();
        assert!(!disk.is_stale());
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_is_too_large_is_maintained_at_once_and_the_shortage_lasts_if_nothing_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut disk = disk(dir.path(), 1, now);
        let check = disk.check_space(now).await.unwrap();
        assert!(matches!(check, SpaceCheck::Short(Shortage::Size { max_size: 1, .. })), "{check:?}");
        assert!(disk.is_maintenance_due(now) && disk.has_more_maintenance());
        assert_eq!(disk.lasting_shortage(), None, "maintenance may help");
        while disk.has_more_maintenance() {
            disk.begin_maintenance_step(now);
            disk.remove_old(UnixMs(0), None, None, 200).await.unwrap();
            disk.end_maintenance_step(now, now);
        }
        assert_eq!(disk.lasting_shortage(), disk.shortage());
        assert_eq!(disk.check_space(now).await.unwrap(), SpaceCheck::Unchanged, "it was measured a moment ago");
        let later = now + Duration::from_secs(5);
        assert!(matches!(disk.check_space(later).await.unwrap(), SpaceCheck::Short(_)));
    }
}
