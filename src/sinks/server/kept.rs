//! A connection that is kept between attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::sinks::Attempt;

/// A connection that several attempts can use, at the same time or one after the other.
pub(in crate::sinks) trait Reusable: Send + Sync {
    /// Whether the connection can take another message, as far as the relay knows.
    fn is_open(&self) -> bool;

    /// Gives the connection up: no further attempt uses it. It is closed when no attempt uses it any more.
    fn give_up(&self);
}

/// Keeps a connection between attempts.
pub(in crate::sinks) struct KeptConnection<C> {
    slot: Mutex<ConnectionSlot<C>>,
    /// How many tries to connect have ended. An attempt that has waited for the lock compares two values, to see
    /// whether a try has ended in the meantime.
    tries: AtomicU64,
}

struct ConnectionSlot<C> {
    connection: Option<Arc<C>>,
    /// The failed attempt, if the last try to connect has failed.
    failure: Option<Attempt>,
}

impl<C: Reusable> KeptConnection<C> {
    /// Makes the value without a connection. Nothing is connected yet.
    pub(in crate::sinks) fn new() -> Self {
        Self { slot: Mutex::new(ConnectionSlot { connection: None, failure: None }), tries: AtomicU64::new(0) }
    }

    /// Returns the connection. If there is no open connection, `connect` makes one.
    ///
    /// # Errors
    /// The failed attempt, if the try to connect has failed. If several attempts wait for the same try, all of them get
    /// its failure.
    pub(in crate::sinks) async fn get(
        &self,
        connect: impl Future<Output = Result<C, Attempt>>,
    ) -> Result<Arc<C>, Attempt> {
        let tries_before = self.tries.load(Ordering::Acquire);
        let mut slot = self.slot.lock().await;
        if let Some(open) = slot.connection.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(open));
        }
        slot.connection = None;
        if self.tries.load(Ordering::Acquire) > tries_before
            && let Some(failure) = &slot.failure
        {
            return Err(failure.clone());
        }
        let made = connect.await.map(Arc::new);
        self.tries.fetch_add(1, Ordering::AcqRel);
        slot.failure = made.as_ref().err().cloned();
        slot.connection = made.as_ref().ok().cloned();
        made
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;
    use crate::sinks::server::failed;

    #[derive(Debug, Default)]
    struct Fake(AtomicBool);

    impl Reusable for Fake {
        fn is_open(&self) -> bool {
            !self.0.load(Ordering::Relaxed)
        }

        fn give_up(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn attempts_share_a_connection_and_a_failure_to_connect() {
        let kept = KeptConnection::new();
        let calls = AtomicU64::new(0);
        let connect = |works: bool| {
            let calls = &calls;
            async move {
                calls.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
                if works { Ok(Fake::default()) } else { Err(failed("refused")) }
            }
        };
        let all = join_all((0..8).map(|_| kept.get(connect(false)))).await;
        assert!(all.iter().all(|result| result.as_ref().is_err_and(|attempt| *attempt == failed("refused"))));
        assert_eq!(calls.load(Ordering::Relaxed), 1, "attempts that wait share the failure");
        let all = join_all((0..8).map(|_| kept.get(connect(true)))).await;
        assert_eq!(calls.load(Ordering::Relaxed), 2, "a later attempt tries again");
        let first = all[0].as_ref().unwrap();
        assert!(all.iter().all(|result| Arc::ptr_eq(result.as_ref().unwrap(), first)));
        first.give_up();
        let second = kept.get(connect(true)).await.unwrap();
        assert!(!Arc::ptr_eq(&second, first), "a lost connection is made anew");
    }
}
