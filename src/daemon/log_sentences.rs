//! Sentences of the log on which tests and docs/events.md rely. Whoever changes a sentence also changes docs/events.md;
//! a test compares the two.

/// The relay was told to stop.
pub const STOPPING: &str = "stopping; what is in flight may end";

/// The relay has stopped, and nothing was cut off.
pub const STOPPED: &str = "stopped; nothing was in flight any more";

/// A second signal has ended the relay at once.
pub const STOPPED_AT_ONCE: &str = "stopped at once; what was in flight is delivered again after the next start";

/// Somebody has removed the lock file of the role.
pub const LOCK_MADE_AGAIN: &str =
    "relay.lock was removed from the state directory; it is made again, and no other relay has begun";

/// Messages wait for a sink that the configuration does not name.
pub const SINK_NOT_CONFIGURED: &str =
    "messages wait for a sink that is not configured any more; they are kept for when one of that name is";

/// The state lies in the file system of a container.
pub const STATE_ON_NO_VOLUME: &str =
    "the state is on no volume, so it is lost with this container: mount a volume at the state directory";

/// The admin endpoint answers at an address.
pub const ADMIN_LISTENS: &str = "the admin endpoint listens";

/// The command `once` has read everything and has delivered what was due. The log line has the counts.
pub const ONCE_IS_DONE: &str = "once is done";

/// All sentences of this module.
pub const ALL: [&str; 8] = [
    STOPPING,
    STOPPED,
    STOPPED_AT_ONCE,
    LOCK_MADE_AGAIN,
    SINK_NOT_CONFIGURED,
    STATE_ON_NO_VOLUME,
    ADMIN_LISTENS,
    ONCE_IS_DONE,
];
