//! Tests of the query plans of the statements that run most often, on tables with many records.

use tokio_postgres::Row as PgRow;

use super::super::transactions::{FIRSTS, NEXT_DUE, RETRIES, SETTLE, claims_query, fresh_query};
use super::*;
use crate::store::{ClaimLimits, ForgottenUpTo, RetentionCutoffs, RetentionTransactions as _};

/// Returns how many messages the state has: the number in `JOLTSMS_RELAY_PLANNED_MESSAGES`, or 20,000. With 20,000
/// messages the planner already prefers indexes. Nine of ten messages are delivered.
fn messages() -> i64 {
    std::env::var("JOLTSMS_RELAY_PLANNED_MESSAGES").map_or(20_000, |messages| messages.parse().unwrap())
}

/// The large tables.
const TABLES: [&str; 2] = ["delivery", "message"];

/// How many messages are stored in one transaction. With some millions of messages, one transaction for all of them
/// would exceed the relay's time limit for statements.
const PORTION: i64 = 50_000;

/// What the server knows about the content of the tables when it plans a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistics {
    /// Nothing: the messages were stored a moment ago.
    Missing,
    /// The content at a time when there were a hundred messages, all of them delivered.
    Outdated,
    /// The present content.
    Current,
}

/// Makes a state with many messages, of which one in ten waits. The server makes no statistics of the tables by itself.
fn filled(statistics: Statistics) -> Option<(Database, PostgresBackend)> {
    let database = scratch_database("plans")?;
    let mut spool = PostgresBackend::open(&database).unwrap();
    register(&mut spool, &["crm", "ops"]);
    let on_tables = |statement: &str| {
        let schema = database.namespace();
        let each = TABLES.map(|table| statement.replace("{table}", &format!("{schema}.{table}")));
        run_outside(&database, &each.join(";"));
    };
    on_tables("ALTER TABLE {table} SET (autovacuum_enabled = false)");
    fill(&mut spool, 1, 100, "'delivered'");
    if statistics == Statistics::Outdated {
        on_tables("ANALYZE {table}");
    }
    let state = "CASE n % 20 WHEN 0 THEN 'fresh' WHEN 10 THEN 'retry' ELSE 'delivered' END";
    for first in (101..=messages()).step_by(usize::try_from(PORTION).unwrap()) {
        fill(&mut spool, first, messages().min(first + PORTION - 1), state);
    }
    if statistics == Statistics::Current {
        on_tables("ANALYZE {table}");
    }
    Some((database, spool))
}

/// Stores the messages `first` to `last`, and their deliveries. `state` is an SQL expression for the state of the
/// deliveries of the message with the sequence number `n`.
fn fill(spool: &mut PostgresBackend, first: i64, last: i64, state: &str) {
    for fill in [
        format!(
            "INSERT INTO message (seq, id, time, standing, stored_at, raw, release_no, number)
             SELECT n, n::text::bytea, n, 'news', n, convert_to(repeat('x', 300), 'UTF8'), n, n % 50
             FROM generate_series({first}, {last}) AS n"
        ),
        format!(
            "INSERT INTO delivery (seq, sink, class, release_no, state, due, number)
             SELECT n, sink.id, 0, n, state, CASE state WHEN 'retry' THEN n END, n % 50
             FROM (SELECT n, {state} AS state FROM generate_series({first}, {last}) AS n) AS filled, sink"
        ),
        format!("UPDATE counter SET value = {last} WHERE name = 'released'"),
    ] {
        run(spool, &fill);
    }
}

/// Returns the plan of a query for these values. The server plans the relay's statements in this way: anew each time,
/// for the values at hand.
fn plan(spool: &PostgresBackend, query: &str, params: Vec<Param>) -> String {
    spool.read(|statements| lines(&statements.rows(&format!("EXPLAIN {query}"), params)?)).unwrap()
}

