//! Looking at the state without being the relay: for commands, beside a running relay or without one.
//!
//! Invariants: nothing is written. All that one look shows is of one moment. While no relay runs and its journal is gone,
//! the file is opened as immutable, so that no permission to write is needed and nothing is left behind; then the role
//! lock is held, shared, so that no relay begins to write meanwhile. Whenever there is a journal it is read as usual.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{OpenFlags, OptionalExtension as _, Row, params};
use serde::Serialize;

use super::erasure::text_of;
use super::error::Error;
use super::operator::{Pause, Selection};
use super::role::{self, SharedRole};
use super::sink_id::SinkId;
use super::spool::{Spool, connect};
use super::state_files;
use crate::domain::{Marks, Seq, UnixMs, Unread, Walk, WalkKind};

/// The state as it was at one moment.
#[derive(Debug)]
pub struct Look {
    /// For the reading functions.
    pub spool: Spool,
    /// Whether a relay runs on it; `None` = this user may not know.
    pub running: Option<bool>,
    /// Held while no relay may start.
    _role: Option<SharedRole>,
}

/// What the state knows of one sink: an element of `sinks list --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkView {
    /// Its id.
    #[serde(skip)]
    pub id: SinkId,
    /// Its name.
    pub name: String,
    /// Whether it was configured at the last start.
    pub configured: bool,
    /// Whether and why it is paused.
    #[serde(flatten, serialize_with = "Pause::serialize_if_any")]
    pub pause: Option<Pause>,
    /// Messages that it does not have yet: never attempted, failed, or not decided.
    pub waiting: u64,
    /// Those of them that have failed before.
    pub retrying: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest of the waiting ones was read from the API.
    #[serde(rename = "oldest_waiting_at")]
    pub oldest: Option<UnixMs>,
}

/// One dead letter: an element of `dead-letters list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its message, in the store.
    #[serde(skip)]
    pub seq: Seq,
    /// Its sink.
    pub sink: String,
    /// The API's id of the message.
    pub id: String,
    /// When the message was received, by the API's word.
    #[serde(rename = "received_at")]
    pub received: UnixMs,
    /// Attempts that were made.
    pub attempts: u32,
    /// When the first was made.
    #[serde(rename = "first_attempt_at")]
    pub first_attempt: Option<UnixMs>,
    /// When it was given up.
    #[serde(rename = "died_at")]
    pub died: Option<UnixMs>,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why: `gave_up`, …
    pub reason: String,
    /// The last answer, for people.
    pub answer: String,
    /// How often it was sent again from its first attempt on.
    pub replays: u64,
}

/// A place in the order of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterPlace {
    sink: String,
    seq: Seq,
}

impl LetterPlace {
    /// That of a letter.
    pub fn of(letter: &DeadLetter) -> Self {
        Self { sink: letter.sink.clone(), seq: letter.seq }
    }
}

/// So many rows tell how dense the feed is.
const SAMPLE: i64 = 200;

/// Known rows are counted up to here.
const COUNTED: i64 = 100_000;

/// What the state in `dir` takes on the disk, its journal included, in bytes.
pub fn size(dir: &Path) -> u64 {
    let files = ["state.db", "state.db-wal", "state.db-shm"];
    files.iter().filter_map(|file| fs::metadata(dir.join(file)).ok()).map(|found| found.len()).sum()
}

impl Look {
    /// Looks at the state in `dir`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Older`], [`Error::Newer`], [`Error::Damaged`] and [`Error::Io`].
    pub fn at(dir: &Path) -> Result<Option<Self>, Error> {
        let look = || {
            let Some(look) = Self::begin(dir)? else { return Ok(None) };
            look.spool.check_current()?;
            Ok(Some(look))
        };
        look().map_err(|error| state_files::explain_start(dir, error))
    }

