//! Hints for the relays that share a state. A hint says that another process may have changed the state: a relay gave
//! its lease back, or a command changed something.
//!
//! A hint carries no data: after a hint, a relay reads the state itself. Hints may get lost. So a relay also reads the
//! state from time to time without a hint.

use tokio::sync::watch;

/// Gives hints to every [`ChangeWatch`] that this value or one of its clones has made.
#[derive(Clone, Debug, Default)]
pub struct ChangeHints(watch::Sender<()>);

impl ChangeHints {
    /// Gives a hint.
    pub fn give(&self) {
        self.0.send_replace(());
    }

    /// Makes a watch that sees the hints from now on.
    pub fn watch(&self) -> ChangeWatch {
        ChangeWatch(Some(self.0.subscribe()))
    }
}

/// Waits for hints. The default is a watch that never sees one.
#[derive(Clone, Debug, Default)]
pub struct ChangeWatch(Option<watch::Receiver<()>>);

impl ChangeWatch {
    /// Waits for a hint. Returns at once if a hint was given since the last return, or since this watch was made.
    /// Several hints cause only one return. Dropping the future loses no hint.
    pub async fn changed(&mut self) {
        if let Some(hints) = &mut self.0
            && hints.changed().await.is_ok()
        {
            return;
        }
        // No hint can come: nobody gives hints any more, or this is the default watch.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn each_watch_sees_the_hints_once() {
        let hints = ChangeHints::default();
        let (mut one, mut other) = (hints.watch(), hints.watch());
        assert_eq!(one.changed().now_or_never(), None);
        hints.give();
        hints.give();
        assert_eq!(one.changed().now_or_never(), Some(()));
        assert_eq!(one.changed().now_or_never(), None);
        assert_eq!(other.changed().now_or_never(), Some(()));
        drop(hints);
        assert_eq!(other.changed().now_or_never(), None, "nobody gives hints any more");
        assert_eq!(ChangeWatch::default().changed().now_or_never(), None);
    }
}