/// Returns a plan of the query that does not depend on the values of its parameters. The server makes such a plan for a
/// statement that was prepared and has been used often.
fn plan_for_any_values(spool: &PostgresBackend, query: &str, params: &[Param]) -> String {
    let types: Vec<String> = params.iter().map(|param| param.typed().1.name().to_owned()).collect();
    let (types, values) = (types.join(", "), vec!["NULL"; params.len()].join(", "));
    let explain = |statements: &Statements<'_>| {
        statements.command("SET LOCAL plan_cache_mode = force_generic_plan")?;
        statements.command(&format!("PREPARE probe ({types}) AS {query}"))?;
        let plan = lines(&statements.rows(&format!("EXPLAIN EXECUTE probe ({values})"), vec![])?);
        statements.command("DEALLOCATE probe")?;
        plan
    };
    spool.read(explain).unwrap()
}

fn lines(rows: &[PgRow]) -> Result<String, Failure> {
    let lines: Vec<String> = rows.iter().map(|line| get(line, 0)).collect::<Result<_, Failure>>()?;
    Ok(lines.join("\n"))
}

/// Returns the statements that claim and settle, with values, and the index that each of them should use.
fn claims_and_settlements() -> Vec<(String, Vec<Param>, &'static str)> {
    let size = "(SELECT octet_length(m.raw)::bigint FROM message AS m WHERE m.seq = d.seq)";
    let some = || Param::numbers([1, 2, 3, messages()]);
    let words = |word: &str| Param::Words(vec![Some(word.to_owned()); 4]);
    let settle = vec![
        some(),
        some(),
        words("delivered"),
        some(),
        some(),
        some(),
        some(),
        words("gave_up"),
        words("no"),
        Param::from(1_i64),
    ];
    vec![
        (fresh_query(false), params![1_i64, 0_i64, i64::MIN, i64::MIN, 100_i64], "delivery_fresh"),
        (
            format!("SELECT d.seq, {size} {RETRIES}"),
            params![1_i64, 9_999_i64, i64::MIN, i64::MIN, 100_i64],
            "delivery_retry",
        ),
        (NEXT_DUE.to_owned(), params![1_i64, 9_999_i64], "delivery_retry"),
        (FIRSTS.replace("{size}", size), params![1_i64], "delivery_number"),
        (claims_query(false), vec![Param::from(1_i64), some()], "delivery_pkey"),
        (claims_query(true), vec![Param::from(1_i64), some()], "delivery_pkey"),
        (SETTLE.to_owned(), settle, "delivery_pkey"),
    ]
}

#[test]
fn claims_and_settlements_are_answered_from_indexes() {
    for statistics in [Statistics::Missing, Statistics::Outdated, Statistics::Current] {
        let Some((_, spool)) = filled(statistics) else { return };
        for (query, params, index) in claims_and_settlements() {
            for plan in [plan_for_any_values(&spool, &query, &params), plan(&spool, &query, params)] {
                assert!(plan.contains(index), "{statistics:?}: {query}\n{plan}");
                for table in TABLES {
                    assert!(!plan.contains(&format!("Seq Scan on {table}")), "{statistics:?}: {query}\n{plan}");
                }
            }
        }
    }
}

/// Returns how often each of the large tables was read as a whole, and how often by an index.
fn reads(database: &Database) -> [(i64, i64); 2] {
    TABLES.map(|table| {
        let count = |column: &str| {
            let counted = format!(
                "SELECT {column} FROM pg_stat_user_tables WHERE schemaname = '{}' AND relname = '{table}'",
                database.namespace()
            );
            number(database, &counted)
        };
        (count("seq_scan"), count("idx_scan"))
    })
}

