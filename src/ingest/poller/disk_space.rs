//! The check whether there is space for further messages. While space is short, polling stops. Deliveries go on, and
//! delivered messages are removed, so that the shortage ends by itself. Meanwhile the API keeps the messages that are
//! not read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use crate::store::{self, DiskUsage};
use crate::time::Instant;

/// How often space is measured while messages are stored.
const MEASURE_WHILE_STORING: Duration = Duration::from_secs(1);

/// How often space is measured while nothing is stored. Other programs may fill the disk, and free it.
const MEASURE: Duration = Duration::from_secs(5);

/// The log says at most once in this time that delivered messages are removed early.
const TELL_SHEDDING: Duration = Duration::from_secs(86_400);

/// The limits of the space for the state, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SpaceLimits {
    /// `state.max_size`
    max_size: u64,
    /// `state.min_free`
    min_free: u64,
}

/// The kind of space that is short, with amounts in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// The state is as large as it may be.
    Size { used: u64, max_size: u64 },
    /// The disk is nearly full.
    Disk { free: u64, min_free: u64 },
}

/// The changes that a measurement brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpaceChange {
    /// The relay begins to remove delivered messages before the end of their retention.
    pub(super) begins_shedding: bool,
    /// A shortage of space begins.
    pub(super) begins_shortage: bool,
    /// The shortage of space ends.
    pub(super) ends_shortage: bool,
}

#[derive(Debug)]
pub(super) struct DiskSpace {
    limits: SpaceLimits,
    dir: PathBuf,
    measuring: Measuring,
    shortage: Option<Shortage>,
    /// Whether delivered messages are removed before the end of their retention.
    sheds: bool,
    shedding_logged_at: Option<Instant>,
}

#[derive(Debug)]
struct Measuring {
    last: Instant,
    /// When the next measurement is due if nothing is stored before.
    next: Instant,
    /// Whether something was stored since the last measurement.
    has_stored: bool,
}

impl SpaceLimits {
    /// Decides whether space is short. A shortage lasts until there is a tenth more space than needed, so that polling
    /// does not stop and begin again at every page. `was` is the previous result.
    fn judge(self, space: DiskUsage, was: Option<Shortage>) -> Option<Shortage> {
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

    /// Whether delivered messages are removed before the end of their retention: this begins at nine tenths of the
    /// allowed size, and ends at eight tenths. `has_begun` is the previous result.
    fn sheds(self, space: DiskUsage, has_begun: bool) -> bool {
        let tenth = self.max_size / 10;
        space.used > self.max_size - if has_begun { 2 * tenth } else { tenth }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { max_size, .. } => {
                write!(out, "the state has reached state.max_size ({})", ByteSize(*max_size))
            }
            Self::Disk { min_free, .. } => {
                write!(out, "the disk of the state has less than state.min_free ({}) left", ByteSize(*min_free))
            }
        }
    }
}

impl DiskSpace {
    /// The first measurement is due at once.
    pub(super) fn new(state: &store::Options, now: Instant) -> Self {
        Self {
            limits: SpaceLimits { max_size: state.max_size, min_free: state.min_free },
            dir: state.dir.clone(),
            measuring: Measuring { last: now, next: now, has_stored: false },
            shortage: None,
            sheds: false,
            shedding_logged_at: None,
        }
    }

