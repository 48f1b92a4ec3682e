//! Transactions about numbers: what the API says of them, and deliveries that wait for it.
//!
//! Invariant: a delivery is undecided only while what its sink asks of the number is not known. Once a list of all numbers
//! was read to its end, every number met before it was begun counts as known, as absent if need be.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::Error;
use super::release::details;
use super::retention::let_go;
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::filter::{Facts, FilterVerdict};
use crate::domain::{DeadReason, Seq, UnixMs};

/// The newest number that was met; see [`Spool::end_numbers`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumberKey(i64);

/// Where deciding goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided {
    sink: SinkId,
    seq: Seq,
}

/// What is known of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberDetails {
    /// The API was not asked yet.
    Unknown,
    /// It was asked, and does not list the number.
    Absent,
    /// The JSON text of its row, as it came.
    Known(String),
}

/// Which undecided deliveries are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichUndecided {
    /// All: what the sinks ask may have changed.
    All,
    /// Those whose number is known by now.
    Known,
}

/// So many are decided in one transaction, so that nobody waits long for the writer.
const AT_ONCE: i64 = 500;

/// Of numbers that no message came to, no more than this are kept: a list may have no end.
const MOST_KEPT: i64 = 20_000;

/// What is said of a delivery that waited in vain.
const NO_DETAILS: &str = "the details of its number could not be read, so nobody knows whether the sink wants it";

