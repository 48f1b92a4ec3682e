//! Finding the end of a portion of a table, for work that is done in portions.

use crate::domain::Seq;
use crate::store::postgres::connection::Statements;
use crate::store::postgres::statement::{Failure, limit, params};
use crate::store::sink_id::SinkId;

/// A portion is the next `at_most` messages with higher sequence numbers than `after`. Returns the sequence number of
/// the last message of the portion; `None` if there is no further message.
pub(super) fn last_of_next_messages(
    statements: &Statements<'_>,
    after: Seq,
    at_most: usize,
) -> Result<Option<i64>, Failure> {
    let last = "SELECT max(seq) FROM (SELECT seq FROM message WHERE seq > $1 ORDER BY seq LIMIT $2) AS portion";
    Ok(statements.value::<Option<i64>>(last, params![after.0, limit(at_most)])?.flatten())
}

/// Does what [`last_of_next_messages`] does, but counts only messages of which the sink has a delivery.
pub(super) fn last_of_next_deliveries(
    statements: &Statements<'_>,
    sink: SinkId,
    after: Seq,
    at_most: usize,
) -> Result<Option<i64>, Failure> {
    let last = "SELECT max(seq) FROM (
                    SELECT seq FROM delivery WHERE seq > $2 AND sink = $1 ORDER BY seq LIMIT $3) AS portion";
    Ok(statements.value::<Option<i64>>(last, params![sink.0, after.0, limit(at_most)])?.flatten())
}
