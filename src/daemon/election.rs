//! The election of the active relay among the relays that share a state. This relay asks for the lease until it has the
//! lease, and then renews it.
//!
//! Invariants:
//! - A failure never makes a relay active, and never keeps it active. Unless the database renews the lease in time, the
//!   work ends at [`Lease::work_ends`], even if the database does not answer at all.
//! - The time of a lease begins when this relay asks for the lease, not when the answer comes.
//! - If this relay has a lease and does not work under it, it gives the lease back.
//! - A relay that stands by asks for the lease every second. A hint that the lease may have been given back has one
//!   effect: the relay does not wait for the rest of that second.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::store::{ChangeWatch, Error, LEASE, Lease, LeaseOffer, LeaseTransactions, LeaseView};
use crate::time::{Clock, Instant};

/// The longest time between two requests for the lease by a relay that stands by.
const ASK_INTERVAL: Duration = Duration::from_millis(1_000);

/// The time between two requests is shortened by a random time of up to this many milliseconds, so that relays do not
/// ask at the same moment.
const JITTER_MS: u64 = 300;

/// The least time between the beginnings of two requests for the lease, even if hints come.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// The time until the next try after a failed renewal.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// What this relay may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplicaState {
    /// The relay stands by. Holds the database's last answer about the lease of another relay; `None` if there is no
    /// such answer, for example because the database cannot be reached.
    StandsBy(Option<LeaseView>),
    /// The relay is the active one, until [`Lease::work_ends`].
    Active(Lease),
}

impl ReplicaState {
    /// Returns the lease under which the relay may work now. The relay calls this before each attempt and each request
    /// to the API. So a process that was suspended for a while notices that its lease has run out, even before the
    /// election notices.
    pub(super) fn lease_at(&self, now: Instant) -> Option<Lease> {
        match self {
            Self::Active(lease) if lease.allows_work(now) => Some(*lease),
            Self::Active(_) | Self::StandsBy(_) => None,
        }
    }
}

/// The part of the relay that asks for the lease and renews it.
pub(super) struct Election {
    replica: Arc<Mutex<Box<dyn LeaseTransactions>>>,
    clock: Clock,
    state: watch::Sender<ReplicaState>,
    /// The hints that the lease may have been given back.
    changes: ChangeWatch,
    /// The longest time between two requests for the lease.
    ask_interval: Duration,
}

impl Election {
    /// Makes the election of a relay that stands by. `changes`: the hints that the lease may have been given back.
    pub(super) fn new(replica: Box<dyn LeaseTransactions>, clock: Clock, changes: ChangeWatch) -> Self {
        let (state, _) = watch::channel(ReplicaState::StandsBy(None));
        Self { replica: Arc::new(Mutex::new(replica)), clock, state, changes, ask_interval: ASK_INTERVAL }
    }

    /// Returns a channel with the present [`ReplicaState`] of this relay.
    pub(super) fn state(&self) -> watch::Receiver<ReplicaState> {
        self.state.subscribe()
    }

