//! Everything that the state knows of one message.

use rusqlite::{OptionalExtension as _, params};
use serde::{Serialize, Serializer};

use super::error::Error;
use super::spool::Spool;
use crate::domain::{RowStanding, UnixMs, WalkId};

/// One message, and what became of it: `trace --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The API's id.
    pub id: String,
    /// When it was received, by the API's word.
    #[serde(rename = "received_at")]
    pub received: UnixMs,
    /// When the API had it, by its word.
    #[serde(rename = "ingested_at")]
    pub ingested: Option<UnixMs>,
    /// When the relay first read it.
    #[serde(rename = "first_read_at")]
    pub first_read: UnixMs,
    /// What it is.
    pub standing: RowStanding,
    /// The walk that must end before it is handed on.
    #[serde(rename = "held", serialize_with = "is_some")]
    pub held_by: Option<WalkId>,
    /// Its place in the order in which messages were handed on.
    #[serde(rename = "release")]
    pub release_no: Option<i64>,
    /// How many bytes its text has; `None`: it is not kept.
    pub bytes: Option<u64>,
    /// The API's id of its number.
    #[serde(rename = "number_id")]
    pub number: Option<String>,
    /// One for each sink that there is a delivery for, by name.
    #[serde(rename = "sinks")]
    pub fates: Vec<Fate>,
    /// Configured sinks that there is none for.
    #[serde(rename = "not_for")]
    pub without: Vec<String>,
}

fn is_some<S: Serializer>(walk: &Option<WalkId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(walk.is_some())
}

/// What became of a message at one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// The sink.
    pub sink: String,
    /// Whether it was configured at the last start.
    pub configured: bool,
    /// Whether nothing is sent to it now.
    pub paused: bool,
    /// `undecided`, `fresh`, `retry`, `delivered`, `dead` or `dropped`.
    pub state: String,
    /// Attempts so far, since it was last asked for again.
    pub attempts: u32,
    /// When the first of them was made.
    #[serde(rename = "first_attempt_at")]
    pub first_attempt: Option<UnixMs>,
    /// When the last of them ended, or what it waited for did.
    #[serde(rename = "settled_at")]
    pub settled: Option<UnixMs>,
    /// When the next is due.
    #[serde(rename = "due_at")]
    pub due: Option<UnixMs>,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why it is a dead letter.
    pub reason: Option<String>,
    /// The last answer, for people.
    pub answer: Option<String>,
    /// How often somebody asked for it again.
    pub replays: u32,
}

impl Spool {
    /// What is known of the message with this id; `None`: nothing.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn trace(&self, id: &str) -> Result<Option<Trace>, Error> {
        self.try_trace(id).map_err(|error| self.explain(error))
    }

    fn try_trace(&self, id: &str) -> rusqlite::Result<Option<Trace>> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT m.id, time, ingested, stored_at, standing, held_by, release_no, octet_length(ltrim(raw, ' ')), n.id, seq
                 FROM message AS m LEFT JOIN number AS n ON n.key = m.number WHERE m.id = ?1",
            )?
            .query_row([id], |row| {
                let trace = Trace {
                    id: row.get(0)?,
                    received: UnixMs(row.get(1)?),
                    ingested: row.get::<_, Option<i64>>(2)?.map(UnixMs),
                    first_read: UnixMs(row.get(3)?),
                    standing: RowStanding::from_word(row.get_ref(4)?.as_str()?),
                    held_by: row.get::<_, Option<i64>>(5)?.map(WalkId),
                    release_no: row.get(6)?,
                    bytes: row.get::<_, Option<i64>>(7)?.map(i64::unsigned_abs),
                    number: row.get(8)?,
                    fates: Vec::new(),
                    without: Vec::new(),
                };
                Ok((trace, row.get::<_, i64>(9)?))
            })
            .optional()?;
        let Some((mut trace, seq)) = found else { return Ok(None) };
        trace.fates = self
            .connection
            .prepare_cached(
                "SELECT name, active, paused IS NOT NULL, state, attempts, first_attempt, settled_at, due, status, reason,
                        answer, replays
                 FROM delivery AS d JOIN sink AS s ON s.id = d.sink WHERE d.seq = ?1 ORDER BY name",
            )?
            .query_map([seq], |row| {
                Ok(Fate {
                    sink: row.get(0)?,
                    configured: row.get(1)?,
                    paused: row.get(2)?,
                    state: row.get(3)?,
                    attempts: row.get(4)?,
                    first_attempt: row.get::<_, Option<i64>>(5)?.map(UnixMs),
                    settled: row.get::<_, Option<i64>>(6)?.map(UnixMs),
                    due: row.get::<_, Option<i64>>(7)?.map(UnixMs),
                    status: row.get(8)?,
                    reason: row.get(9)?,
                    answer: row.get(10)?,
                    replays: row.get(11)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        trace.without = self
            .connection
            .prepare_cached(
                "SELECT name FROM sink WHERE active = 1
                 AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq = ?1 AND sink = sink.id) ORDER BY name",
            )?
            .query_map(params![seq], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some(trace))
    }
}
