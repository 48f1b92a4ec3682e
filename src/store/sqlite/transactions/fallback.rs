//! Handing dead letters over: a message that becomes a dead letter of a sink gets a delivery for the fallback of the
//! sink, in the same transaction.

use rusqlite::{Transaction, params};

use crate::domain::Seq;
use crate::store::recipient::Recipient;
use crate::store::sink_id::SinkId;

/// Hands the dead letter `seq` of `sink` over to the fallback of the sink, if the sink has one. The filter of the
/// fallback is not applied. If the fallback already has a delivery of the message, it gets no second delivery; if that
/// delivery is undecided, it becomes fresh.
///
/// The delivery is backfill. If the fallback keeps the order of each number, the delivery waits in the second queue of
/// its number, as a replayed message does ([`super::order`]). So new messages never wait for dead letters of another
/// sink.
pub(super) fn hand_over(
    transaction: &Transaction<'_>,
    recipients: &[Recipient],
    sink: SinkId,
    seq: Seq,
) -> rusqlite::Result<()> {
    let of = |id: SinkId| recipients.iter().find(|recipient| recipient.id == id);
    let Some(fallback) = of(sink).and_then(|recipient| of(recipient.fallback?)) else { return Ok(()) };
    transaction
        .prepare_cached(
            "INSERT INTO delivery (seq, sink, class, release_no, state, number, handed_by)
             SELECT d.seq, ?3, 1, d.release_no, 'fresh', CASE WHEN ?4 THEN -1 - coalesce(m.number, 0) END, ?2
             FROM delivery AS d JOIN message AS m ON m.seq = d.seq
             WHERE d.seq = ?1 AND d.sink = ?2 AND d.state = 'dead' AND m.raw IS NOT NULL
             ON CONFLICT (seq, sink) DO UPDATE SET state = 'fresh', handed_by = excluded.handed_by
                 WHERE delivery.state = 'undecided'",
        )?
        .execute(params![seq.0, sink.0, fallback.id.0, fallback.ordered])
        .map(drop)
}