    /// Takes part until the lease is lost, or until `stop` is true. Then gives the lease back, so that another relay
    /// can take it at once. The caller must end the work under the lease before it sets `stop`.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let ended = async {
            // A closed channel means that nobody waits for this relay any more.
            drop(stop.wait_for(|stop| *stop).await);
        };
        tokio::select! {
            () = ended => {}
            () = self.take_part() => {}
        }
        self.state.send_replace(ReplicaState::StandsBy(None));
        // `ask` waits for the end of a request under way. So if the database grants the lease just now, that lease is
        // given back, too.
        if let Err(error) = self.ask(|replica| replica.leave()).await {
            tracing::debug!(%error, "the lease could not be handed over; it ends by itself");
        }
    }

    /// Asks for the lease until this relay has it, and then renews the lease until it is lost.
    async fn take_part(&mut self) {
        let lease = self.stand_by().await;
        tracing::info!(epoch = lease.epoch(), "this relay is the active one now");
        self.keep(lease).await;
    }

    /// Asks for the lease until this relay has it.
    async fn stand_by(&mut self) -> Lease {
        loop {
            let asked = self.clock.monotonic();
            let answer = self.ask(|replica| replica.take(LEASE)).await;
            let next = match answer {
                Ok(LeaseOffer::Granted { epoch, at }) => {
                    let lease = Lease::taken(epoch, asked, at);
                    if lease.allows_work(self.clock.monotonic()) {
                        self.state.send_replace(ReplicaState::Active(lease));
                        return lease;
                    }
                    // The answer took longer than the lease lasts.
                    self.give_back(epoch).await;
                    self.ask_interval
                }
                Ok(LeaseOffer::Held(view)) => {
                    let next = view.left.clamp(LEAST_INTERVAL, self.ask_interval);
                    self.state.send_replace(ReplicaState::StandsBy(Some(view)));
                    next
                }
                Err(error) => {
                    tracing::debug!(%error, "the database does not say who the active relay is");
                    self.state.send_replace(ReplicaState::StandsBy(None));
                    self.ask_interval
                }
            };
            let jitter = RandomState::new().build_hasher().finish() % JITTER_MS;
            let wait = next.saturating_sub(Duration::from_millis(jitter)).max(LEAST_INTERVAL);
            let next = self.clock.monotonic() + wait;
            sleep_until(next.min(asked + LEAST_INTERVAL)).await;
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.changes.changed() => {}
            }
        }
    }

    /// Renews the lease until it is lost. When this method returns, this relay stands by.
    async fn keep(&self, mut lease: Lease) {
        let epoch = lease.epoch();
        let mut next = lease.next_renewal();
        loop {
            sleep_until(next.min(lease.work_ends())).await;
            let asked = self.clock.monotonic();
            if !lease.allows_work(asked) {
                break;
            }
            let mut renewal = std::pin::pin!(self.ask(move |replica| replica.renew(epoch, LEASE)));
            let answer = tokio::select! {
                biased;
                () = sleep_until(lease.work_ends()) => None,
                answer = &mut renewal => Some(answer),
            };
            match answer {
                Some(Ok(true)) => {
                    lease.renewed(asked);
                    next = lease.next_renewal();
                    self.state.send_replace(ReplicaState::Active(lease));
                }
                Some(Ok(false)) => return self.step_down(epoch),
                Some(Err(error)) => {
                    tracing::warn!(%error, epoch, "the lease could not be renewed");
                    next = self.clock.monotonic() + RETRY_INTERVAL;
                }
                None => {
                    // The work stops before the answer comes. The database may still renew the lease after that, so the
                    // relay waits for the answer and then gives the lease back.
                    self.step_down(epoch);
                    drop(renewal.await);
                    return self.give_back(epoch).await;
                }
            }
        }
        self.step_down(epoch);
        self.give_back(epoch).await;
    }

    /// Ends the work under the lease of this epoch.
    fn step_down(&self, epoch: i64) {
        self.state.send_replace(ReplicaState::StandsBy(None));
        tracing::warn!(epoch, "this relay is not the active one any more");
    }

    /// Gives the lease of this epoch back. If that fails, the lease runs out by itself.
    async fn give_back(&self, epoch: i64) {
        if let Err(error) = self.ask(move |replica| replica.hand_over(epoch)).await {
            tracing::debug!(%error, epoch, "the lease could not be given back");
        }
    }

    /// Runs `work`, which is a request to the database, on a thread that may block. If an earlier request is under way,
    /// waits for its end first.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn LeaseTransactions) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let replica = Arc::clone(&self.replica);
        let asked =
            tokio::task::spawn_blocking(move || work(&mut **replica.lock().unwrap_or_else(PoisonError::into_inner)));
        asked.await.unwrap_or_else(|failed| Err(Error::Database(failed.into())))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc;

    use super::*;
    use crate::domain::UnixMs;
    use crate::store::ChangeHints;

    /// A request to the double of the database.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Asked {
        Take,
        Renew(i64),
        HandOver(i64),
        Leave,
    }

    /// A double of the database. It gives the answers of each kind in turn, and then repeats the last one for ever.
    #[derive(Default)]
    struct Double {
        offers: VecDeque<Option<LeaseOffer>>,
        renewals: VecDeque<Option<bool>>,
        asked: Arc<Mutex<Vec<Asked>>>,
        /// The first renewal waits until this channel has a value or is closed.
        hangs: Option<mpsc::Receiver<()>>,
    }

    fn next<T: Clone>(answers: &mut VecDeque<Option<T>>) -> Result<T, Error> {
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.flatten().ok_or_else(|| Error::Database("the database is gone".into()))
    }

    impl LeaseTransactions for Double {
        fn take(&mut self, _: Duration) -> Result<LeaseOffer, Error> {
            self.asked.lock().unwrap().push(Asked::Take);
            next(&mut self.offers)
        }

        fn renew(&mut self, epoch: i64, _: Duration) -> Result<bool, Error> {
            self.asked.lock().unwrap().push(Asked::Renew(epoch));
            if let Some(hangs) = self.hangs.take() {
                hangs.recv().ok();
            }
            next(&mut self.renewals)
        }

        fn hand_over(&mut self, epoch: i64) -> Result<(), Error> {
            self.asked.lock().unwrap().push(Asked::HandOver(epoch));
            Ok(())
        }

        fn leave(&mut self) -> Result<(), Error> {
            self.asked.lock().unwrap().push(Asked::Leave);
            Ok(())
        }
    }

    struct Running {
        clock: Clock,
        state: watch::Receiver<ReplicaState>,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
        asked: Arc<Mutex<Vec<Asked>>>,
    }

    impl Running {
        fn start(double: Double) -> Self {
            Self::with_hints(double, ChangeWatch::default())
        }

        fn with_hints(double: Double, changes: ChangeWatch) -> Self {
            let clock = Clock::starting_at(UnixMs(1_700_000_000_000));
            let asked = Arc::clone(&double.asked);
            let election = Election::new(Box::new(double), clock.clone(), changes);
            let (stop, stops) = watch::channel(false);
            let state = election.state();
            Self { clock, state, stop, task: tokio::spawn(election.run(stops)), asked }
        }

        async fn until_active(&mut self) -> Lease {
            let active = self.state.wait_for(|state| matches!(state, ReplicaState::Active(_))).await.unwrap();
            match &*active {
                ReplicaState::Active(lease) => *lease,
                ReplicaState::StandsBy(_) => unreachable!(),
            }
        }

        async fn until_standing_by(&mut self) {
            drop(self.state.wait_for(|state| matches!(state, ReplicaState::StandsBy(_))).await.unwrap());
        }

        fn asked(&self) -> Vec<Asked> {
            self.asked.lock().unwrap().clone()
        }

        async fn stop(self) -> Vec<Asked> {
            self.stop.send_replace(true);
            self.task.await.unwrap();
            self.asked.lock().unwrap().clone()
        }
    }

    const GRANTED: Option<LeaseOffer> = Some(LeaseOffer::Granted { epoch: 4, at: UnixMs(0) });

    fn held(left: Duration) -> Option<LeaseOffer> {
        Some(LeaseOffer::Held(LeaseView { epoch: 3, holder: Some("other".to_owned()), left }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_makes_nobody_active() {
        let double = Double { offers: [None].into(), ..Double::default() };
        let mut running = Running::start(double);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(*running.state.borrow_and_update(), ReplicaState::StandsBy(None));
        let questions = running.asked().len();
        assert!((50..=100).contains(&questions), "{questions} in a minute");
        assert_eq!(running.stop().await.last(), Some(&Asked::Leave));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_soon_after_it_ends_and_renewed() {
        let offers = [held(Duration::from_millis(4_000)), held(Duration::from_millis(20)), GRANTED];
        let mut running =
            Running::start(Double { offers: offers.into(), renewals: [Some(true)].into(), ..Double::default() });
        let began = running.clock.monotonic();
        let lease = running.until_active().await;
        assert_eq!(lease.epoch(), 4);
        assert!(running.clock.monotonic() - began < Duration::from_millis(1_300));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let state = running.state.borrow_and_update().clone();
        let renewed = state.lease_at(running.clock.monotonic()).expect("still active");
        assert!(renewed.work_ends() > lease.work_ends() + Duration::from_secs(55));
        assert!((30..60).contains(&running.asked().len()));
        assert_eq!(running.stop().await[..].last_chunk(), Some(&[Asked::Renew(4), Asked::Leave]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_hint_a_relay_that_stands_by_asks_at_once() {
        let hints = ChangeHints::default();
        let double = Double { offers: [held(LEASE), GRANTED].into(), ..Double::default() };
        let mut running = Running::with_hints(double, hints.watch());
        let began = running.clock.monotonic();
        sleep_until(began + LEAST_INTERVAL * 3).await;
        assert_eq!(running.asked(), [Asked::Take]);
        hints.give();
        running.until_active().await;
        assert!(running.clock.monotonic() < began + LEAST_INTERVAL * 4);
        running.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn many_hints_make_no_hot_loop() {
        let hints = ChangeHints::default();
        let running = Running::with_hints(Double { offers: [held(LEASE)].into(), ..Double::default() }, hints.watch());
        for _ in 0..10_000 {
            hints.give();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let questions = running.stop().await.len();
        assert!((90..=110).contains(&questions), "{questions} in ten seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_ends_when_the_database_fails_for_too_long() {
        let offers = [GRANTED, held(Duration::from_secs(6))];
        let mut running =
            Running::start(Double { offers: offers.into(), renewals: [None].into(), ..Double::default() });
        let lease = running.until_active().await;
        running.until_standing_by().await;
        assert!(running.clock.monotonic() - lease.work_ends() < Duration::from_millis(10));
        assert!(running.asked().iter().filter(|asked| **asked == Asked::Renew(4)).count() > 3, "several tries");
        running.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_failure_changes_nothing() {
        let double =
            Double { offers: [GRANTED].into(), renewals: [None, None, None, Some(true)].into(), ..Double::default() };
        let mut running = Running::start(double);
        running.until_active().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(running.state.borrow_and_update().lease_at(running.clock.monotonic()).is_some());
        assert_eq!(running.stop().await.iter().filter(|asked| **asked == Asked::Take).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_loses_the_lease_to_another_one_stops_at_once() {
        let offers = [GRANTED, held(Duration::from_secs(6))];
        let double = Double { offers: offers.into(), renewals: [Some(false)].into(), ..Double::default() };
        let mut running = Running::start(double);
        let lease = running.until_active().await;
        running.until_standing_by().await;
        assert!(running.clock.monotonic() < lease.next_renewal() + Duration::from_millis(10));
        assert!(!running.stop().await.contains(&Asked::HandOver(4)), "this relay has no lease to give back");
    }

    /// This test uses a real clock, because paused time stands still while a thread is blocked.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_work_ends_although_the_database_does_not_answer() {
        let (answer, hangs) = mpsc::channel();
        let double = Double {
            offers: [GRANTED, held(Duration::from_secs(6))].into(),
            renewals: [Some(true)].into(),
            hangs: Some(hangs),
            ..Double::default()
        };
        let asked = Arc::clone(&double.asked);
        let clock = Clock::system();
        let election = Election::new(Box::new(double), clock.clone(), ChangeWatch::default());
        let (stop, stops) = watch::channel(false);
        let mut state = election.state();
        let task = tokio::spawn(election.run(stops));
        let is_active = |state: &ReplicaState| matches!(state, ReplicaState::Active(_));
        let lease = state.wait_for(is_active).await.unwrap().lease_at(clock.monotonic()).unwrap();
        let standing_by = state.wait_for(|state| !is_active(state));
        tokio::time::timeout(Duration::from_secs(60), standing_by).await.unwrap().unwrap();
        assert!(!lease.allows_work(clock.monotonic()));
        assert!(!asked.lock().unwrap().contains(&Asked::HandOver(4)));
        // The late answer says that the lease was renewed, although nobody works under it any more.
        answer.send(()).unwrap();
        let given_back = async {
            while !asked.lock().unwrap().contains(&Asked::HandOver(4)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), given_back).await.unwrap();
        stop.send_replace(true);
        task.await.unwrap();
    }

    #[cfg(feature = "replicas")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_that_is_given_back_is_taken_at_once() {
        const HOUR: Duration = Duration::from_secs(3600);
        let Some(database) = crate::store::tests::scratch_database("a_lease_that_is_given_back") else { return };
        let (clock, hints) = (Clock::system(), ChangeHints::default());
        let join = |name: &str| crate::store::join_replicas(&database, name, Some(&hints)).unwrap();
        let mut first = join("first");
        let Ok(LeaseOffer::Granted { epoch, .. }) = first.take(HOUR) else { panic!("a free lease is not granted") };
        let election = Election { ask_interval: HOUR, ..Election::new(join("second"), clock, hints.watch()) };
        let (stop, stops) = watch::channel(false);
        let mut state = election.state();
        let task = tokio::spawn(election.run(stops));
        let mut until = async |wanted: fn(&ReplicaState) -> bool| {
            tokio::time::timeout(Duration::from_secs(60), state.wait_for(wanted)).await.unwrap().map(drop).unwrap();
        };
        until(|state| matches!(state, ReplicaState::StandsBy(Some(_)))).await;
        tokio::task::spawn_blocking(move || first.hand_over(epoch)).await.unwrap().unwrap();
        until(|state| matches!(state, ReplicaState::Active(_))).await;
        stop.send_replace(true);
        task.await.unwrap();
    }

    #[test]
    fn a_process_that_stood_still_sees_that_its_time_is_over() {
        let now = Clock::starting_at(UnixMs(1_700_000_000_000)).monotonic();
        let active = ReplicaState::Active(Lease::taken(4, now, UnixMs(0)));
        assert!(active.lease_at(now + LEASE / 2).is_some());
        assert_eq!(active.lease_at(now + LEASE), None);
        assert_eq!(ReplicaState::StandsBy(None).lease_at(now), None);
    }
}
