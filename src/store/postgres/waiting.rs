//! Lets a thread that may block wait for answers of the asynchronous client for PostgreSQL.
//!
//! The connections of all states are driven by one background thread. A method of the backend waits on its own thread
//! until the answer is there. Unlike `Runtime::block_on`, [`wait_for`] also works on a thread of another runtime.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Wakes the thread that waits.
struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Returns the runtime that drives the connections. The first call starts it.
pub(super) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(started) = RUNTIME.get() {
        return Ok(started);
    }
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(started) = RUNTIME.get() {
        return Ok(started);
    }
    let started = Builder::new_multi_thread().worker_threads(1).thread_name("postgres").enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| started))
}

/// Waits until `future` is done. Returns `None` if `future` is not done after the time `limit`.
pub(super) fn wait_for<F: Future>(runtime: &Runtime, limit: Duration, future: F) -> Option<F::Output> {
    let _timers = runtime.enter();
    let mut limited = pin!(tokio::time::timeout(limit, future));
    let waker = Waker::from(Arc::new(ThreadWaker(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match limited.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done.ok(),
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_waits_until_the_future_is_done() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sending = thread::spawn(move || sender.send(7));
        assert_eq!(wait_for(runtime().unwrap(), Duration::from_secs(60), receiver), Some(Ok(7)));
        sending.join().unwrap().unwrap();
    }

    #[test]
    fn a_thread_does_not_wait_for_ever() {
        let never = std::future::pending::<()>();
        assert_eq!(wait_for(runtime().unwrap(), Duration::from_millis(5), never), None);
    }

    #[tokio::test]
    async fn a_thread_of_another_runtime_may_wait_too() {
        assert_eq!(wait_for(runtime().unwrap(), Duration::from_secs(60), async { 7 }), Some(7));
    }
}
