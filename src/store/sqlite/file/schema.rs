//! The format of the state file.
//!
//! `PRAGMA application_id` says that the file belongs to a relay, and `PRAGMA user_version` says which format the file
//! has. A format is never changed once a published version of the relay has used it. A new format gets the next number
//! and a migration. A file of each old format stays in `tests/fixtures/`, and every later version has to open it.

/// The `application_id` of a state file: the bytes "JoSR".
pub(super) const APPLICATION_ID: i64 = 0x4a6f_5352;

/// The number of the format that this version writes.
pub(super) const VERSION: i64 = 3;

/// The statements that make an empty file of format 3. Times are milliseconds since the Unix epoch. A `CHECK` that
/// allows more than two words is a chain of `OR`: with an `IN`, SQLite would fill a temporary table at each change of
/// a record.
pub(super) const SCHEMA: &str = "
-- sum, here and below, is the checksum of values of the record (checksum.rs). It is NULL for a message without a text,
-- and for a record that was written in format 1.

-- One record, which is made when the first page of the feed is stored; see domain::Marks.
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

-- One record for each row of the feed that was read and is not forgotten, and for each event of a number. raw is the
-- JSON text; NULL if the text is no longer kept, or was never kept. held_by is the gap that holds the message.
-- release_no is the place in the order in which messages were released to the sinks. number is a key of the table
-- number. event: 1 for an event, whose standing is 'news' here; NULL for a row of the feed.
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
    sum        INTEGER,
    event      INTEGER
) STRICT;
CREATE INDEX message_time ON message (time);
CREATE INDEX message_release ON message (release_no) WHERE release_no IS NOT NULL;
CREATE INDEX message_held ON message (held_by) WHERE held_by IS NOT NULL;

-- A sink stays until an operator drops it, even if it is not configured any more. active: whether the sink was
-- configured at the last start or reload. paused: the reason of the pause; NULL = not paused. busy_until and failures:
-- the health of the sink, for the next start. ordered: 0 = the sink keeps no order; 1 = it keeps the order of each
-- number, but some of its deliveries are not in a queue yet; 2 = all its deliveries are in their queues. fill_*: a new
-- sink still gets the stored messages with a release_no from fill_next to fill_last that were received at fill_since or
-- later; NULL = it gets no more of them.
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

-- One record for each message and each sink that gets it, from the release of the message on. class: 0 = live, 1 =
-- backfill. state: see store::DeliveryState. paused_ms: how long the sink was paused since first_attempt. replays: how
-- often an operator asked for the message again. number: the queue of the delivery, if the sink keeps the order of each
-- number. The phone number with the key n has two queues (n is 0 for messages that name no number). In the column, n is
-- the queue of new messages, and -1 - n the queue of messages that an operator asked for again, or that another sink
-- handed over. handed_by: the sink that handed the message over to this sink as its fallback.
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
    handed_by     INTEGER,
    PRIMARY KEY (seq, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_undecided ON delivery (sink, seq) WHERE state = 'undecided';
CREATE INDEX delivery_fresh ON delivery (sink, class, release_no) WHERE state = 'fresh';
CREATE INDEX delivery_retry ON delivery (sink, due) WHERE state = 'retry';
CREATE INDEX delivery_dead ON delivery (sink, seq) WHERE state = 'dead';
CREATE INDEX delivery_number ON delivery (sink, number, release_no)
    WHERE number IS NOT NULL AND state IN ('fresh', 'retry');

-- Numbers that messages named, or that the API listed. The relay recognizes the account by them. details is the JSON
-- text that the API sent. fetched_at is NULL until the API was asked for the number.
CREATE TABLE number (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    details    TEXT,
    fetched_at INTEGER
) STRICT;

-- 'released' is the highest release_no ever given, 'commits' the number of transactions (commit_counter.rs), 'replays'
-- how often a replay made undecided deliveries, 'sinks' the highest id that a sink ever had, 'resumes.ID' how often the
-- sink with this id was resumed, and 'anomaly.WORD' how often an anomaly happened (domain::Anomaly).
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The keys: api_url, key_fingerprints (JSON array), start (poll.start of the first run), lags (JSON array of
-- milliseconds; domain::Lags), clock (JSON object; time::ClockMemory), foreign_told (foreign requests a minute, as the
-- log last reported them).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";