    /// Takes new limits. The next measurement is due at once.
    pub(super) fn follow(&mut self, state: &store::Options, now: Instant) {
        self.limits = SpaceLimits { max_size: state.max_size, min_free: state.min_free };
        self.measuring.next = now;
    }

    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.shortage
    }

    /// Returns whether delivered messages are removed before the end of their retention.
    pub(super) fn sheds(&self) -> bool {
        self.sheds
    }

    /// Records that something was stored or removed.
    pub(super) fn note_stored(&mut self) {
        self.measuring.has_stored = true;
    }

    /// Returns when the next measurement is due if nothing is stored before.
    pub(super) fn due(&self) -> Instant {
        self.measuring.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        let Measuring { last, next, has_stored } = self.measuring;
        let due = if has_stored { next.min(last + MEASURE_WHILE_STORING) } else { next };
        due <= now
    }

    /// Records that space is measured now, whether the measurement works or not.
    pub(super) fn begin_measuring(&mut self, now: Instant) {
        self.measuring = Measuring { last: now, next: now + MEASURE, has_stored: false };
    }

    /// Records a measurement. Returns the changes that it brought.
    pub(super) fn take(&mut self, space: DiskUsage, now: Instant) -> SpaceChange {
        let sheds = self.limits.sheds(space, self.sheds);
        let shortage = self.limits.judge(space, self.shortage);
        let change = SpaceChange {
            begins_shedding: sheds && !self.sheds,
            begins_shortage: shortage.is_some() && self.shortage.is_none(),
            ends_shortage: shortage.is_none() && self.shortage.is_some(),
        };
        (self.sheds, self.shortage) = (sheds, shortage);
        if change.begins_shedding {
            self.log_shedding(space, now);
        }
        if change.begins_shortage {
            self.log_shortage();
        }
        if change.ends_shortage {
            let (used, free) = (ByteSize(space.used), ByteSize(space.free));
            tracing::info!(%used, %free, "there is room again: polling goes on");
        }
        change
    }

    fn log_shortage(&self) {
        let dir = self.dir.display();
        match self.shortage {
            Some(Shortage::Size { used, max_size }) => tracing::error!(
                used = %ByteSize(used),
                max_size = %ByteSize(max_size),
                hint = "raise state.max_size, or mend the sinks that messages wait for",
                "the state has reached state.max_size: polling stops until there is room; deliveries go on, nothing is lost"
            ),
            Some(Shortage::Disk { free, min_free }) => tracing::error!(
                dir = %dir,
                free = %ByteSize(free),
                min_free = %ByteSize(min_free),
                hint = "free space on its disk, or lower state.min_free",
                "the disk of the state is nearly full: polling stops until there is room; deliveries go on, nothing is lost"
            ),
            None => {}
        }
    }

    fn log_shedding(&mut self, space: DiskUsage, now: Instant) {
        let lately = self.shedding_logged_at.is_some_and(|told| now.saturating_duration_since(told) < TELL_SHEDDING);
        if !lately {
            self.shedding_logged_at = Some(now);
            tracing::warn!(
                used = %ByteSize(space.used),
                max_size = %ByteSize(self.limits.max_size),
                "the state nears state.max_size: delivered messages are removed before state.keep_delivered is over, \
                 oldest first"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    const LIMITS: SpaceLimits = SpaceLimits { max_size: 1000, min_free: 100 };

    fn space(used: u64, free: u64) -> DiskUsage {
        DiskUsage { used, unused: 0, free, journal: 0 }
    }

    fn options() -> store::Options {
        store::Options {
            dir: PathBuf::new(),
            database: None,
            namespace: String::new(),
            keep_delivered: store::RetentionPeriod::Forever,
            keep_dead: store::RetentionPeriod::Forever,
            max_size: LIMITS.max_size,
            min_free: LIMITS.min_free,
        }
    }

    #[test]
    fn a_shortage_lasts_until_there_is_a_tenth_more_space_than_needed() {
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
            // One kind of shortage follows the other.
            (950, 99, size(1001), disk(99)),
            (1001, 110, disk(99), size(1001)),
        ] {
            assert_eq!(LIMITS.judge(space(used, free), was), expected, "{used} used, {free} free, was {was:?}");
        }
    }

    #[test]
    fn extreme_limits_cause_no_overflow() {
        let never = SpaceLimits { max_size: u64::MAX, min_free: 0 };
        assert_eq!(never.judge(space(u64::MAX, 0), None), None);
        let always = SpaceLimits { max_size: 0, min_free: u64::MAX };
        let short = always.judge(space(1, 1), None);
        assert!(short.is_some() && always.judge(space(1, 1), short).is_some());
    }

    #[test]
    fn shedding_begins_above_nine_tenths_and_ends_at_eight() {
        for (used, has_begun, expected) in
            [(900, false, false), (901, false, true), (801, true, true), (800, true, false), (850, false, false)]
        {
            assert_eq!(LIMITS.sheds(space(used, 0), has_begun), expected, "{used}, {has_begun}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shortage_begins_and_ends_once() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut disk = DiskSpace::new(&options(), now);
        assert_eq!(disk.take(space(500, 500), now), SpaceChange::default());
        let begins = SpaceChange { begins_shedding: true, begins_shortage: true, ends_shortage: false };
        assert_eq!(disk.take(space(1001, 500), now), begins);
        assert_eq!(disk.take(space(1001, 500), now), SpaceChange::default());
        assert!(disk.sheds() && disk.shortage().is_some());
        assert_eq!(disk.take(space(700, 500), now), SpaceChange { ends_shortage: true, ..SpaceChange::default() });
        assert!(!disk.sheds() && disk.shortage().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn space_is_measured_more_often_while_something_is_stored() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut disk = DiskSpace::new(&options(), now);
        assert!(disk.is_due(now));
        disk.begin_measuring(now);
        assert!(!disk.is_due(at(4)) && disk.is_due(at(5)));
        disk.note_stored();
        assert!(!disk.is_due(now) && disk.is_due(at(1)));
    }
}
