//! The tables of a state, and the migrations: statements that make the tables, or bring them to the next format.
//!
//! All migrations that a schema needs run in one transaction, which holds a lock. If several relays start at the same
//! moment, one of them migrates the schema, and the others wait. If the transaction is interrupted, nothing changes. A
//! relay refuses to open a schema of a newer version. But a relay of the previous version may have opened the schema
//! before it was migrated. So a migration removes no table and no column that the previous version uses.

use super::connection::{PostgresBackend, Statements};
use super::database::Database;
use super::statement::{Failure, get, params};
use crate::store::error::Error;

/// The number of the format that this version writes.
const VERSION: i64 = 1;

/// The migrations in their order: the first makes format 1 in an empty schema, and each further migration makes the
/// next format.
const MIGRATIONS: [&str; 1] = [TO_1];

/// Makes the tables of format 1. Times are milliseconds since the Unix epoch, except those by the clock of the
/// database. Texts of the API are bytes (UTF-8): a text of PostgreSQL cannot hold the character NUL, and depends on the
/// encoding of the database. Names are compared byte by byte, whatever the locale of the database.
///
/// The tables whose records change often leave room on their database pages (`fillfactor`), and the server cleans them
/// up early (`autovacuum`).
const TO_1: &str = r#"
CREATE TABLE format (
    one     BIGINT PRIMARY KEY CHECK (one = 1),
    version BIGINT NOT NULL
);
INSERT INTO format VALUES (1, 1);

