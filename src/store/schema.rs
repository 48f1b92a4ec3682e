//! The format on disk.
//!
//! `PRAGMA application_id` says that the file is ours, `PRAGMA user_version` which format it has. A format, once
//! released, is never changed: a new one gets the next number and a migration, and files of the old ones stay in
//! `tests/` and must open for ever.

/// "JoSR".
pub(super) const APPLICATION_ID: i64 = 0x4a6f_5352;

/// The format that this version writes.
pub(super) const VERSION: i64 = 2;

/// Format 2. Times are milliseconds since the Unix epoch. `CHECK`s of more than two words are chains of `OR`: for an `IN`
/// SQLite fills a temporary table at each change of a row.
pub(super) const SCHEMA: &str = "
-- sum, here and below, is the checksum of what the row holds (store::checksum); NULL where a row is older than format 2.

-- One row once the first page was read; see domain::Coverage.
CREATE TABLE coverage (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    frontier      INTEGER NOT NULL,
    watermark     INTEGER NOT NULL,
    anchor        INTEGER NOT NULL,
    start_instant INTEGER NOT NULL,
    next_seq      INTEGER NOT NULL,
    next_walk     INTEGER NOT NULL,
    sum           INTEGER
) STRICT;

-- Open walks; see domain::Walk. trail is a JSON array of cursors.
CREATE TABLE walk (
    id            INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL CHECK (kind = 'gap' OR kind = 'sweep' OR kind = 'seed'),
    sweep_floor   INTEGER,
    streaming     INTEGER NOT NULL,
    cursor        TEXT,
    trail         TEXT NOT NULL,
    floor         INTEGER NOT NULL,
    opened_seq    INTEGER NOT NULL,
    opened_at     INTEGER NOT NULL,
    lowest        INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    empty_answers INTEGER NOT NULL,
    restarts      INTEGER NOT NULL,
    since         INTEGER,
    sum           INTEGER
) STRICT;

-- Every row that was met and is not forgotten. raw is NULL where the body is not kept (or never was);
-- held_by names the gap that holds it; release_no counts in the order in which rows were handed to the sinks; number is a
-- key of the table of that name.
CREATE TABLE message (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    time       INTEGER NOT NULL,
    ingested   INTEGER,
    standing   TEXT NOT NULL CHECK (standing = 'news' OR standing = 'seed' OR standing = 'below_watermark'
                                    OR standing = 'unreadable'),
    held_by    INTEGER,
    release_no INTEGER,
    stored_at  INTEGER NOT NULL,
    raw        TEXT,
    number     INTEGER,
    sum        INTEGER
) STRICT;
CREATE INDEX message_time ON message (time);
CREATE INDEX message_release ON message (release_no) WHERE release_no IS NOT NULL;
CREATE INDEX message_held ON message (held_by) WHERE held_by IS NOT NULL;

-- Sinks are never removed by themselves: their rows outlive the configuration. active = configured at the last start.
-- paused says why nothing is sent until somebody resumes it; busy_until and failures are its breaker's, for the next start.
-- ordered: 0 = each for itself, 1 = in the order of each number, but not all rows have their number yet, 2 = all have.
-- fill_*: a new sink still gets the retained messages from release_no fill_next to fill_last that are not older than
-- fill_since; NULL = it has all that it gets.
CREATE TABLE sink (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    active     INTEGER NOT NULL,
    paused     TEXT CHECK (paused = 'operator' OR paused = 'gone' OR paused = 'closed' OR paused = 'disabled'),
    paused_at  INTEGER,
    busy_until INTEGER,
    failures   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER,
    ordered    INTEGER NOT NULL DEFAULT 0 CHECK (ordered = 0 OR ordered = 1 OR ordered = 2),
    fill_next  INTEGER,
    fill_last  INTEGER,
    fill_since INTEGER
) STRICT;

-- One row for each message and sink, from the release of the message on. undecided = what its sink asks of the number is not
-- known yet; dropped = a dead letter that somebody gave up. paused_ms is how long the sink was paused since first_attempt;
-- replays counts how often somebody asked for it again; number is set where the sink keeps the order of each number: the key
-- of the number, 0 = it names none, and -1 less that for what somebody asked for again (store::numbers).
CREATE TABLE delivery (
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
CREATE INDEX delivery_undecided ON delivery (sink, seq) WHERE state = 'undecided';
CREATE INDEX delivery_fresh ON delivery (sink, class, release_no) WHERE state = 'fresh';
CREATE INDEX delivery_retry ON delivery (sink, due) WHERE state = 'retry';
CREATE INDEX delivery_dead ON delivery (sink, seq) WHERE state = 'dead';
CREATE INDEX delivery_number ON delivery (sink, number, release_no)
    WHERE number IS NOT NULL AND state IN ('fresh', 'retry');

-- Numbers seen in messages: also how another account is told from this one. details is the API's object, as it came.
CREATE TABLE number (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    details    TEXT,
    fetched_at INTEGER
) STRICT;

-- 'released' is the highest release_no ever given, 'commits' the number of transactions (store::commit_counter), 'replays' how often
-- something was left for filters to decide (store::replay), 'sinks' the highest id that a sink ever had, 'resumes.ID' how
-- often somebody has resumed the sink of this id (store::operator); 'anomaly.*' count what domain::Anomaly names.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- api_url, key_fingerprints (JSON array), start, lags (JSON array of milliseconds; domain::Lags), clock (JSON object;
-- time::ClockMemory).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";
