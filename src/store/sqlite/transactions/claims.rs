//! Reading claims: the query, and the function that makes a [`Claim`] from a record.

use std::time::Duration;

use rusqlite::Row as SqlRow;

use super::values::instant;
use crate::domain::{DeliveryClass, Seq, UnixMs};
use crate::store::delivery::{Claim, ClaimLimits};
use crate::store::sqlite::file::checksum::{self, Checksum};
use crate::store::sqlite::file::erasure::text_of;

/// Returns the query that reads claims, without its `WHERE`. With `details`, the query also reads the details of the
/// messages' numbers.
pub(super) fn claims_query(details: bool) -> String {
    let (details, number) = match details {
        true => ("n.details", " LEFT JOIN number AS n ON n.key = m.number"),
        false => ("NULL", ""),
    };
    format!(
        "SELECT d.seq, d.release_no, d.class, m.id, m.raw, d.attempts, d.first_attempt, d.paused_ms,
            m.time, m.sum, d.replays, d.number, {details}, m.number
        FROM delivery AS d JOIN message AS m ON m.seq = d.seq{number}"
    )
}

/// Reads claims from the result of [`claims_query`], up to the limits. Leaves out messages for which `skip` returns
/// `true`.
pub(super) fn read_claims(
    mut rows: rusqlite::Rows<'_>,
    limits: ClaimLimits,
    skip: &dyn Fn(Seq) -> bool,
) -> rusqlite::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    let mut bytes = 0;
    while claims.len() < limits.rows && bytes < limits.bytes {
        let Some(row) = rows.next()? else { break };
        if !skip(Seq(row.get(0)?)) {
            let claim = claim_from_row(row)?;
            bytes += claim.size();
            claims.push(claim);
        }
    }
    Ok(claims)
}

/// Makes a claim from a record that [`claims_query`] has read. A message that differs from what was stored is reported
/// as damage.
pub(super) fn claim_from_row(row: &SqlRow<'_>) -> rusqlite::Result<Claim> {
    let (id, raw) = (row.get::<_, String>(3)?, row.get_ref(4)?.as_str()?);
    checksum::verify(row.get(9)?, Checksum::of_message(&id, row.get(8)?, raw), || format!("message {id:?}"))?;
    Ok(Claim {
        seq: Seq(row.get(0)?),
        release_no: row.get(1)?,
        class: if row.get::<_, i64>(2)? == 0 { DeliveryClass::Live } else { DeliveryClass::Backfill },
        id,
        raw: text_of(raw).into(),
        attempts: row.get(5)?,
        first_attempt: instant(row.get(6)?),
        paused: Duration::from_millis(row.get::<_, i64>(7)?.unsigned_abs()),
        received: UnixMs(row.get(8)?),
        replays: row.get(10)?,
        number: row.get(11)?,
        number_key: row.get(13)?,
        details: row.get::<_, Option<String>>(12)?.map(String::into_boxed_str),
    })
}
