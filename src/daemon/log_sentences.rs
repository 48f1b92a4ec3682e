//! Sentences of the log. docs/events.md quotes them, and a test compares this document with the sentences.

/// The relay was asked to stop.
pub const STOPPING: &str = "stopping; attempts in flight get some time to end";

/// The relay has stopped, and nothing was cut off.
pub const STOPPED: &str = "stopped; nothing was in flight any more";

/// A second signal has ended the relay at once.
pub const STOPPED_AT_ONCE: &str = "stopped at once; what was in flight is delivered again after the next start";

/// Somebody has removed the lock file of the role.
pub const LOCK_MADE_AGAIN: &str =
    "relay.lock was removed from the state directory; this relay has made it again, and still has the role";

/// Messages wait for a sink that the configuration does not name.
pub const SINK_NOT_CONFIGURED: &str = "messages wait for a sink that is not configured any more; they are kept until a \
                                       sink of this name is configured again";

/// The state lies in the file system of a container.
pub const STATE_ON_NO_VOLUME: &str =
    "the state is on no volume, so it is lost with this container: mount a volume at the state directory";

/// The admin endpoint answers at an address.
pub const ADMIN_LISTENS: &str = "the admin endpoint listens";

/// The command `once` has ended. The log line has the counts, also of the messages that still wait.
pub const ONCE_IS_DONE: &str = "once is done";

/// Information: after SIGHUP, the new configuration is in effect. The line names the changes.
pub const RELOADED: &str = "SIGHUP: the configuration was read again and is in effect";

/// Information: SIGHUP has changed nothing in the running relay. There are no new values, or all of them wait for a
/// restart.
pub const NOTHING_CHANGED: &str =
    "SIGHUP: the configuration was read again; no setting that a reload can change has changed";

/// Error: after SIGHUP, the new configuration cannot be used. The line has every error.
pub const NOT_RELOADED: &str = "SIGHUP: the new configuration cannot be used: nothing has changed";

/// Warning: these keys have new values, which take effect at the next start.
pub const NEEDS_RESTART: &str = "these settings keep their old values until the relay is started again";

/// Information: a file with a secret has changed. The line names the keys.
pub const SECRETS_READ_AGAIN: &str = "a file with a secret has changed: the new value is in use";

/// Warning: the secrets were read again, usually because a file with a secret has changed, and the new values cannot be
/// used. While the reason stays the same, the line is not repeated.
pub const SECRETS_NOT_READ: &str =
    "a file with a secret has changed and cannot be used: the old values stay in use until it can";

/// Information: a relay that shares its state with others begins to ask for the lease.
pub const STANDING_BY: &str = "this relay shares its state with others, and stands by until it is the active one";

/// Error: the database of a shared state cannot be reached.
pub const STATE_UNREACHABLE: &str =
    "this relay cannot join the others that share its state; it tries again every second";

/// All sentences of this module.
pub const ALL: [&str; 16] = [
    STANDING_BY,
    STATE_UNREACHABLE,
    STOPPING,
    STOPPED,
    STOPPED_AT_ONCE,
    LOCK_MADE_AGAIN,
    SINK_NOT_CONFIGURED,
    STATE_ON_NO_VOLUME,
    ADMIN_LISTENS,
    ONCE_IS_DONE,
    RELOADED,
    NOTHING_CHANGED,
    NOT_RELOADED,
    NEEDS_RESTART,
    SECRETS_READ_AGAIN,
    SECRETS_NOT_READ,
];
