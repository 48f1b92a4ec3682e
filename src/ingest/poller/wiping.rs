//! What went out of the state goes from the disk too. It is done here because this loop lives as long as the relay, and
//! turns whether there is anything to poll or not.

use std::time::Duration;

use super::{Poller, Trouble};
use crate::ingest::feed::Feed;

/// How often, at most: where nothing is kept that was delivered, and otherwise.
const AT_ONCE: Duration = Duration::from_secs(2);
const LATER: Duration = Duration::from_secs(60);

impl<F: Feed> Poller<F> {
    /// Wipes, if it is time to. Where texts go at once it also looks whether a command has let go of something.
    pub(super) async fn wipe(&mut self) -> Result<(), Trouble> {
        let now = self.clock.monotonic();
        if self.wipe_due > now {
            return Ok(());
        }
        let at_once = self.lets_go_at_once;
        self.wipe_due = now + if at_once { AT_ONCE } else { LATER };
        let wiped = self.store.write(|spool| {
            let others_wrote = spool.others_wrote()?;
            Ok((others_wrote, spool.wipe()?))
        });
        match wiped.await {
            Ok((others_wrote, wiped)) => {
                if others_wrote && at_once {
                    self.housekeeping.begin_again(now);
                }
                self.note_wiped(wiped, now);
                Ok(())
            }
            // Whoever needs the disk will say so.
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "what went cannot be wiped yet");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
