//! The handle that wakes the loops of all sinks when the store may have something new for them.

use tokio::sync::watch;

/// Tells delivery that the store may have something new. Clones wake the same delivery.
#[derive(Clone, Debug)]
pub struct Waker(watch::Sender<WakeCounts>);

/// How often delivery was woken up so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WakeCounts {
    /// All wake-ups.
    pub(super) all: u64,
    /// The wake-ups because a command may have changed the store.
    pub(super) for_commands: u64,
}

impl Waker {
    /// Makes a handle, and the receiver that shows the numbers of wake-ups so far.
    pub(super) fn new() -> (Self, watch::Receiver<WakeCounts>) {
        let (sender, receiver) = watch::channel(WakeCounts::default());
        (Self(sender), receiver)
    }

    /// Wakes delivery up; to be called after messages were released. A wake-up carries no data and costs next to
    /// nothing.
    pub fn wake(&self) {
        self.0.send_modify(|counts| counts.all += 1);
    }

    /// Wakes delivery up to look for changes by commands. Without this wake-up delivery notices them within five
    /// seconds.
    pub fn look_for_commands(&self) {
        self.0.send_modify(|counts| {
            counts.all += 1;
            counts.for_commands += 1;
        });
    }

    /// Returns the number of wake-ups so far.
    pub(super) fn count(&self) -> u64 {
        self.0.borrow().all
    }
}
