//! Handing dead letters over: a message that becomes a dead letter of a sink gets a delivery for the fallback of the
//! sink, in the same transaction.

use crate::domain::Seq;
use crate::store::postgres::connection::Statements;
use crate::store::postgres::statement::Param;
use crate::store::recipient::Recipient;
use crate::store::sink_id::SinkId;

/// Hands over dead letters. The parameters are four arrays: the messages, the sinks, their fallbacks, and whether each
/// fallback has `order = "number"`. If two sinks hand the same message over to the same fallback, one delivery is made,
/// and `handed_by` names the sink that comes first in the arrays. A message whose text was removed is not handed over.
const HAND_OVER: &str = "
    INSERT INTO delivery (seq, sink, class, release_no, state, number, handed_by)
    SELECT DISTINCT ON (d.seq, h.fallback)
           d.seq, h.fallback, 1, d.release_no, 'fresh', CASE WHEN h.ordered THEN -1 - coalesce(m.number, 0) END, h.sink
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[]) WITH ORDINALITY
              AS h (seq, sink, fallback, ordered, place)
         JOIN delivery AS d ON d.seq = h.seq AND d.sink = h.sink JOIN message AS m ON m.seq = d.seq
    WHERE d.state = 'dead' AND m.raw IS NOT NULL
    ORDER BY d.seq, h.fallback, h.place
    ON CONFLICT (seq, sink) DO UPDATE SET state = 'fresh', handed_by = excluded.handed_by
        WHERE delivery.state = 'undecided'";

/// Hands each of these dead letters over to the fallback of its sink, if the sink has one. The filter of the fallback
/// is not applied. If the fallback already has a delivery of the message, it gets no second delivery; if that delivery
/// is undecided, it becomes fresh.
///
/// The delivery is backfill. If the fallback has `order = "number"`, the delivery waits in the second queue of its
/// number, as a replayed message does ([`super::order`]). So no new message waits for dead letters of another sink.
pub(super) fn hand_over(
    statements: &Statements<'_>,
    recipients: &[Recipient],
    dead: impl IntoIterator<Item = (SinkId, Seq)>,
) {
    let of = |id: SinkId| recipients.iter().find(|recipient| recipient.id == id);
    let handed: Vec<(SinkId, Seq, &Recipient)> =
        dead.into_iter().filter_map(|(sink, seq)| Some((sink, seq, of(of(sink)?.fallback?)?))).collect();
    if handed.is_empty() {
        return;
    }
    statements.later(
        HAND_OVER,
        vec![
            Param::numbers(handed.iter().map(|(_, seq, _)| seq.0)),
            Param::numbers(handed.iter().map(|(sink, _, _)| sink.0)),
            Param::numbers(handed.iter().map(|(_, _, fallback)| fallback.id.0)),
            Param::Flags(handed.iter().map(|(_, _, fallback)| fallback.ordered).collect()),
        ],
    );
}
