//! Transactions on the names of sinks: a queue gets another name, or goes with all that waits in it.
//!
//! Invariant: a sink that a relay sends to is not dropped; whoever calls makes sure of that, since only it knows whether one
//! runs.

use rusqlite::params;

use super::delivery::{SinkId, last_of_next};
use super::error::Error;
use super::spool::Spool;
use crate::domain::{Seq, SinkName};

/// So many deliveries go in one transaction.
const AT_ONCE: usize = 2000;

impl Spool {
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

    /// Takes the deliveries of a sink away, some of those after `after`, and with the last of them the sink itself. Returns
    /// where to go on; `None`: it is gone.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn drop_sink(&mut self, sink: SinkId, after: Seq) -> Result<Option<Seq>, Error> {
        self.transaction(|transaction| {
            let last = last_of_next(transaction, sink, after, AT_ONCE)?;
            let Some(last) = last else {
                transaction.prepare_cached("DELETE FROM sink WHERE id = ?1")?.execute([sink.0])?;
                return Ok(None);
            };
            transaction
                .prepare_cached("DELETE FROM delivery WHERE seq > ?2 AND seq <= ?3 AND sink = ?1")?
                .execute(params![sink.0, after.0, last])?;
            Ok(Some(Seq(last)))
        })
    }
}