#[test]
fn the_work_of_a_relay_reads_no_large_table_as_a_whole() {
    let Some((database, filled)) = filled(Statistics::Current) else { return };
    close(&database, filled);
    let before = reads(&database);
    let mut spool = PostgresBackend::open(&database).unwrap();
    let sinks = register(&mut spool, &["crm", "ops"]);
    let next = messages() + 1;
    let now = UnixMs(next * 1000);
    assert_eq!(spool.known(&["m1", "m2"]).unwrap(), [None, None]);
    let page = [insert(next, "hello", RowStanding::News, None), release(&[next]), PollChange::Advance(marks(next))];
    spool.commit(&page, now).unwrap();
    for sink in sinks {
        let few = ClaimLimits { rows: 10, ..ALL };
        let claims = spool.claim_fresh(sink, DeliveryClass::Live, few, &|_| false).unwrap();
        assert_eq!(claims.len(), 10);
        assert!(spool.claim_fresh(sink, DeliveryClass::Backfill, few, &|_| false).unwrap().is_empty());
        assert_eq!(spool.claim_retries(sink, now, few, &|_| false).unwrap().len(), 10);
        spool.claim_first_of_each_number(sink, now, few, &|_, _| false).unwrap();
        spool.next_due(sink, UnixMs(0)).unwrap();
        let all: Vec<_> = claims.iter().map(|claim| settled(sink, claim.seq.0, DELIVERED)).collect();
        spool.settle(&all, now).unwrap();
        spool.waiting(sink).unwrap();
        spool.bring_forward(sink, UnixMs(0), UnixMs(5), 10).unwrap();
    }
    spool.sinks().unwrap();
    spool.dead_letter_reasons().unwrap();
    spool.arrivals(next - 10, 10).unwrap();
    spool.arrivals_before(next, 10).unwrap();
    spool.place_before(UnixMs(next - 10)).unwrap();
    spool.ids_since(UnixMs(next - 10)).unwrap();
    spool.trace("1").unwrap();
    let cutoffs = RetentionCutoffs { delivered: Some(UnixMs(5)), dead: Some(UnixMs(5)) };
    spool.remove_settled(cutoffs, Seq(0)).unwrap();
    spool.forget_ids(UnixMs(5), 10, ForgottenUpTo::START).unwrap();
    spool.disk_usage().unwrap();

    close(&database, spool);
    let after = reads(&database);
    for (table, (before, after)) in TABLES.into_iter().zip(before.into_iter().zip(after)) {
        assert!(after.1 > before.1, "{table} was never read by an index");
        assert_eq!(after.0, before.0, "{table} was read as a whole");
    }
}

#[test]
fn the_first_message_of_each_number_is_found_without_reading_the_others() {
    let Some((_, spool)) = filled(Statistics::Current) else { return };
    let plan = plan(&spool, &format!("(ANALYZE, TIMING OFF) {}", FIRSTS.replace("{size}", "0")), params![1_i64]);
    let most_rows = plan.lines().filter_map(|line| line.split("actual rows=").nth(1)?.split(' ').next()?.parse().ok());
    assert!(most_rows.max().is_some_and(|rows: i64| rows <= 60), "{plan}");
}

#[test]
fn a_page_with_its_deliveries_takes_three_round_trips() {
    let Some(database) = scratch_database("round trips") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    register(&mut spool, &["crm", "ops"]);
    let mut page: Vec<PollChange> = (1..=10).map(|seq| insert(seq, "hello", RowStanding::News, None)).collect();
    page.extend([release(&(1..=10).collect::<Vec<_>>()), PollChange::Advance(marks(10))]);
    page.push(PollChange::PutWalk(Box::new(gap(1))));
    let before = spool.round_trips.get();
    spool.commit(&page, UnixMs(1)).unwrap();
    assert_eq!(spool.round_trips.get() - before, 3);
    let claims = spool.claim_fresh(SinkId(1), DeliveryClass::Live, ALL, &|_| false).unwrap();
    assert_eq!(claims.len(), 10);
    let before = spool.round_trips.get();
    let all: Vec<_> = (1..=10).map(|seq| settled(SinkId(1), seq, DELIVERED)).collect();
    spool.settle(&all, UnixMs(2)).unwrap();
    assert_eq!(spool.round_trips.get() - before, 2);
    assert_eq!(spool.sinks().unwrap()[0].waiting, 0);
}
