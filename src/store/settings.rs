//! The configuration of the state: the keys of `[state]`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::UnixMs;
use crate::settings::{self, LONGEST, settings};

/// The bounds of `max_size`, in bytes. Below 16 MiB the journal alone could fill the state.
const SIZES: RangeInclusive<u64> = 16 << 20..=MOST;
const MOST: u64 = 1 << 50;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

settings! {
    /// `[state]`: where the state lives and how long it is kept.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Options {
        /// The state directory. It is made if it is missing. Default: --state-dir, then $STATE_DIRECTORY, then
        /// /var/lib/joltsms-relay if the file is in /etc (/var/lib/joltsms-relay-NAME for
        /// /etc/joltsms-relay/NAME.toml), then $XDG_STATE_HOME/joltsms-relay (~/.local/state/joltsms-relay).
        pub dir: PathBuf = settings::required_path().by_default("\"/var/lib/joltsms-relay\""),
        /// How long a message is kept after every sink has it. "0s": its text is gone from the disk within seconds, and
        /// only its id is remembered, so that the message does not come again.
        pub keep_delivered: RetentionPeriod = settings::duration_or("forever", Some(WEEK), Duration::ZERO..=LONGEST),
        /// How long a dead letter is kept, counted from when it was given up.
        pub keep_dead: RetentionPeriod = settings::duration_or("forever", None, Duration::ZERO..=LONGEST),
        /// The most disk space that the state may take, its journal included. When the state nears this size, delivered
        /// messages are removed before their time, oldest first. When the size is reached, polling stops until there is
        /// room, and deliveries go on.
        pub max_size: u64 = settings::size(1 << 30, SIZES),
        /// With less free space than this on the disk of the state, polling stops. "0" switches this off.
        pub min_free: u64 = settings::size(64 << 20, 0..=MOST),
    }
}

impl From<Option<Duration>> for RetentionPeriod {
    fn from(keep: Option<Duration>) -> Self {
        keep.map_or(Self::Forever, Self::For)
    }
}

impl Options {
    /// Returns whether the text of a message is erased as soon as every sink has the message: `keep_delivered = "0s"`.
    pub fn erase_on_delivery(&self) -> bool {
        self.keep_delivered == RetentionPeriod::For(Duration::ZERO)
    }
}

/// How long messages or dead letters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionPeriod {
    /// Kept for this long after the delivery, or after the relay gave up.
    For(Duration),
    /// Kept for ever.
    Forever,
}

impl RetentionPeriod {
    /// Returns the instant before which settled deliveries are no longer kept; `None` if everything is kept. While the
    /// time is not known (`now` is `None`), only deliveries that are to be kept for no time at all may be removed.
    pub fn cutoff(self, now: Option<UnixMs>) -> Option<UnixMs> {
        match self {
            Self::For(Duration::ZERO) => Some(UnixMs::MAX),
            Self::For(keep) => Some(now?.before(keep)),
            Self::Forever => None,
        }
    }
}