impl Spool {
    /// Writes down what the API says of numbers: id, and the JSON text of its row. Numbers that were not met in a message
    /// yet count too, up to a limit.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn put_numbers<'a>(
        &mut self,
        numbers: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: UnixMs,
    ) -> Result<(), Error> {
        self.transaction(|transaction| {
            let mut put = transaction.prepare_cached(
                "INSERT INTO number (id, details, fetched_at)
                 SELECT ?1, ?2, ?3 WHERE (SELECT coalesce(max(key), 0) FROM number) < ?4
                                      OR EXISTS (SELECT 1 FROM number WHERE id = ?1)
                 ON CONFLICT (id) DO UPDATE SET details = excluded.details, fetched_at = excluded.fetched_at",
            )?;
            numbers.into_iter().try_for_each(|(id, raw)| put.execute(params![id, raw, now.0, MOST_KEPT]).map(drop))
        })
    }

    /// What is known of the number that the API calls so.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn number_details(&self, id: &str) -> Result<NumberDetails, Error> {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let known: Option<(bool, Option<String>)> = self
            .connection
            .prepare_cached("SELECT fetched_at IS NOT NULL, details FROM number WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], row).optional())
            .map_err(|error| self.explain(error))?;
        Ok(match known {
            Some((_, Some(details))) => NumberDetails::Known(details),
            Some((true, None)) => NumberDetails::Absent,
            Some((false, None)) | None => NumberDetails::Unknown,
        })
    }

    /// The newest number that was met: before a list of all is begun.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn newest_number(&self) -> Result<NumberKey, Error> {
        self.connection
            .prepare_cached("SELECT coalesce(max(key), 0) FROM number")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0).map(NumberKey)))
            .map_err(|error| self.explain(error))
    }

    /// A list of all numbers was read to its end: of those up to `newest`, met before it was begun, the ones that it does
    /// not have are absent. Returns how many.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn end_numbers(&mut self, newest: NumberKey, now: UnixMs) -> Result<usize, Error> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached("UPDATE number SET fetched_at = ?2 WHERE key <= ?1 AND fetched_at IS NULL")?
                .execute(params![newest.0, now.0])
        })
    }

    /// Whether a delivery of a configured sink is undecided.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn has_undecided(&self) -> Result<bool, Error> {
        self.connection
            .prepare_cached(
                "SELECT 1 FROM sink WHERE active = 1
                 AND EXISTS (SELECT 1 FROM delivery WHERE delivery.sink = sink.id AND state = 'undecided')",
            )
            .and_then(|mut statement| statement.exists([]))
            .map_err(|error| self.explain(error))
    }

    /// Decides undecided deliveries of the registered sinks, some hundred behind `after`. Returns how many are to be made
    /// now, and where to go on.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn decide(
        &mut self,
        after: Option<Undecided>,
        which: WhichUndecided,
    ) -> Result<(usize, Option<Undecided>), Error> {
        let recipients = Arc::clone(&self.recipients);
        let mut ids: Vec<SinkId> = recipients.iter().map(|recipient| recipient.id).collect();
        ids.sort_unstable();
        let Undecided { sink, seq } = after.unwrap_or(Undecided { sink: SinkId(0), seq: Seq(-1) });
        for id in ids.into_iter().filter(|id| *id >= sink) {
            let wants = recipients.iter().find(|recipient| recipient.id == id).map(|recipient| recipient.wants.clone());
            let (Some(wants), from) = (wants, if id == sink { seq } else { Seq(-1) }) else { continue };
            let found = self.undecided(id, from, which)?;
            let Some(last) = found.last().map(|(seq, ..)| Seq(*seq)) else { continue };
            let decided: Vec<(i64, bool)> = found
                .iter()
                .filter_map(|(seq, raw, asked, row)| {
                    let facts = Facts::read(raw, details(*asked, row.as_deref()));
                    match wants.decide(&facts) {
                        FilterVerdict::Wanted => Some((*seq, true)),
                        FilterVerdict::Unwanted(_) => Some((*seq, false)),
                        FilterVerdict::Unknown(_) => None,
                    }
                })
                .collect();
            let made = self.decided(id, &decided)?;
            return Ok((made, Some(Undecided { sink: id, seq: last })));
        }
        Ok((0, None))
    }

    /// Makes dead letters of the deliveries of messages stored before `before` that wait for details of their number.
    /// Returns how many.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn give_up_undecided(&mut self, before: Seq, now: UnixMs) -> Result<usize, Error> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE delivery SET state = 'dead', reason = ?1, answer = ?2, settled_at = ?3
                     WHERE state = 'undecided' AND seq < ?4 AND EXISTS (
                         SELECT 1 FROM message AS m JOIN number AS n ON n.key = m.number
                         WHERE m.seq = delivery.seq AND n.fetched_at IS NULL)",
                )?
                .execute(params![DeadReason::GaveUp.as_str(), NO_DETAILS, now.0, before.0])
        })
    }

    #[expect(clippy::type_complexity, reason = "one row of one query")]
    fn undecided(
        &self,
        sink: SinkId,
        after: Seq,
        which: WhichUndecided,
    ) -> Result<Vec<(i64, String, bool, Option<String>)>, Error> {
        let known = match which {
            WhichUndecided::All => "",
            WhichUndecided::Known => "AND (m.number IS NULL OR n.fetched_at IS NOT NULL)",
        };
        let read = || {
            let mut statement = self.connection.prepare_cached(&format!(
                "SELECT d.seq, coalesce(m.raw, ''), m.number IS NULL OR n.fetched_at IS NOT NULL, n.details
                 FROM delivery AS d JOIN message AS m ON m.seq = d.seq LEFT JOIN number AS n ON n.key = m.number
                 WHERE d.sink = ?1 AND d.state = 'undecided' AND d.seq > ?2 {known} ORDER BY d.seq LIMIT ?3"
            ))?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            statement.query_map(params![sink.0, after.0, AT_ONCE], row)?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error: rusqlite::Error| self.explain(error))
    }

    /// Returns how many are wanted.
    fn decided(&mut self, sink: SinkId, decided: &[(i64, bool)]) -> Result<usize, Error> {
        if decided.is_empty() {
            return Ok(0);
        }
        let at_once = self.at_once;
        let (made, went) = self.transaction(|transaction| {
            let mut wanted = transaction.prepare_cached(
                "UPDATE delivery SET state = 'fresh' WHERE seq = ?1 AND sink = ?2 AND state = 'undecided'",
            )?;
            let mut unwanted = transaction
                .prepare_cached("DELETE FROM delivery WHERE seq = ?1 AND sink = ?2 AND state = 'undecided'")?;
            let (mut made, mut went) = (0, false);
            for (seq, is_wanted) in decided {
                if *is_wanted {
                    made += wanted.execute(params![seq, sink.0])?;
                } else {
                    unwanted.execute(params![seq, sink.0])?;
                    went |= at_once && let_go(transaction, Seq(*seq))?;
                }
            }
            Ok((made, went))
        })?;
        self.has_traces |= went;
        Ok(made)
    }
}

