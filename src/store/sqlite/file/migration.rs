//! The migrations: they bring state files of earlier formats to the present format.
//!
//! All migrations that a file needs run in one transaction. If they are interrupted, the file has not changed, and the
//! earlier version of the relay can still open it. After the migrations, no earlier version opens it any more.

use super::schema;
use crate::store::error::Error;
use crate::store::sqlite::connection::SqliteBackend;

/// The migrations in their order: the first one turns format 1 into format 2, the next one format 2 into format 3, and
/// so on.
const MIGRATIONS: [&str; 2] = [FROM_1, FROM_2];

/// Turns format 1 into format 2. New in format 2: the records of numbers have keys, and the record of a message names
/// its number. Sinks can be paused. Deliveries can be undecided, dropped and replayed, and can keep the order of each
/// number. Coverage, walks and messages have checksums. Coverage and walks get theirs when they are written the next
/// time; a message that is stored already never gets one.
const FROM_1: &str = "
CREATE TABLE number_2 (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    details    TEXT,
    fetched_at INTEGER
) STRICT;
INSERT INTO number_2 (id) SELECT id FROM number;
DROP TABLE number;
ALTER TABLE number_2 RENAME TO number;

ALTER TABLE message ADD COLUMN number INTEGER;
ALTER TABLE message ADD COLUMN sum INTEGER;
ALTER TABLE coverage ADD COLUMN sum INTEGER;
ALTER TABLE walk ADD COLUMN sum INTEGER;
UPDATE message SET number = (
    SELECT key FROM number WHERE id = CASE WHEN json_valid(raw) THEN json_extract(raw, '$.numberId') END
) WHERE raw IS NOT NULL;

ALTER TABLE sink ADD COLUMN paused TEXT
    CHECK (paused = 'operator' OR paused = 'gone' OR paused = 'closed' OR paused = 'disabled');
ALTER TABLE sink ADD COLUMN paused_at INTEGER;
ALTER TABLE sink ADD COLUMN busy_until INTEGER;
ALTER TABLE sink ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sink ADD COLUMN created_at INTEGER;
ALTER TABLE sink ADD COLUMN ordered INTEGER NOT NULL DEFAULT 0
    CHECK (ordered = 0 OR ordered = 1 OR ordered = 2);
ALTER TABLE sink ADD COLUMN fill_next INTEGER;
ALTER TABLE sink ADD COLUMN fill_last INTEGER;
ALTER TABLE sink ADD COLUMN fill_since INTEGER;

CREATE TABLE delivery_2 (
    seq           INTEGER NOT NULL,
    sink          INTEGER NOT NULL,
    class         INTEGER NOT NULL CHECK (class IN (0, 1)),
    release_no    INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state = 'fresh' OR state = 'delivered' OR state = 'retry' OR state = 'dead'
                                       OR state = 'undecided' OR state = 'dropped'),
    attempts      INTEGER NOT NULL DEFAULT 0,
    first_attempt INTEGER,
    due           INTEGER,
    settled_at    INTEGER,
    status        INTEGER,
    reason        TEXT,
    answer        TEXT,
    paused_ms     INTEGER NOT NULL DEFAULT 0,
    replays       INTEGER NOT NULL DEFAULT 0,
    number        INTEGER,
    PRIMARY KEY (seq, sink)
) STRICT, WITHOUT ROWID;
INSERT INTO delivery_2 (seq, sink, class, release_no, state, attempts, first_attempt, due, settled_at, status, reason, answer)
    SELECT seq, sink, class, release_no, state, attempts, first_attempt, due, settled_at, status, reason, answer
    FROM delivery ORDER BY seq, sink;
DROP TABLE delivery;
ALTER TABLE delivery_2 RENAME TO delivery;
CREATE INDEX delivery_undecided ON delivery (sink, seq) WHERE state = 'undecided';
CREATE INDEX delivery_fresh ON delivery (sink, class, release_no) WHERE state = 'fresh';
CREATE INDEX delivery_retry ON delivery (sink, due) WHERE state = 'retry';
CREATE INDEX delivery_dead ON delivery (sink, seq) WHERE state = 'dead';
CREATE INDEX delivery_number ON delivery (sink, number, release_no)
    WHERE number IS NOT NULL AND state IN ('fresh', 'retry');
";

/// Turns format 2 into format 3. New in format 3: a delivery names the sink that handed its message over, and the table
/// `message` also has the events of numbers.
const FROM_2: &str = "
ALTER TABLE delivery ADD COLUMN handed_by INTEGER;
ALTER TABLE message ADD COLUMN event INTEGER;
";

impl SqliteBackend {
    /// Brings a file of the format `found` to the present format. Only the relay may do this, while no other process
    /// writes.
    pub(super) fn migrate(&mut self, found: i64) -> Result<(), Error> {
        let done = usize::try_from(found).unwrap_or(0).saturating_sub(1);
        let steps = MIGRATIONS.get(done..).unwrap_or_default();
        if steps.is_empty() {
            return Ok(());
        }
        tracing::info!(from = found, to = schema::VERSION, "the state is brought to the format of this version");
        self.transaction(|transaction| {
            for step in steps {
                transaction.execute_batch(step)?;
            }
            transaction.pragma_update(None, "user_version", schema::VERSION)
        })
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn tables(file: &std::path::Path) -> Vec<(String, String)> {
        let connection = Connection::open(file).unwrap();
        let mut statement = connection
            .prepare(
                "SELECT m.name, group_concat(c.name || ' ' || c.type || c.\"notnull\" || coalesce(c.dflt_value, '') || c.pk)
                 FROM sqlite_schema AS m, pragma_table_xinfo(m.name) AS c WHERE m.type = 'table' GROUP BY m.name
                 UNION ALL
                 SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1",
            )
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).map(|(name, sql): (_, String)| (name, sql.replace('"', ""))).collect()
    }

    #[test]
    fn a_migrated_file_has_the_tables_and_indexes_of_a_new_one() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::copy("tests/fixtures/state-1.db", old.path().join("state.db")).unwrap();
        for dir in [&old, &new] {
            drop(SqliteBackend::open(dir.path()).unwrap());
        }
        assert_eq!(tables(&old.path().join("state.db")), tables(&new.path().join("state.db")));
    }

    #[test]
    fn a_migration_keeps_deliveries_and_gives_each_message_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.db");
        std::fs::copy("tests/fixtures/state-1.db", &file).unwrap();
        let query =
            |sql: &str| Connection::open(&file).unwrap().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        let deliveries = "SELECT group_concat(state || coalesce(due, 0) || coalesce(answer, '')) FROM delivery";
        let before = query(deliveries);
        drop(SqliteBackend::open(&file.with_file_name("")).unwrap());
        assert_eq!(query(deliveries), before);
        let named = "SELECT count(*) || ' of ' || count(number) FROM message JOIN number ON key = number
                     WHERE json_extract(raw, '$.numberId') = number.id";
        assert_eq!(query(named), "24 of 24");
    }

    #[test]
    fn there_is_a_way_from_each_format_to_this_one() {
        assert_eq!(i64::try_from(MIGRATIONS.len()).unwrap() + 1, schema::VERSION);
    }
}
