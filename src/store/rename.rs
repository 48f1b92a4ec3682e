//! Transactions on the names of sinks: a queue gets another name, or goes with all that waits in it.
//!
//! Invariant: a sink that a relay may send to is not dropped, nor one with messages unless that is said; whoever calls knows
//! whether a relay runs.

use rusqlite::{OptionalExtension as _, params};

use super::delivery::last_of_next;
use super::error::Error;
use super::registration::count_ids;
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::{Seq, SinkName};

/// So many deliveries go in one transaction.
const AT_ONCE: usize = 2000;

/// What may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MayDrop {
    /// Also a sink that was configured at the last start: no relay runs, and none can begin.
    pub configured: bool,
    /// Also what waits for it, and its dead letters.
    pub messages: bool,
}

/// One step of dropping a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropping {
    /// There is more, after this.
    GoOn(Seq),
    /// It is gone.
    Gone,
    /// It is configured, and may not go; nothing was changed.
    IsConfigured,
    /// It has messages, and they may not go; nothing was changed.
    HasMessages,
}

impl Spool {
    /// What a sink is called now; `None`: it is gone.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn sink_name(&self, sink: SinkId) -> Result<Option<String>, Error> {
        self.connection
            .prepare_cached("SELECT name FROM sink WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([sink.0], |row| row.get(0)).optional())
            .map_err(|error| self.explain(error))
    }

    /// Gives a sink another name: its queue, its dead letters and its pause go along. Returns whether the name was free.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn rename_sink(&mut self, sink: SinkId, name: &SinkName) -> Result<bool, Error> {
        self.transaction(|transaction| {
            let renamed = transaction
                .prepare_cached(
                    "UPDATE sink SET name = ?2 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM sink WHERE name = ?2)",
                )?
                .execute(params![sink.0, name.as_str()])?;
            Ok(renamed > 0)
        })
    }

    /// Takes the deliveries of a sink away, some of those after `after`, and with the last of them the sink itself. Whether
    /// that may be done is looked at in each of these transactions: a relay may have begun meanwhile, and a command may have
    /// sent something again.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn drop_sink(&mut self, sink: SinkId, after: Seq, may: MayDrop) -> Result<Dropping, Error> {
        self.transaction(|transaction| {
            let is =
                |condition: &str| transaction.prepare_cached(&format!("SELECT 1 FROM {condition}"))?.exists([sink.0]);
            if !may.configured && is("sink WHERE id = ?1 AND active = 1")? {
                return Ok(Dropping::IsConfigured);
            }
            for state in ["undecided", "fresh", "retry", "dead"] {
                if !may.messages && is(&format!("delivery WHERE sink = ?1 AND state = '{state}'"))? {
                    return Ok(Dropping::HasMessages);
                }
            }
            let last = last_of_next(transaction, sink, after, AT_ONCE)?;
            let Some(last) = last else {
                count_ids(transaction)?;
                transaction.prepare_cached("DELETE FROM sink WHERE id = ?1")?.execute([sink.0])?;
                transaction.prepare_cached("DELETE FROM counter WHERE name = 'resumes.' || ?1")?.execute([sink.0])?;
                return Ok(Dropping::Gone);
            };
            transaction
                .prepare_cached("DELETE FROM delivery WHERE seq > ?2 AND seq <= ?3 AND sink = ?1")?
                .execute(params![sink.0, after.0, last])?;
            Ok(Dropping::GoOn(Seq(last)))
        })
    }
}
