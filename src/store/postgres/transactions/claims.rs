//! Reading claims in two steps: the first step reads the sizes of deliveries and decides which deliveries are claimed,
//! the second step reads the texts of these deliveries.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::Row as PgRow;

use super::values::class_of;
use crate::domain::{Seq, UnixMs};
use crate::store::delivery::{Claim, ClaimLimits};
use crate::store::postgres::connection::Statements;
use crate::store::postgres::statement::{Failure, Param, get, instant, limit, maybe_text, small, text};
use crate::store::sink_id::SinkId;

/// A portion has up to this many deliveries more than may be claimed, because some of its deliveries may be claimed
/// already, and these are left out.
const IN_FLIGHT: usize = 64;

/// The most deliveries in a portion. One statement reads one portion.
const PORTION: usize = 1_000;

/// The column with the number of bytes of text that a claim would hold.
pub(super) fn size_column(details: bool) -> &'static str {
    match details {
        false => "(SELECT octet_length(m.raw)::bigint FROM message AS m WHERE m.seq = d.seq)",
        true => {
            "(SELECT octet_length(m.raw)::bigint + coalesce(octet_length(n.details), 0)
              FROM message AS m LEFT JOIN number AS n ON n.key = m.number WHERE m.seq = d.seq)"
        }
    }
}

/// Returns the query that reads the claims of a sink ($1) on some messages ($2). If `details`, the query reads the
/// details of the messages' numbers too.
pub(in crate::store::postgres) fn claims_query(details: bool) -> String {
    let (details, number) = match details {
        true => ("n.details", " LEFT JOIN number AS n ON n.key = m.number"),
        false => ("NULL::bytea", ""),
    };
    format!(
        "SELECT d.seq, d.release_no, d.class, m.id, m.raw, d.attempts, d.first_attempt, d.paused_ms,
            m.time, d.replays, d.number, {details}, m.number
        FROM delivery AS d JOIN message AS m ON m.seq = d.seq{number} WHERE d.sink = $1 AND d.seq = ANY ($2)"
    )
}

/// One group of claims, which is filled up to the limits.
#[derive(Debug, Default)]
pub(super) struct ClaimGroup {
    pub(super) seqs: Vec<i64>,
    bytes: usize,
}

impl ClaimGroup {
    /// Returns whether the limits allow no further claim.
    pub(super) fn is_full(&self, limits: ClaimLimits) -> bool {
        self.seqs.len() >= limits.rows || self.bytes >= limits.bytes
    }

    /// Adds a message whose claim holds this many bytes of text.
    pub(super) fn add(&mut self, seq: i64, size: Option<i64>) {
        self.seqs.push(seq);
        self.bytes = self.bytes.saturating_add(usize::try_from(size.unwrap_or(0)).unwrap_or(0));
    }
}

/// The argument `after` of [`claim`] for a search that begins with the first delivery.
pub(super) const START: (i64, i64) = (i64::MIN, i64::MIN);

/// Claims the deliveries that `query` finds, up to the limits. Leaves out messages for which `skip` returns `true`.
/// Returns the claims, and the first record that the query found.
///
/// The query reads one portion of deliveries, sorted by two numbers: for example by the due time and the place in the
/// order of release. The first columns of its records are the sequence number of the message, the size, and the two
/// numbers. Its parameters are `params`, then the two numbers after which the portion begins, then the largest number
/// of deliveries in a portion. The first portion begins after `after`, each further one after the last delivery of the
/// previous one.
pub(super) fn claim(
    statements: &Statements<'_>,
    sink: SinkId,
    (query, params): (&str, &[Param]),
    mut after: (i64, i64),
    limits: ClaimLimits,
    skip: &dyn Fn(Seq) -> bool,
) -> Result<(Vec<Claim>, Option<PgRow>), Failure> {
    let mut group = ClaimGroup::default();
    let mut first = None;
    let at_most = limits.rows.saturating_add(IN_FLIGHT).min(PORTION);
    while !group.is_full(limits) {
        let mut values = params.to_vec();
        values.extend([Param::from(after.0), Param::from(after.1), Param::from(limit(at_most))]);
        let found = statements.rows(query, values)?;
        first = first.or_else(|| found.first().cloned());
        for row in &found {
            let seq = get(row, 0)?;
            if !group.is_full(limits) && !skip(Seq(seq)) {
                group.add(seq, get(row, 1)?);
            }
        }
        match found.last() {
            Some(last) if found.len() == at_most => after = (get(last, 2)?, get(last, 3)?),
            _ => break,
        }
    }
    Ok((read_claims(statements, sink, &group.seqs, limits.details)?, first))
}

/// Reads the claims on these messages, in the order of `seqs`.
pub(super) fn read_claims(
    statements: &Statements<'_>,
    sink: SinkId,
    seqs: &[i64],
    details: bool,
) -> Result<Vec<Claim>, Failure> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let params = vec![Param::from(sink.0), Param::numbers(seqs.iter().copied())];
    let rows = statements.rows(&claims_query(details), params)?;
    let claims = rows.iter().map(|row| claim_from_row(row).map(|claim| (claim.seq.0, claim)));
    let mut claims: HashMap<i64, Claim> = claims.collect::<Result<_, _>>()?;
    Ok(seqs.iter().filter_map(|seq| claims.remove(seq)).collect())
}

fn claim_from_row(row: &PgRow) -> Result<Claim, Failure> {
    Ok(Claim {
        seq: Seq(get(row, 0)?),
        release_no: get(row, 1)?,
        class: class_of(row, 2)?,
        id: text(row, 3)?,
        raw: text(row, 4)?.into(),
        attempts: small(row, 5)?,
        first_attempt: instant(row, 6)?,
        paused: Duration::from_millis(get::<i64>(row, 7)?.unsigned_abs()),
        received: UnixMs(get(row, 8)?),
        replays: small(row, 9)?,
        number: get(row, 10)?,
        number_key: get(row, 12)?,
        details: maybe_text(row, 11)?.map(String::into_boxed_str),
    })
}
