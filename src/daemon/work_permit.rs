//! The permission to work. A relay that is alone on its state has the permission for ever. A relay that shares its
//! state has it for as long as its lease allows.
//!
//! The relay checks the permission before each attempt and before each request to the API. So a process that was
//! suspended for a while sends nothing after its lease has run out, even if the election has not noticed the end of the
//! lease yet.

use std::sync::Arc;

use tokio::sync::watch;

use super::election::ReplicaState;
use crate::sinks::{Attempting, Outgoing, Sink};
use crate::time::Clock;

/// The permission to work. The default is a permission for ever.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkPermit(Option<LeasePermit>);

/// The permission to work under one lease.
#[derive(Clone, Debug)]
struct LeasePermit {
    epoch: i64,
    state: watch::Receiver<ReplicaState>,
    clock: Clock,
}

impl WorkPermit {
    /// Makes the permission to work under the lease of `epoch`. `state`: what the election allows this relay to do.
    pub(super) fn under_lease(epoch: i64, state: watch::Receiver<ReplicaState>, clock: Clock) -> Self {
        Self(Some(LeasePermit { epoch, state, clock }))
    }

    /// Returns whether work may begin now.
    pub(super) fn allows_work(&self) -> bool {
        let Some(LeasePermit { epoch, state, clock }) = &self.0 else { return true };
        state.borrow().lease_at(clock.monotonic()).is_some_and(|lease| lease.epoch() == *epoch)
    }

    /// Resolves when the permission has ended. A permission for ever never ends.
    pub(super) async fn ended(&self) {
        let Some(LeasePermit { epoch, state, .. }) = &self.0 else { return std::future::pending().await };
        let is_over = |state: &ReplicaState| !matches!(state, ReplicaState::Active(lease) if lease.epoch() == *epoch);
        // A closed channel means that the election has ended, and the lease with it.
        drop(state.clone().wait_for(is_over).await);
    }

    /// Makes a sink that begins attempts only while this permission allows work.
    pub(super) fn guard(&self, sink: Arc<dyn Sink>) -> Arc<dyn Sink> {
        match self.0 {
            Some(_) => Arc::new(GuardedSink { sink, permit: self.clone() }),
            None => sink,
        }
    }
}

/// A sink that begins attempts only while a permission allows work.
struct GuardedSink {
    sink: Arc<dyn Sink>,
    permit: WorkPermit,
}

impl Sink for GuardedSink {
    fn takes_lines(&self) -> bool {
        self.sink.takes_lines()
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        if self.permit.allows_work() {
            return self.sink.begin(outgoing);
        }
        // This attempt sends nothing and never ends by itself. It is cut off when the relay notices that the permission
        // has ended.
        Box::pin(std::future::pending())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::domain::UnixMs;
    use crate::sinks::Attempt;
    use crate::store::Lease;

    /// A sink that counts attempts.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Sink for Counting {
        fn takes_lines(&self) -> bool {
            false
        }

        fn begin(&self, _: Outgoing) -> Attempting {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Attempt::Accepted { status: None }))
        }
    }

    fn outgoing() -> Outgoing {
        Outgoing { id: "m1".to_owned(), content_type: "text/plain".into(), body: Vec::new(), message: "{}".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_the_lease_has_run_out_or_under_another_lease() {
        let clock = Clock::starting_at(UnixMs(0));
        let lease = |epoch| Lease::taken(epoch, clock.monotonic(), UnixMs(0));
        let (election, state) = watch::channel(ReplicaState::Active(lease(7)));
        let permit = WorkPermit::under_lease(7, state, clock.clone());
        let counting = Arc::new(Counting::default());
        let sink = permit.guard(counting.clone());
        let begun = || counting.0.load(Ordering::Relaxed);
        drop(sink.begin(outgoing()).await);
        assert_eq!((begun(), permit.allows_work()), (1, true));
        // The process is suspended for a minute, and the election has noticed nothing.
        tokio::time::advance(Duration::from_secs(60)).await;
        drop(sink.begin(outgoing()));
        assert_eq!((begun(), permit.allows_work()), (1, false));
        // This process has a new lease now, which does not allow the work of the earlier lease.
        election.send_replace(ReplicaState::Active(lease(8)));
        drop(sink.begin(outgoing()));
        assert_eq!((begun(), permit.allows_work()), (1, false));
        permit.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_is_alone_may_always_work() {
        let permit = WorkPermit::default();
        assert!(permit.allows_work());
        assert!(tokio::time::timeout(Duration::from_secs(3600), permit.ended()).await.is_err());
    }
}
