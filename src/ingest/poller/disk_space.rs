//! Whether there is room for what would be read. While there is not, polling stops; deliveries go on, and with them old
//! messages go, so that it ends by itself. The API keeps what is not read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Ending, Mode, Poller, Trouble};
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::store::{self, Space, Spool};
use crate::time::Instant;

/// Room is looked at this often while something is stored.
const LOOK: Duration = Duration::from_secs(1);

/// And this often otherwise: others may fill the disk, and free it.
const LOOK_IDLE: Duration = Duration::from_secs(5);

/// That delivered messages go early is said this often.
const SAY_SHEDDING: Duration = Duration::from_secs(86_400);

/// What is allowed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpaceLimits {
    /// `state.max_size`
    pub(super) max_size: u64,
    /// `state.min_free`
    pub(super) min_free: u64,
}

/// What there is too little of, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// The state is as large as it may be.
    Size { used: u64, max_size: u64 },
    /// The disk is nearly full.
    Disk { free: u64, min_free: u64 },
}

/// What the poller knows of it.
pub(super) struct Room {
    pub(super) limits: SpaceLimits,
    pub(super) dir: PathBuf,
    /// When to look again, at the latest and if something was stored.
    look_at: Instant,
    looked: Instant,
    pub(super) stored: bool,
    pub(super) shortage: Option<Shortage>,
    /// Delivered messages go before their time.
    pub(super) sheds: bool,
    said_shedding: Option<Instant>,
}

impl SpaceLimits {
    /// Whether room is short. What was short is so until there is a tenth more than needed, so that it does not change at
    /// every page.
    pub(super) fn judge(self, space: Space, was: Option<Shortage>) -> Option<Shortage> {
        let Self { max_size, min_free } = self;
        let (most, least) = match was {
            None => (max_size, min_free),
            Some(Shortage::Size { .. }) => (max_size - max_size / 10, min_free),
            Some(Shortage::Disk { .. }) => (max_size, min_free.saturating_add(min_free / 10)),
        };
        if space.free < least {
            Some(Shortage::Disk { free: space.free, min_free })
        } else if space.used > most {
            Some(Shortage::Size { used: space.used, max_size })
        } else {
            None
        }
    }

    /// Whether delivered messages go before their time: from nine tenths of what is allowed down to eight.
    pub(super) fn sheds(self, space: Space, does: bool) -> bool {
        let tenth = self.max_size / 10;
        space.used > self.max_size - if does { 2 * tenth } else { tenth }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { max_size, .. } => write!(out, "the state has reached state.max_size ({})", Size(*max_size)),
            Self::Disk { min_free, .. } => {
                write!(out, "the disk of the state has less than state.min_free ({}) left", Size(*min_free))
            }
        }
    }
}

/// A size for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytesize::ByteSize(self.0).fmt(out)
    }
}

impl Room {
    pub(super) fn new(state: &store::Options, now: Instant) -> Self {
        Self {
            limits: SpaceLimits { max_size: state.max_size, min_free: state.min_free },
            dir: state.dir.clone(),
            look_at: now,
            looked: now,
            stored: false,
            shortage: None,
            sheds: false,
            said_shedding: None,
        }
    }

    fn due(&self) -> Instant {
        if self.stored { self.look_at.min(self.looked + LOOK) } else { self.look_at }
    }
}

impl<F: Feed> Poller<F> {
    /// When room is looked at next, whatever happens.
    pub(super) fn room_due(&self) -> Instant {
        self.room.look_at
    }

    /// Looks, if it is time to, and says what changed.
    pub(super) async fn look_at_room(&mut self) -> Result<(), Trouble> {
        let now = self.clock.monotonic();
        if self.room.due() > now {
            return Ok(());
        }
        self.room.look_at = now + LOOK_IDLE;
        self.room.looked = now;
        self.room.stored = false;
        let space = match self.store.read(Spool::space).await {
            Ok(space) => space,
            // Whoever needs the disk will say so.
            Err(error) => {
                tracing::debug!(%error, "the room for the state cannot be told");
                return Ok(());
            }
        };
        self.look_at_journal(space, now).await?;
        let sheds = self.room.limits.sheds(space, self.room.sheds);
        if sheds && !self.room.sheds {
            self.housekeeping.begin_again(now);
            self.say_shedding(space, now);
        }
        self.room.sheds = sheds;
        let shortage = self.room.limits.judge(space, self.room.shortage);
        match (self.room.shortage, shortage) {
            (None, Some(shortage)) => {
                self.housekeeping.begin_again(now);
                self.say_shortage(shortage);
            }
            (Some(_), None) => {
                tracing::info!(used = %Size(space.used), free = %Size(space.free), "there is room again: polling goes on");
                self.set_condition(Condition::Starting);
                self.head.due = self.head.due.min(now);
            }
            _ => {}
        }
        self.room.shortage = shortage;
        if let Some(shortage) = shortage {
            self.set_condition(Condition::NoRoom(shortage.to_string()));
            return self.stop_holding(now).await;
        }
        Ok(())
    }