    /// The same for a file of any format.
    pub(super) fn begin(dir: &Path) -> Result<Option<Self>, Error> {
        let file = dir.join("state.db");
        match fs::symlink_metadata(&file) {
            Ok(_) => state_files::check_header(&file, false)?,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(Error::Io { doing: "look at", path: file, source }),
        }
        let (running, role) = role::probe(dir)?;
        let journal = dir.join("state.db-wal");
        let immutable = role.is_some() && !fs::exists(&journal).unwrap_or(true);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = match immutable {
            true => connect(&file, flags | OpenFlags::SQLITE_OPEN_URI, immutable_uri)?,
            false => connect(&file, flags, Path::to_owned)?,
        };
        let spool = Spool::on(connection, file);
        spool.begin_looking()?;
        Ok(Some(Self { spool, running, _role: role.filter(|_| immutable) }))
    }
}

fn immutable_uri(file: &Path) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let encoded = file.as_os_str().as_bytes().iter().map(|byte| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("file://{}?immutable=1", encoded.collect::<String>()).into()
}

impl Spool {
    /// Opens an existing state for the small transactions of a command; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Older`], [`Error::Newer`], [`Error::Damaged`] and [`Error::Io`].
    pub fn open_beside(dir: &Path) -> Result<Option<Self>, Error> {
        Self::open_there(dir).map_err(|error| state_files::explain_start(dir, error))
    }

    fn open_there(dir: &Path) -> Result<Option<Self>, Error> {
        let file = dir.join("state.db");
        match fs::symlink_metadata(&file) {
            Ok(_) => state_files::check_header(&file, true)?,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(Error::Io { doing: "look at", path: file, source }),
        }
        let counted = state_files::counted(dir)?;
        let connection = connect(&file, OpenFlags::SQLITE_OPEN_READ_WRITE, Path::to_owned)?;
        let mut spool = Self::on(connection, file);
        spool.untouched(|spool| {
            spool.check_current()?;
            spool.check_count(counted)
        })?;
        spool.configure()?;
        spool.mark = Some(state_files::open_mark(dir)?);
        Ok(Some(spool))
    }

    /// From here on everything is read as it is now.
    fn begin_looking(&self) -> Result<(), Error> {
        self.connection.execute_batch("PRAGMA temp_store = MEMORY; BEGIN").map_err(|error| self.explain(error))
    }

    /// Every sink that there ever was, by name.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn sinks(&self) -> Result<Vec<SinkView>, Error> {
        let read = || {
            let mut statement = self.connection.prepare_cached("SELECT id, name, active FROM sink ORDER BY name")?;
            let rows = statement.query_map([], |row| Ok((SinkId(row.get(0)?), row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<(SinkId, String, bool)>>>()
        };
        let view = |(id, name, configured)| {
            let counts = self.queue(id).map_err(|error| self.explain(error))?;
            let Queue { waiting, retrying, dead, oldest } = counts;
            Ok(SinkView { id, name, configured, pause: self.pause_of(id)?, waiting, retrying, dead, oldest })
        };
        read().map_err(|error| self.explain(error))?.into_iter().map(view).collect()
    }

    /// Each state has an index of its own, so only what waits is counted.
    fn queue(&self, sink: SinkId) -> rusqlite::Result<Queue> {
        let count = |state: &str| {
            self.connection
                .prepare_cached(&format!(
                    "SELECT count(*), min(seq) FROM delivery WHERE sink = ?1 AND state = '{state}'"
                ))?
                .query_row([sink.0], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Option<i64>>(1)?)))
        };
        let ((undecided, first), (fresh, second)) = (count("undecided")?, count("fresh")?);
        let (retrying, third) = count("retry")?;
        let (dead, _) = count("dead")?;
        let oldest = match [first, second, third].into_iter().flatten().min() {
            None => None,
            // Beside a relay it may have been delivered, and gone, since it was counted.
            Some(seq) => self
                .connection
                .prepare_cached("SELECT stored_at FROM message WHERE seq = ?1")?
                .query_row([seq], |row| row.get(0).map(UnixMs))
                .optional()?,
        };
        Ok(Queue { waiting: undecided + fresh + retrying, retrying, dead, oldest })
    }