-- The only record. commits is the number of write transactions. Each write transaction changes this record first, so
-- write transactions run one after the other.
CREATE TABLE writer (
    one     BIGINT PRIMARY KEY CHECK (one = 1),
    commits BIGINT NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
INSERT INTO writer VALUES (1, 0);

-- The only record. holder: the name of the active relay, which has the lease. expires: the end of the lease, by the
-- clock of the database. epoch grows whenever a relay takes the lease.
CREATE TABLE lease (
    one     BIGINT PRIMARY KEY CHECK (one = 1),
    epoch   BIGINT NOT NULL,
    holder  TEXT,
    expires TIMESTAMPTZ
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
INSERT INTO lease VALUES (1, 0, NULL, NULL);

-- The relays that share this state. since: when the relay joined; seen: when it last recorded that it runs. Both are by
-- the clock of the database.
CREATE TABLE replica (
    name  TEXT COLLATE "C" PRIMARY KEY,
    since TIMESTAMPTZ NOT NULL,
    seen  TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- The requests to the API in the last minutes, by the clock of the database: they use slots of the budget. answered is
-- NULL until the answer has come; if a relay died during the request, it stays NULL.
CREATE TABLE request (
    id       BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    epoch    BIGINT NOT NULL,
    sent     TIMESTAMPTZ NOT NULL,
    answered TIMESTAMPTZ
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- Fails if the lease has ended, or if another relay has taken it. own: the epoch of the caller's lease. The function
-- locks the record of the lease until the transaction ends. With this lock the relay can still renew its lease, but
-- another relay has to wait before it can take the lease.
CREATE FUNCTION check_lease(own BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM lease WHERE one = 1 AND epoch = own AND expires > clock_timestamp() FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another relay is the active one, or the lease has ended' USING ERRCODE = 'JR001';
    END IF;
END
$$;

-- Begins a write transaction: waits for other write transactions, and counts this one. own is the epoch of the relay's
-- lease; NULL stands for a command, which needs no lease. A server may be configured to commit without waiting for its
-- disk (synchronous_commit = off). The function sets it to wait, so that the changes survive a power cut.
CREATE FUNCTION begin_change(own BIGINT, OUT transaction TEXT, OUT commits BIGINT) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE writer SET commits = writer.commits + 1 WHERE one = 1 RETURNING writer.commits INTO commits;
    IF own IS NOT NULL THEN
        PERFORM check_lease(own);
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', TRUE);
    END IF;
    transaction := pg_current_xact_id()::text;
END
$$;

-- One record, which is made with the first page; see domain::Coverage.
CREATE TABLE coverage (
    one           BIGINT PRIMARY KEY CHECK (one = 1),
    frontier      BIGINT NOT NULL,
    watermark     BIGINT NOT NULL,
    anchor        BIGINT NOT NULL,
    start_instant BIGINT NOT NULL,
    next_seq      BIGINT NOT NULL,
    next_walk     BIGINT NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- Open walks; see domain::Walk. trail is a JSON array of cursors.
CREATE TABLE walk (
    id            BIGINT PRIMARY KEY,
    kind          TEXT NOT NULL CHECK (kind IN ('gap', 'sweep', 'seed')),
    sweep_floor   BIGINT,
    streaming     BOOLEAN NOT NULL,
    cursor        BYTEA,
    trail         TEXT NOT NULL,
    floor         BIGINT NOT NULL,
    opened_seq    BIGINT NOT NULL,
    opened_at     BIGINT NOT NULL,
    lowest        BIGINT NOT NULL,
    failures      BIGINT NOT NULL,
    empty_answers BIGINT NOT NULL,
    restarts      BIGINT NOT NULL,
    since         BIGINT
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- One record for each row of the feed that was read and is not forgotten, and for each event of a number. raw is the
-- JSON text; NULL if the text is no longer kept, or was never kept. held_by is the gap that holds the message.
-- release_no is the place in the order in which messages were released to the sinks. number is a key of the table
-- number.
CREATE TABLE message (
    seq        BIGINT PRIMARY KEY,
    id         BYTEA NOT NULL UNIQUE,
    time       BIGINT NOT NULL,
    ingested   BIGINT,
    standing   TEXT NOT NULL CHECK (standing IN ('news', 'seed', 'below_watermark', 'unreadable', 'event')),
    held_by    BIGINT,
    release_no BIGINT,
    stored_at  BIGINT NOT NULL,
    raw        BYTEA,
    number     BIGINT
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX message_time ON message (time, seq);
CREATE INDEX message_release ON message (release_no) WHERE release_no IS NOT NULL;
CREATE INDEX message_held ON message (held_by) WHERE held_by IS NOT NULL;

-- A sink stays until an operator drops it, even if it is not configured any more. active: whether the sink was
-- configured at the last start or reload. paused: the reason of the pause; NULL = the sink is not paused. busy_until
-- and failures: the health of the sink, for the next start. ordered: 0 = the sink has no order = "number"; 1 = it has,
-- but some of its deliveries are not in a queue yet; 2 = all its deliveries are in their queues. fill_*: a new sink
-- still gets the stored messages with a release_no from fill_next to fill_last that were received at fill_since or
-- later; NULL = it gets no more of them.
CREATE TABLE sink (
    id         BIGINT PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    active     BOOLEAN NOT NULL,
    paused     TEXT CHECK (paused IN ('operator', 'gone', 'closed', 'disabled')),
    paused_at  BIGINT,
    busy_until BIGINT,
    failures   BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT,
    ordered    BIGINT NOT NULL DEFAULT 0 CHECK (ordered IN (0, 1, 2)),
    fill_next  BIGINT,
    fill_last  BIGINT,
    fill_since BIGINT
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- One record for each message and sink, from the release of the message on. state: see store::DeliveryState. paused_ms:
-- how long the sink was paused since first_attempt. replays: how often an operator asked for the message again. number:
-- the queue of the delivery, if the sink has order = "number". A phone number has two queues. n stands for the first
-- queue: n is the key of the message's number, or 0 if the message names no number. -1 - n stands for the second queue,
-- which is for deliveries that an operator asked for again, or that another sink handed over. handed_by: the sink that
-- handed the message over to this sink as its fallback.
CREATE TABLE delivery (
    seq           BIGINT NOT NULL,
    sink          BIGINT NOT NULL,
    class         BIGINT NOT NULL CHECK (class IN (0, 1)),
    release_no    BIGINT NOT NULL,
    state         TEXT NOT NULL
                  CHECK (state IN ('undecided', 'fresh', 'retry', 'delivered', 'dead', 'dropped')),
    attempts      BIGINT NOT NULL DEFAULT 0,
    first_attempt BIGINT,
    due           BIGINT,
    settled_at    BIGINT,
    status        BIGINT,
    reason        TEXT COLLATE "C",
    answer        TEXT,
    paused_ms     BIGINT NOT NULL DEFAULT 0,
    replays       BIGINT NOT NULL DEFAULT 0,
    number        BIGINT,
    handed_by     BIGINT,
    PRIMARY KEY (seq, sink)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX delivery_undecided ON delivery (sink, seq) WHERE state = 'undecided';
CREATE INDEX delivery_fresh ON delivery (sink, class, release_no) WHERE state = 'fresh';
CREATE INDEX delivery_retry ON delivery (sink, due, release_no) WHERE state = 'retry';
CREATE INDEX delivery_dead ON delivery (sink, seq) WHERE state = 'dead';
CREATE INDEX delivery_number ON delivery (sink, number, release_no)
    WHERE number IS NOT NULL AND state IN ('fresh', 'retry');

-- Numbers that messages named, or that the API listed. The relay recognizes the account by them. Keys are given in
-- order, without gaps. details is the JSON text of the number, as the API lists it. fetched_at: when the API last
-- listed the number, or when a list without the number was read to its end; NULL before that.
CREATE TABLE number (
    key        BIGINT PRIMARY KEY,
    id         BYTEA NOT NULL UNIQUE,
    details    BYTEA,
    fetched_at BIGINT
);

-- 'released': the highest release_no that was ever given. 'replays': how often a command left deliveries undecided.
-- 'sinks': the highest id that a sink ever had. 'resumes.ID': how often the sink with this id was resumed.
-- 'anomaly.WORD': how often this anomaly was met (domain::Anomaly).
CREATE TABLE counter (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
INSERT INTO counter VALUES ('released', 0);

-- The keys: api_url, key_fingerprints (JSON array), start, lags (JSON array of milliseconds; domain::Lags), clock (JSON
-- object; time::ClockMemory), foreign_told.
CREATE TABLE meta (
    key   TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
"#;

/// The first half of the key of the lock under which a schema is made or migrated. It is the letters "JoSR" in ASCII.
/// Other programs on the same database are unlikely to use such a key. The second half is a hash of the schema's name.
const LOCK: i32 = 0x4a6f_5352;

impl PostgresBackend {
    /// Opens the state. A missing schema is made, and a schema of an earlier format is brought to the present format.
    pub(in crate::store) fn open(database: &Database) -> Result<Self, Error> {
        let backend = Self::on(database);
        prepare(&backend)?;
        Ok(backend)
    }

    /// Opens an existing state for a command, or for reading; `None` if there is none.
    pub(in crate::store) fn open_existing(database: &Database) -> Result<Option<Self>, Error> {
        let backend = Self::on(database);
        Ok(is_current(&backend)?.then_some(backend))
    }

    /// Returns whether the schema holds a state, of whatever format.
    pub(super) fn exists(&self) -> Result<bool, Error> {
        let found = self.read(|statements| read_format(statements, self.namespace()))?;
        Ok(matches!(found, SchemaContent::Version(_)))
    }
}

/// Makes the schema if it is missing, and brings it to the present format.
fn prepare(backend: &PostgresBackend) -> Result<(), Error> {
    let namespace = backend.namespace();
    if format_of(backend)?.is_some_and(|found| found == VERSION) {
        return Ok(());
    }
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL search_path TO \"{namespace}\", pg_temp;
         SELECT pg_advisory_xact_lock({LOCK}, hashtext('{namespace}'))"
    );
    let migrated = backend.with_client(|client, runtime| {
        let statements = Statements::new(client, runtime, &backend.round_trips);
        let migrated = statements.command(&begin).and_then(|()| {
            let found = match read_format(&statements, namespace)? {
                SchemaContent::Version(found) => found,
                SchemaContent::Missing => {
                    // An empty schema is not made again: a user of PostgreSQL may be allowed to use a schema without
                    // being allowed to make one.
                    if !statements.exists("SELECT 1 FROM pg_namespace WHERE nspname = $1", params![namespace])? {
                        statements.command(&format!("CREATE SCHEMA \"{namespace}\""))?;
                    }
                    0
                }
                SchemaContent::Foreign => return Ok(None),
            };
            if found > VERSION {
                return Ok(Some(found));
            }
            for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
                statements.command(step)?;
            }
            statements.command(&format!("UPDATE format SET version = {VERSION}; COMMIT"))?;
            if found > 0 && found < VERSION {
                tracing::info!(from = found, to = VERSION, "the state is brought to the format of this version");
            }
            Ok(Some(VERSION))
        });
        statements.send("ROLLBACK");
        migrated
    })?;
    check(backend, migrated)
}

/// Returns whether the schema holds a state. A state of another format is an error.
fn is_current(backend: &PostgresBackend) -> Result<bool, Error> {
    let namespace = || backend.namespace().to_owned();
    match format_of(backend)? {
        None => Ok(false),
        Some(found) if found < VERSION => Err(Error::OlderSchema { namespace: namespace(), found, known: VERSION }),
        Some(_) => Ok(true),
    }
}

/// Returns the number of the schema's format; `None` if the schema is missing or empty.
fn format_of(backend: &PostgresBackend) -> Result<Option<i64>, Error> {
    let namespace = backend.namespace();
    let found = backend.read(|statements| read_format(statements, namespace))?;
    let found = match found {
        SchemaContent::Missing => return Ok(None),
        SchemaContent::Foreign => None,
        SchemaContent::Version(found) => Some(found),
    };
    check(backend, found).map(|()| found)
}

/// Refuses a schema of another program (`found` is `None`) and a schema of a newer version.
fn check(backend: &PostgresBackend, found: Option<i64>) -> Result<(), Error> {
    let namespace = backend.namespace().to_owned();
    match found {
        None => Err(Error::DamagedSchema { namespace, what: "it has tables of another program".to_owned() }),
        Some(found) if found > VERSION => Err(Error::NewerSchema { namespace, found, known: VERSION }),
        Some(_) => Ok(()),
    }
}

/// What a schema holds.
enum SchemaContent {
    /// There is no schema, or it is empty.
    Missing,
    /// The schema has tables, but not those of a relay.
    Foreign,
    /// The schema has the state of a relay, in the format with this number.
    Version(i64),
}

fn read_format(statements: &Statements<'_>, namespace: &str) -> Result<SchemaContent, Failure> {
    let row = statements.row(
        "SELECT current_setting('server_encoding'),
                EXISTS (SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                        WHERE n.nspname = $1 AND c.relname = 'format'),
                EXISTS (SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                        WHERE n.nspname = $1)",
        params![namespace],
    )?;
    let row = row.ok_or_else(|| Failure::unreadable("the catalogue of the database"))?;
    let encoding: String = get(&row, 0)?;
    if encoding != "UTF8" {
        return Err(Failure::unreadable(format!("the database has the encoding {encoding}, and not UTF8")));
    }
    match (get(&row, 1)?, get(&row, 2)?) {
        (true, _) => {
            let version: Option<i64> = statements.value("SELECT version FROM format", Vec::new())?;
            Ok(version.map_or(SchemaContent::Foreign, SchemaContent::Version))
        }
        (false, true) => Ok(SchemaContent::Foreign),
        (false, false) => Ok(SchemaContent::Missing),
    }
}

#[cfg(test)]
mod version_tests {
    use super::*;

    #[test]
    fn there_is_a_way_from_each_format_to_this_one() {
        assert_eq!(i64::try_from(MIGRATIONS.len()).unwrap(), VERSION);
    }
}
