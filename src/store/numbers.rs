//! Transactions of `order = "number"`: the first waiting message of each number, and numbers for rows that have none.
//!
//! Every row of such a sink has `delivery.number`, and the index `delivery_number` holds those that wait. The first of each
//! number is found by going from number to number in it, so a look costs as much as there are numbers, however many
//! messages wait behind the first of each.
//!
//! What somebody asked for again is a queue of its own beside that of its number, so that a message that comes now never
//! waits for a replay: where the key of the number is `n`, such rows have `-1 - n`. They keep their order among themselves.

use rusqlite::{OptionalExtension as _, params};

use super::delivery::{Chunk, Claim, claim, claims, last_of_next};
use super::error::Error;
use super::release::class_number;
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::{Class, Seq, UnixMs};

/// What may be sent next where the order of each number is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firsts {
    /// For each number at most one: the first that waits, if it is due. The chunk that was asked for holds for each queue:
    /// live messages that were never attempted, those of a catch-up, and retries. So no queue keeps another from its turn,
    /// however many numbers wait there. The first two are in the order of release; retries begin with the longest overdue, so
    /// that none that is refused again and again keeps another number from its turn.
    pub claims: Vec<Claim>,
    /// Whether there are more of them.
    pub more: bool,
    /// When the next of those that are not due yet falls due.
    pub next_due: Option<UnixMs>,
}

/// The first waiting delivery of each number: number, sequence, place, due, class.
pub(super) const FIRSTS: &str = "
WITH RECURSIVE waiting (number) AS (
    SELECT min(number) FROM delivery INDEXED BY delivery_number
    WHERE sink = ?1 AND number IS NOT NULL AND state IN ('fresh', 'retry')
    UNION ALL
    SELECT (SELECT min(number) FROM delivery INDEXED BY delivery_number
            WHERE sink = ?1 AND number > waiting.number AND state IN ('fresh', 'retry'))
    FROM waiting WHERE number IS NOT NULL
)
SELECT first.number, first.seq, first.release_no, first.due, first.class
FROM waiting CROSS JOIN delivery AS first INDEXED BY delivery_number
WHERE first.sink = ?1 AND first.number = waiting.number AND first.state IN ('fresh', 'retry')
  AND first.release_no = (SELECT min(release_no) FROM delivery INDEXED BY delivery_number
                          WHERE sink = ?1 AND number = waiting.number AND state IN ('fresh', 'retry'))";

impl Spool {
    /// For each number the first message that waits for the sink, if it is due and not to be skipped.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn claim_first_of_each_number(
        &self,
        sink: SinkId,
        now: UnixMs,
        chunk: Chunk,
        skip: impl Fn(i64, Seq) -> bool,
    ) -> Result<Firsts, Error> {
        self.try_claim_firsts(sink, now, chunk, skip).map_err(|error| self.explain(error))
    }

    fn try_claim_firsts(
        &self,
        sink: SinkId,
        now: UnixMs,
        chunk: Chunk,
        skip: impl Fn(i64, Seq) -> bool,
    ) -> rusqlite::Result<Firsts> {
        let mut firsts = Firsts::default();
        let (mut live, mut backfill, mut retries) = (Vec::new(), Vec::new(), Vec::new());
        let mut statement = self.connection.prepare_cached(FIRSTS)?;
        let mut rows = statement.query([sink.0])?;
        while let Some(row) = rows.next()? {
            let (seq, due) = (Seq(row.get(1)?), row.get::<_, Option<i64>>(3)?.map(UnixMs));
            if skip(row.get(0)?, seq) {
                continue;
            }
            match due.filter(|due| *due > now) {
                Some(due) => firsts.next_due = Some(firsts.next_due.map_or(due, |earlier| earlier.min(due))),
                None => {
                    let queue = match row.get::<_, i64>(4)? {
                        _ if due.is_some() => &mut retries,
                        class if class == class_number(Class::Live) => &mut live,
                        _ => &mut backfill,
                    };
                    queue.push((due, row.get::<_, i64>(2)?, seq));
                }
            }
        }
        let claims = claims(chunk.details);
        let mut read = self.connection.prepare_cached(&format!("{claims} WHERE d.seq = ?1 AND d.sink = ?2"))?;
        for mut queue in [live, backfill, retries] {
            queue.sort_unstable();
            let (mut claimed, mut bytes) = (0, 0);
            for (_, _, seq) in queue {
                if claimed == chunk.rows || bytes >= chunk.bytes {
                    firsts.more = true;
                    break;
                }
                // Between the two statements a command may have taken it away.
                if let Some(claim) = read.query_row(params![seq.0, sink.0], claim).optional()? {
                    (claimed, bytes) = (claimed + 1, bytes + claim.size());
                    firsts.claims.push(claim);
                }
            }
        }
        Ok(firsts)
    }

    /// Gives their number to rows of a sink that did not keep an order before, in the order in which messages were stored,
    /// at most `at_most` after `after`. Returns where to go on; `None`: all have theirs.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn number_rows(&mut self, sink: SinkId, after: Seq, at_most: usize) -> Result<Option<Seq>, Error> {
        self.transaction(|transaction| {
            let last = last_of_next(transaction, sink, after, at_most)?;
            let Some(last) = last else {
                transaction
                    .prepare_cached("UPDATE sink SET ordered = 2 WHERE id = ?1 AND ordered = 1")?
                    .execute([sink.0])?;
                return Ok(None);
            };
            transaction
                .prepare_cached(
                    "UPDATE delivery SET number = coalesce((SELECT number FROM message WHERE message.seq = delivery.seq), 0)
                     WHERE seq > ?2 AND seq <= ?3 AND sink = ?1 AND number IS NULL",
                )?
                .execute(params![sink.0, after.0, last])?;
            transaction
                .prepare_cached(
                    "UPDATE delivery SET number = -1 - number
                     WHERE seq > ?2 AND seq <= ?3 AND sink = ?1 AND replays > 0 AND number >= 0",
                )?
                .execute(params![sink.0, after.0, last])?;
            Ok(Some(Seq(last)))
        })
    }
}
