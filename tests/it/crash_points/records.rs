//! Records of a run: the messages that reached the sinks, and the content of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::story::Stage;
use crate::support::relay::process::id_of;

/// The messages that the sinks have got so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    /// Requests that the receiver accepted: `webhook-id`, id in the body, body.
    pub(crate) taken: Vec<(String, String, String)>,
    /// The lines of the file. The last line may be unfinished.
    pub(crate) lines: Vec<String>,
    /// `whole`: whether the last byte of the file ends a line. `bytes`: the length of the file.
    pub(crate) whole: bool,
    pub(crate) bytes: usize,
}

/// The content of a copy of the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The deliveries that are done, and, in `dead`, the dead letters: each with its sink and its message.
    pub(crate) delivered: BTreeSet<(String, String)>,
    pub(crate) dead: BTreeSet<(String, String)>,
    /// The deliveries that were never attempted, and, in `retried`, the deliveries that are to be retried: each with
    /// its sink and its message.
    pub(crate) fresh: BTreeSet<(String, String)>,
    pub(crate) retried: BTreeSet<(String, String)>,
    /// The messages that were released to the sinks.
    pub(crate) released: BTreeSet<String>,
    /// The number of messages that a gap holds.
    pub(crate) held: usize,
}

impl Records {
    pub(crate) fn of(stage: &Stage) -> Self {
        let received = stage.receiver.received();
        let taken = received.iter().filter(|request| request.status == 200).map(|request| {
            let body = String::from_utf8(request.body.to_vec()).unwrap();
            (request.webhook_id().to_owned(), request.message_id(), body)
        });
        let text = fs::read_to_string(stage.lines()).unwrap_or_default();
        Self {
            taken: taken.collect(),
            lines: text.lines().map(str::to_owned).collect(),
            bytes: text.len(),
            whole: text.is_empty() || text.ends_with('\n'),
        }
    }

    /// Counts the lines of a file, without parsing them.
    pub(crate) fn count_lines(path: &Path) -> usize {
        fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
    }

    /// Returns how often each message reached each sink. A line that is no JSON counts as no message.
    pub(crate) fn counts(&self) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for (_, id, _) in &self.taken {
            *counts.entry(("crm".to_owned(), id.clone())).or_default() += 1;
        }
        for line in self.lines.iter().filter(|line| is_json(line)) {
            *counts.entry(("out".to_owned(), id_of(line))).or_default() += 1;
        }
        counts
    }
}

pub(crate) fn is_json(line: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(line).is_ok()
}

impl State {
    /// Returns the deliveries to these sinks that need not be made any more, each with its sink and message: the message
    /// was released, and no delivery of it to the sink waits.
    pub(crate) fn settled(&self, sinks: impl IntoIterator<Item = &'static str>) -> BTreeSet<(String, String)> {
        let all = sinks.into_iter().flat_map(|sink| self.released.iter().map(move |id| (sink.to_owned(), id.clone())));
        all.filter(|delivery| !self.fresh.contains(delivery) && !self.retried.contains(delivery)).collect()
    }

    /// Reads a copy of the state, so that the next start finds the state untouched.
    pub(crate) fn copy_of(dir: &Path) -> Self {
        let (state, copy) = (dir.join("state"), tempfile::tempdir().unwrap());
        if !state.join("state.db").exists() {
            return Self::default();
        }
        for file in fs::read_dir(&state).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(copy.path().join("state.db"), flags).unwrap();
        let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok", "what a kill left behind");
        let pairs = |state: &str| {
            let mut statement = connection
                .prepare(
                    "SELECT sink.name, message.id FROM delivery JOIN sink ON sink.id = delivery.sink
                     JOIN message ON message.seq = delivery.seq WHERE state = ?1",
                )
                .unwrap();
            let rows = statement.query_map([state], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let mut released = connection.prepare("SELECT id FROM message WHERE release_no IS NOT NULL").unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize;
        Self {
            delivered: pairs("delivered"),
            dead: pairs("dead"),
            fresh: pairs("fresh"),
            retried: pairs("retry"),
            released: released.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect(),
            held: count("SELECT count(*) FROM message WHERE held_by IS NOT NULL"),
        }
    }
}
