//! Cuts tasks off at the end of the relay's work.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest wait for a task that was cut off. Only a task that waits for a disk needs longer.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Cuts a task off, and waits until all values of the task are dropped, for at most [`LONGEST_WAIT`]. Work that the
/// task has begun on a blocking thread goes on.
pub(super) async fn cut_off<T>(task: &mut JoinHandle<T>) {
    task.abort();
    // The output of a task that has ended may have been taken before, and must not be taken twice.
    if !task.is_finished() {
        drop(timeout(LONGEST_WAIT, task).await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    /// The task cannot be cut off before `release`, because until then it blocks its thread.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_task_that_was_cut_off_holds_nothing() {
        let store = Arc::new(());
        let held = Arc::clone(&store);
        let (begun, begins) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let mut task = tokio::spawn(async move {
            begun.send(()).unwrap();
            released.recv().unwrap();
            std::future::pending::<()>().await;
            drop(held);
        });
        begins.recv().unwrap();
        let holders = async {
            cut_off(&mut task).await;
            Arc::strong_count(&store)
        };
        let (holders, ()) = tokio::join!(holders, async { release.send(()).unwrap() });
        assert_eq!(holders, 1);
        cut_off(&mut task).await;
        let mut taken = tokio::spawn(async {});
        (&mut taken).await.unwrap();
        cut_off(&mut taken).await;
    }
}