    /// What a catch-up holds until it is complete is handed on: it would not be complete before there is room, and there
    /// would be no room before it was handed on.
    async fn stop_holding(&mut self, now: Instant) -> Result<(), Trouble> {
        if !self.state.holds() || self.stale.is_some() {
            return Ok(());
        }
        let at = self.estimated_now(now);
        let step = self.state.stop_holding(&self.rules, at);
        match self.commit(step, at.local).await {
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "what a catch-up holds cannot be handed on yet");
                self.stale = Some(now);
                Ok(())
            }
            result => Ok(result.map(drop)?),
        }
    }

    /// A one-shot command does not wait for room: whether what could go is gone, and it is still too much.
    pub(super) fn gives_up_for_room(&self) -> Option<Ending> {
        let shortage = self.room.shortage.filter(|_| self.mode == Mode::Once && !self.housekeeping.has_more)?;
        Some(Ending::GaveUp(shortage.to_string()))
    }

    fn say_shortage(&self, shortage: Shortage) {
        let dir = self.room.dir.display();
        match shortage {
            Shortage::Size { used, max_size } => tracing::error!(
                used = %Size(used),
                max_size = %Size(max_size),
                hint = "raise state.max_size, or mend the sinks that messages wait for",
                "the state has reached state.max_size: polling stops until there is room; deliveries go on, nothing is lost"
            ),
            Shortage::Disk { free, min_free } => tracing::error!(
                dir = %dir,
                free = %Size(free),
                min_free = %Size(min_free),
                hint = "free space on its disk, or lower state.min_free",
                "the disk of the state is nearly full: polling stops until there is room; deliveries go on, nothing is lost"
            ),
        }
    }

    fn say_shedding(&mut self, space: Space, now: Instant) {
        let lately = self.room.said_shedding.is_some_and(|said| now.saturating_duration_since(said) < SAY_SHEDDING);
        if !lately {
            self.room.said_shedding = Some(now);
            tracing::warn!(
                used = %Size(space.used),
                max_size = %Size(self.room.limits.max_size),
                "the state nears state.max_size: delivered messages go before state.keep_delivered is over, oldest first"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SpaceLimits = SpaceLimits { max_size: 1000, min_free: 100 };

    fn space(used: u64, free: u64) -> Space {
        Space { used, unused: 0, free, journal: 0 }
    }

    #[test]
    fn short_of_one_or_the_other_until_there_is_a_tenth_more() {
        let size = |used| Some(Shortage::Size { used, max_size: 1000 });
        let disk = |free| Some(Shortage::Disk { free, min_free: 100 });
        for (used, free, was, expected) in [
            (0, 100, None, None),
            (1000, 100, None, None),
            (1001, 100, None, size(1001)),
            (1000, 99, None, disk(99)),
            (1001, 99, None, disk(99)),
            (901, 500, size(1001), size(901)),
            (900, 500, size(1001), None),
            (900, 109, disk(99), disk(109)),
            (900, 110, disk(99), None),
            // From one to the other.
            (950, 99, size(1001), disk(99)),
            (1001, 110, disk(99), size(1001)),
        ] {
            assert_eq!(LIMITS.judge(space(used, free), was), expected, "{used} used, {free} free, was {was:?}");
        }
    }

    #[test]
    fn no_limit_is_too_low_or_too_high() {
        let never = SpaceLimits { max_size: u64::MAX, min_free: 0 };
        assert_eq!(never.judge(space(u64::MAX, 0), None), None);
        let always = SpaceLimits { max_size: 0, min_free: u64::MAX };
        let short = always.judge(space(1, 1), None);
        assert!(short.is_some() && always.judge(space(1, 1), short).is_some());
    }

    #[test]
    fn sheds_from_nine_tenths_down_to_eight() {
        for (used, does, expected) in
            [(900, false, false), (901, false, true), (801, true, true), (800, true, false), (850, false, false)]
        {
            assert_eq!(LIMITS.sheds(space(used, 0), does), expected, "{used}, {does}");
        }
    }
}