    /// What tells how much a walk still has to read, beside how many rows there are by the API's word. Costs a few
    /// hundred rows of an index, however long the walk is, and as many as are known in what a sweep still has to read.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn unread(&self, walk: &Walk, marks: &Marks, total: Option<u64>) -> Result<Unread, Error> {
        // A gap that goes on as a sweep has known rows below its floor only.
        let top = if matches!(walk.kind, WalkKind::Gap { .. }) { walk.floor } else { walk.lowest };
        let read = || {
            let (sample_rows, sample_ms) = self
                .connection
                .prepare_cached(
                    "SELECT count(*), coalesce(max(time) - min(time), 0)
                     FROM (SELECT time FROM message WHERE time >= ?1 ORDER BY time LIMIT ?2)",
                )?
                .query_row([walk.lowest.0, SAMPLE], |row| {
                    Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
                })?;
            let known = self
                .connection
                .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM message WHERE time >= ?1 AND time < ?2 LIMIT ?3)")?
                .query_row([walk.deepest_floor().0, top.0, COUNTED], |row| row.get::<_, i64>(0))?;
            let stored = marks.next_seq.0.unsigned_abs().saturating_sub(1);
            Ok(Unread { sample_rows, sample_ms, known: known.unsigned_abs(), stored, total })
        };
        read().map_err(|error| self.explain(error))
    }

    /// Dead letters of a selection, sink by sink, oldest first: the next ones after a place, at most so many. `None` begins.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn dead_letters(
        &self,
        selection: &Selection,
        after: Option<&LetterPlace>,
        at_most: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let letter = |row: &Row<'_>| {
            Ok(DeadLetter {
                seq: Seq(row.get(0)?),
                sink: row.get(1)?,
                id: row.get(2)?,
                received: UnixMs(row.get(3)?),
                attempts: row.get(4)?,
                first_attempt: row.get::<_, Option<i64>>(5)?.map(UnixMs),
                died: row.get::<_, Option<i64>>(6)?.map(UnixMs),
                status: row.get(7)?,
                reason: row.get(8)?,
                answer: row.get(9)?,
                replays: row.get::<_, i64>(10)?.unsigned_abs(),
            })
        };
        let (sink, seq) = after.map_or(("", Seq(i64::MIN)), |place| (place.sink.as_str(), place.seq));
        let read = || {
            self.connection
                .prepare_cached(
                    "SELECT d.seq, s.name, m.id, m.time, d.attempts, d.first_attempt, d.settled_at, d.status,
                            coalesce(d.reason, ''), coalesce(d.answer, ''), d.replays
                     FROM sink AS s CROSS JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
                          JOIN message AS m ON m.seq = d.seq
                     WHERE (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR d.seq = (SELECT seq FROM message WHERE id = ?2))
                       AND s.name >= ?3 AND d.seq > CASE WHEN s.name = ?3 THEN ?4 ELSE ?5 END
                     ORDER BY s.name, d.seq LIMIT ?6",
                )?
                .query_map(
                    params![
                        selection.sink,
                        selection.id,
                        sink,
                        seq.0,
                        i64::MIN,
                        i64::try_from(at_most).unwrap_or(i64::MAX)
                    ],
                    letter,
                )?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.explain(error))
    }

    /// The JSON text of a message, byte for byte; `None` if it is not kept.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn raw(&self, seq: Seq) -> Result<Option<String>, Error> {
        self.connection
            .prepare_cached("SELECT raw FROM message WHERE seq = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([seq.0], |row| Ok(row.get_ref(0)?.as_str_or_null()?.map(|raw| text_of(raw).to_owned())))
            })
            .map_err(|error| self.explain(error))
    }
}

struct Queue {
    waiting: u64,
    retrying: u64,
    dead: u64,
    oldest: Option<UnixMs>,
}