/// What waits for a sink that needs the details of numbers is undecided where they are not known: it may not have needed
/// them when the message came.
pub(super) fn put_off(transaction: &Transaction<'_>, sink: SinkId) -> rusqlite::Result<()> {
    // Usually none is, and nothing has to be looked through.
    if !transaction.prepare_cached("SELECT 1 FROM number WHERE fetched_at IS NULL")?.exists([])? {
        return Ok(());
    }
    // One state at a time: each has an index of its own.
    for state in ["fresh", "retry"] {
        transaction.execute(
            &format!(
                "UPDATE delivery SET state = 'undecided' WHERE sink = ?1 AND state = '{state}' AND EXISTS (
                     SELECT 1 FROM message AS m JOIN number AS n ON n.key = m.number
                     WHERE m.seq = delivery.seq AND n.fetched_at IS NULL)"
            ),
            [sink.0],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filter::{Clause, Filter, Globs};
    use crate::domain::{Class, Insert, NumberUse, Row, RowStanding, StoreOp};
    use crate::store::{Chunk, SinkSetup, Wants};

    fn spool(dir: &std::path::Path) -> Spool {
        let mut spool = Spool::open(dir).unwrap();
        let globs = Globs::new(["PayPal"]).unwrap();
        let filter = Filter::any_of(vec![Clause { service: Some(globs), ..Clause::default() }]);
        let pay =
            SinkSetup { wants: Wants { filter: Some(filter), number: NumberUse::Ignored }, ..SinkSetup::new("pay") };
        let told = SinkSetup { wants: Wants { filter: None, number: NumberUse::Needed }, ..SinkSetup::new("told") };
        spool.register_sinks(&[SinkSetup::new("all"), pay, told], UnixMs::MAX, UnixMs(0)).unwrap();
        spool
    }

    fn release(spool: &mut Spool, seq: i64, number: Option<&str>) {
        let row = Row {
            id: format!("m{seq}"),
            readable: true,
            spoiled: None,
            time: UnixMs(seq),
            ingested: None,
            number: number.map(str::to_owned),
            raw: "{}".into(),
        };
        let insert = Insert { seq: Seq(seq), row, standing: RowStanding::News, held_by: None };
        let release = StoreOp::Release { rows: vec![Seq(seq)], class: Class::Live };
        spool.commit(&[StoreOp::Insert(Box::new(insert)), release], UnixMs(0)).unwrap();
    }

    /// For each sink and message its state, such as `1 m1 fresh`.
    fn states(spool: &Spool) -> String {
        spool
            .connection
            .query_row(
                "SELECT group_concat(sink || ' ' || id || ' ' || state, ', ' ORDER BY sink, delivery.seq)
                 FROM delivery JOIN message USING (seq)",
                [],
                |row| row.get(0),
            )
            .unwrap()
    }

    fn decide_all(spool: &mut Spool, which: WhichUndecided) -> usize {
        let (mut made, mut after) = spool.decide(None, which).unwrap();
        while after.is_some() {
            let (more, next) = spool.decide(after, which).unwrap();
            (made, after) = (made + more, next);
        }
        made
    }

    #[test]
    fn what_a_filter_asks_of_a_number_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        for (seq, number) in [(1, Some("a")), (2, Some("b")), (3, Some("gone")), (4, None)] {
            release(&mut spool, seq, number);
        }
        assert_eq!(
            states(&spool),
            "1 m1 fresh, 1 m2 fresh, 1 m3 fresh, 1 m4 fresh, 2 m1 undecided, 2 m2 undecided, 2 m3 undecided, \
             3 m1 undecided, 3 m2 undecided, 3 m3 undecided, 3 m4 fresh"
        );
        assert!(spool.has_undecided().unwrap());
        let newest = spool.newest_number().unwrap();
        assert_eq!(decide_all(&mut spool, WhichUndecided::All), 0, "nothing more is known");
        release(&mut spool, 5, Some("later"));
        spool.put_numbers([("a", r#"{"serviceName":"PayPal"}"#), ("b", "{}"), ("new", "{}")], UnixMs(9)).unwrap();
        assert_eq!(decide_all(&mut spool, WhichUndecided::Known), 3);
        assert_eq!(spool.end_numbers(newest, UnixMs(9)).unwrap(), 1, "only those met before");
        assert_eq!(decide_all(&mut spool, WhichUndecided::Known), 1);
        assert_eq!(
            states(&spool),
            "1 m1 fresh, 1 m2 fresh, 1 m3 fresh, 1 m4 fresh, 1 m5 fresh, 2 m1 fresh, 2 m5 undecided, \
             3 m1 fresh, 3 m2 fresh, 3 m3 fresh, 3 m4 fresh, 3 m5 undecided"
        );
        release(&mut spool, 6, Some("a"));
        assert!(states(&spool).contains("2 m6 fresh"), "known by now");
    }

    #[test]
    fn what_waits_for_a_sink_that_needs_details_from_now_on_waits_for_them_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        spool.put_numbers([("known", "{}")], UnixMs(9)).unwrap();
        for (seq, number) in [(1, Some("a")), (2, Some("known")), (3, None), (4, Some("a"))] {
            release(&mut spool, seq, number);
        }
        spool
            .connection
            .execute("UPDATE delivery SET state = 'retry', attempts = 1, due = 7 WHERE seq = 4", [])
            .unwrap();
        let all = |number| SinkSetup { wants: Wants { filter: None, number }, ..SinkSetup::new("all") };
        spool.register_sinks(&[all(NumberUse::Shown)], UnixMs::MAX, UnixMs(0)).unwrap();
        assert!(states(&spool).starts_with("1 m1 fresh, 1 m2 fresh, 1 m3 fresh, 1 m4 retry, "), "{}", states(&spool));
        spool.register_sinks(&[all(NumberUse::Needed)], UnixMs::MAX, UnixMs(0)).unwrap();
        let waiting = "1 m1 undecided, 1 m2 fresh, 1 m3 fresh, 1 m4 undecided, ";
        assert!(states(&spool).starts_with(waiting), "{}", states(&spool));
        spool.put_numbers([("a", "{}")], UnixMs(9)).unwrap();
        assert_eq!(decide_all(&mut spool, WhichUndecided::Known), 2);
        let decided = "1 m1 fresh, 1 m2 fresh, 1 m3 fresh, 1 m4 fresh, ";
        assert!(states(&spool).starts_with(decided), "{}", states(&spool));
        let chunk = Chunk { rows: 9, bytes: usize::MAX, details: true };
        let claims = spool.claim_fresh(SinkId(1), Class::Live, chunk, |_| false).unwrap();
        let claimed: Vec<_> =
            claims.iter().map(|claim| (claim.id.as_str(), claim.attempts, claim.details.as_deref())).collect();
        let expected = [("m1", 0, Some("{}")), ("m2", 0, Some("{}")), ("m3", 0, None), ("m4", 1, Some("{}"))];
        assert_eq!(claimed, expected);
        let claims = spool.claim_fresh(SinkId(1), Class::Live, Chunk { details: false, ..chunk }, |_| false).unwrap();
        assert!(claims.iter().all(|claim| claim.details.is_none()), "nobody asked");
    }

    #[test]
    fn what_waited_in_vain_is_a_dead_letter() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        for (seq, number) in [(1, Some("a")), (2, None), (3, Some("a"))] {
            release(&mut spool, seq, number);
        }
        assert_eq!(spool.give_up_undecided(Seq(3), UnixMs(7)).unwrap(), 2, "for both sinks");
        assert_eq!(
            states(&spool),
            "1 m1 fresh, 1 m2 fresh, 1 m3 fresh, 2 m1 dead, 2 m3 undecided, 3 m1 dead, 3 m2 fresh, 3 m3 undecided"
        );
    }

    #[test]
    fn a_list_without_an_end_does_not_fill_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        spool.connection.execute("INSERT INTO number (key, id) VALUES (?1, 'met')", [MOST_KEPT]).unwrap();
        spool.put_numbers([("met", "{}"), ("never met", "{}")], UnixMs(9)).unwrap();
        assert_eq!(spool.number_details("met").unwrap(), NumberDetails::Known("{}".to_owned()));
        assert_eq!(spool.number_details("never met").unwrap(), NumberDetails::Unknown);
    }

    #[test]
    fn a_filter_that_was_removed_decides_for_everything() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        (0..1201).for_each(|seq| release(&mut spool, seq, Some("a")));
        spool.register_sinks(&["all", "pay", "told"].map(SinkSetup::new), UnixMs::MAX, UnixMs(0)).unwrap();
        assert_eq!(decide_all(&mut spool, WhichUndecided::All), 2402);
        assert!(!spool.has_undecided().unwrap());
    }
}
