//! The handle that wakes the loops of all sinks when the store may hold something new for them.

use tokio::sync::watch;

/// Tells delivery that the store may hold something new. Clones wake the same delivery.
#[derive(Clone, Debug)]
pub struct Waker(watch::Sender<u64>);

impl Waker {
    /// Makes a handle, and the receiver that shows the number of wake-ups so far.
    pub(super) fn new() -> (Self, watch::Receiver<u64>) {
        let (sender, receiver) = watch::channel(0);
        (Self(sender), receiver)
    }

    /// Wakes delivery up; to be called after messages were released. A wake-up carries no data, costs next to nothing
    /// and is never missed.
    pub fn wake(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// Returns the number of wake-ups so far.
    pub(super) fn count(&self) -> u64 {
        *self.0.borrow()
    }
}
