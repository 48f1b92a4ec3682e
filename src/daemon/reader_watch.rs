//! Notices the commands that wait for messages while the relay runs (`wait`, `tail`), and reports them to the poller.
//!
//! With `keep_delivered = "0s"` the text of a message is erased as soon as the message is delivered. While there is a
//! reader, the text is kept for some seconds instead. The relay begins to keep the texts before it tells the reader
//! that the reader was noticed. When the last reader ends, the poller erases the texts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::ingest::WaitingReaders;
use crate::store::{self, RegisteredReader, Store, acknowledge_reader, registered_readers};
use crate::time::{Clock, Instant};

/// The time between two looks for readers.
const LOOK: Duration = Duration::from_millis(100);

/// The task that notices readers.
pub(super) struct ReaderWatch {
    /// The state directory.
    pub(super) dir: PathBuf,
    pub(super) store: Store,
    pub(super) clock: Clock,
    /// Whether the text of a message is erased as soon as the message is delivered, if there is no reader.
    pub(super) erases_at_once: bool,
    pub(super) readers: watch::Sender<WaitingReaders>,
}

impl ReaderWatch {
    /// Runs until the task is aborted.
    pub(super) async fn run(self) {
        let mut known = HashMap::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let dir = self.dir.clone();
            let found = match spawn_blocking(move || registered_readers(&dir)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the commands that wait for messages cannot be seen");
                    continue;
                }
                // The process is ending.
                Err(_) => return,
            };
            let fresh = take_in(&mut known, found, self.clock.monotonic());
            if let Err(error) = self.publish(waiting(&known), fresh).await {
                tracing::debug!(%error, "a command that waits for messages cannot be served yet");
            }
        }
    }

    /// Reports a change of the readers to the poller, and tells each new reader that the relay has noticed it.
    async fn publish(&self, waiting: WaitingReaders, fresh: Vec<String>) -> Result<(), store::Error> {
        let was_present = self.readers.borrow().present;
        if was_present && !waiting.present {
            self.keep_texts(false).await?;
        }
        self.readers.send_if_modified(|readers| std::mem::replace(readers, waiting) != waiting);
        if waiting.present && !was_present {
            self.keep_texts(true).await?;
        }
        for name in fresh {
            let dir = self.dir.clone();
            if let Ok(Err(error)) = spawn_blocking(move || acknowledge_reader(&dir, &name)).await {
                tracing::debug!(%error, "a command that waits for messages cannot be notified that it was noticed");
            }
        }
        Ok(())
    }

    async fn keep_texts(&self, keep: bool) -> Result<(), store::Error> {
        if !self.erases_at_once {
            return Ok(());
        }
        let set = move |spool: &mut store::Spool| {
            spool.keep_for_readers(keep);
            Ok(())
        };
        self.store.write(set).await
    }
}

/// Brings `known` up to date with the readers that were found, and returns the names of the new ones. `known` has each
/// reader's name, and the instant until which the reader wants fast polls (`None`: it wants none).
fn take_in(known: &mut HashMap<String, Option<Instant>>, found: Vec<RegisteredReader>, now: Instant) -> Vec<String> {
    known.retain(|name, _| found.iter().any(|reader| reader.name == *name));
    let mut fresh = Vec::new();
    for RegisteredReader { name, fast_for } in found {
        if !known.contains_key(&name) {
            known.insert(name.clone(), now.checked_add(fast_for).filter(|_| !fast_for.is_zero()));
            fresh.push(name);
        }
    }
    fresh
}

fn waiting(known: &HashMap<String, Option<Instant>>) -> WaitingReaders {
    WaitingReaders { present: !known.is_empty(), fast_until: known.values().copied().flatten().max() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    #[tokio::test(start_paused = true)]
    async fn fast_polls_last_until_the_longest_wait_ends_and_a_reader_is_new_once() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let reader =
            |name: &str, seconds| RegisteredReader { name: name.to_owned(), fast_for: Duration::from_secs(seconds) };
        let mut known = HashMap::new();
        assert_eq!(take_in(&mut known, vec![reader("tail", 0)], now), ["tail"]);
        assert_eq!(waiting(&known), WaitingReaders { present: true, fast_until: None });
        let found = vec![reader("tail", 0), reader("a", 60), reader("b", 5)];
        assert_eq!(take_in(&mut known, found.clone(), now), ["a", "b"]);
        assert_eq!(waiting(&known).fast_until, Some(now + Duration::from_secs(60)));
        let later = now + Duration::from_secs(30);
        assert_eq!(take_in(&mut known, found, later), [""; 0], "a known reader is not new, and its time goes on");
        assert_eq!(waiting(&known).fast_until, Some(now + Duration::from_secs(60)));
        take_in(&mut known, vec![reader("b", 5)], later);
        assert_eq!(waiting(&known).fast_until, Some(now + Duration::from_secs(5)));
        take_in(&mut known, Vec::new(), later);
        assert_eq!(waiting(&known), WaitingReaders::default());
    }
}
