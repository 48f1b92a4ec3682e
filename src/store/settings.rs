//! The configuration of the state: the keys of `[state]`, and the checks of their values.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Database;
use super::location::StateLocation;
use crate::domain::UnixMs;
use crate::secret::Secret;
use crate::secret::trimming::SecretKind;
use crate::settings::{self, LONGEST, Reader, WrittenText, settings};

/// The schema of a state in PostgreSQL, unless the configuration names another one.
const NAMESPACE: &str = "joltsms_relay";

/// The bounds of `max_size`, in bytes. Below 16 MiB the journal alone could fill the state.
const SIZES: RangeInclusive<u64> = 16 << 20..=MOST;
const MOST: u64 = 1 << 50;

/// The longest name of a schema, in bytes. PostgreSQL cuts off longer names without an error.
const LONGEST_NAMESPACE: usize = 63;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

settings! {
    /// `[state]`, as written: where the state lives and how long it is kept.
    pub struct Settings {
        /// The state directory. It is made if it is missing. Default: --state-dir, then $STATE_DIRECTORY, then
        /// /var/lib/joltsms-relay if the file is in /etc (/var/lib/joltsms-relay-NAME for
        /// /etc/joltsms-relay/NAME.toml), then $XDG_STATE_HOME/joltsms-relay (~/.local/state/joltsms-relay).
        dir: PathBuf = settings::required_path().by_default("\"/var/lib/joltsms-relay\""),
        /// How long a message is kept after every sink has it. "0s": its text is gone from the disk within seconds, and
        /// only its id is remembered, so that the message does not come again.
        keep_delivered: RetentionPeriod = settings::duration_or("forever", Some(WEEK), Duration::ZERO..=LONGEST),
        /// How long a dead letter is kept, counted from when it was given up.
        keep_dead: RetentionPeriod = settings::duration_or("forever", None, Duration::ZERO..=LONGEST),
        /// The most disk space that the state may take, its journal included. When the state nears this size, delivered
        /// messages are removed before their time, oldest first. When the size is reached, polling stops until there is
        /// room, and deliveries go on.
        max_size: u64 = settings::size(1 << 30, SIZES),
        /// With less free space than this on the disk of the state, polling stops. "0" switches this off.
        min_free: u64 = settings::size(64 << 20, 0..=MOST),
        /// The address of a PostgreSQL database that keeps the state instead of a file in state.dir, so that several
        /// relays can share it: one is active, the others stand by (docs/replicas.md). state.dir then holds only small
        /// files of the relay on this machine, and every relay needs a directory of its own. It needs a build with the
        /// feature `replicas`, as all releases have. A change takes effect at the next start.
        url: Option<WrittenText> = settings::secret("DATABASE_URL").lines(&["url = { env = \"DATABASE_URL\" }"]),
        /// The schema of the database that keeps the state. Relays with the same schema share a state, and each account
        /// needs a schema of its own. The schema is made at the first start, if it is missing. Up to 63 lower-case
        /// letters, digits and _, not beginning with pg_. A change takes effect at the next start.
        namespace: Option<WrittenText> = settings::text("name", "a name in quotes", Some("^[a-z0-9_]{1,63}$"))
            .by_default("\"joltsms_relay\""),
    }
}

/// The settings of the state.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state directory.
    pub dir: PathBuf,
    /// The PostgreSQL database that keeps the state; `None` if a SQLite file in the state directory keeps it.
    pub database: Option<Database>,
    /// The schema that keeps the state, if the state is in PostgreSQL.
    pub namespace: String,
    /// How long a message is kept after every sink has it.
    pub keep_delivered: RetentionPeriod,
    /// How long a dead letter is kept.
    pub keep_dead: RetentionPeriod,
    /// The most disk space that the state may take, in bytes.
    pub max_size: u64,
    /// With less free space than this on the disk of the state, in bytes, polling stops.
    pub min_free: u64,
}

impl Settings {
    /// Returns `state.dir` as written. If the key is not written, the caller chooses the directory.
    pub fn written_dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Returns the options of a state whose directory is `dir`; `None` if the settings of the database are wrong.
    /// Errors are added to the report.
    pub fn resolve(self, dir: PathBuf, at: &mut Reader<'_>) -> Option<Options> {
        if let Some(written) = self.namespace.as_ref().filter(|written| !is_schema_name(written.bare())) {
            let help = "write up to 63 lower-case letters, digits and _, such as \"joltsms_relay\"";
            at.refuse("namespace", written, "is not a name for a schema", help);
            return None;
        }
        let namespace = self.namespace.as_ref().map_or(NAMESPACE, WrittenText::bare).to_owned();
        let database = match &self.url {
            Some(url) => Some(database(at, url, &namespace)?),
            None => {
                if let Some(origin) = at.origin("namespace").filter(|_| namespace != NAMESPACE).cloned() {
                    let message = format!("`{}` does nothing without `{}`", at.name("namespace"), at.name("url"));
                    at.warn(&origin, message, "");
                }
                None
            }
        };
        let Self { keep_delivered, keep_dead, max_size, min_free, .. } = self;
        Some(Options { dir, database, namespace, keep_delivered, keep_dead, max_size, min_free })
    }
}

/// Checks the address of a database.
fn database(at: &mut Reader<'_>, url: &WrittenText, namespace: &str) -> Option<Database> {
    let url = at.tidy("url", url, SecretKind::Text)?;
    match Database::new(&Secret::from(url.as_str()), namespace) {
        Ok(database) => Some(database),
        Err(wrong) => {
            let help = "write it as \"postgresql://USER:PASSWORD@HOST/DATABASE\"";
            at.wrong("url", &url.origin, &wrong, help);
            None
        }
    }
}

/// Returns whether PostgreSQL accepts this name of a schema without quotes, and does not reserve it for itself.
fn is_schema_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=LONGEST_NAMESPACE).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with("pg_")
}

impl From<Option<Duration>> for RetentionPeriod {
    fn from(keep: Option<Duration>) -> Self {
        keep.map_or(Self::Forever, Self::For)
    }
}

impl Options {
    /// Returns where the state is.
    pub fn location(&self) -> StateLocation {
        StateLocation::new(&self.dir, self.database.clone())
    }

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
    /// Returns the instant before which settled deliveries are no longer kept; `None` if everything is kept. `now` is
    /// the relay's time; `None` while this time is not confirmed. Without a confirmed time only the period 0 has a
    /// cutoff, because it needs no clock.
    pub fn cutoff(self, now: Option<UnixMs>) -> Option<UnixMs> {
        match self {
            Self::For(Duration::ZERO) => Some(UnixMs::MAX),
            Self::For(keep) => Some(now?.before(keep)),
            Self::Forever => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_for_a_schema_needs_no_quotes() {
        for (name, expected) in [
            ("joltsms_relay", true),
            ("relay_2", true),
            ("2relays", true),
            ("", false),
            ("Relay", false),
            ("a;b", false),
            ("pg_relay", false),
            (&"x".repeat(63), true),
            (&"x".repeat(64), false),
        ] {
            assert_eq!(is_schema_name(name), expected, "{name}");
        }
    }
}
