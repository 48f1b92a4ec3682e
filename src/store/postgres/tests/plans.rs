//! Tests of the query plans of the statements that run most often, on tables with many records.

use super::super::transactions::{FIRSTS, FRESH, NEXT_DUE, RETRIES, SETTLE, claims_query};
use super::*;

/// Returns how many messages the state has: the number in `JOLTSMS_RELAY_PLANNED_MESSAGES`, or 20,000, with which the
/// planner already prefers indexes. Nine of ten messages are delivered.
fn messages() -> i64 {
    std::env::var("JOLTSMS_RELAY_PLANNED_MESSAGES").map_or(20_000, |messages| messages.parse().unwrap())
}

fn filled() -> Option<PostgresBackend> {
    let database = scratch_database("plans")?;
    let mut spool = PostgresBackend::open(&database).unwrap();
    register(&mut spool, &["crm", "ops"]);
    let messages = messages();
    for fill in [
        format!(
            "INSERT INTO message (seq, id, time, standing, stored_at, raw, release_no, number)
             SELECT n, n::text::bytea, n, 'news', n, convert_to(repeat('x', 300), 'UTF8'), n, n % 50
             FROM generate_series(1, {messages}) AS n"
        ),
        format!(
            "INSERT INTO delivery (seq, sink, class, release_no, state, due, number)
             SELECT n, sink.id, 0, n, CASE n % 20 WHEN 0 THEN 'fresh' WHEN 10 THEN 'retry' ELSE 'delivered' END,
                    CASE n % 20 WHEN 10 THEN n END, n % 50
             FROM generate_series(1, {messages}) AS n, sink"
        ),
        format!("UPDATE counter SET value = {messages} WHERE name = 'released'"),
    ] {
        run(&mut spool, &fill);
    }
    run_outside(&database, &format!("ANALYZE {0}.message; ANALYZE {0}.delivery", database.namespace()));
    Some(spool)
}

fn plan(spool: &PostgresBackend, query: &str, params: Vec<Param>) -> String {
    let explain = |statements: &Statements<'_>| {
        let lines = statements.rows(&format!("EXPLAIN {query}"), params)?;
        lines.iter().map(|line| get::<String>(line, 0)).collect::<Result<Vec<_>, Failure>>()
    };
    spool.read(explain).unwrap().join("\n")
}

#[test]
fn claims_and_settlements_are_answered_from_indexes() {
    let Some(spool) = filled() else { return };
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
    let queries = [
        (
            format!("SELECT d.seq, {size}, $4 {FRESH}"),
            params![1_i64, 0_i64, i64::MIN, i64::MIN, 100_i64],
            "delivery_fresh",
        ),
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
    ];
    for (query, params, index) in queries {
        let plan = plan(&spool, &query, params);
        assert!(plan.contains(index), "{query}\n{plan}");
        for table in ["delivery", "message"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{query}\n{plan}");
        }
    }
}

#[test]
fn the_first_message_of_each_number_is_found_without_reading_the_others() {
    let Some(spool) = filled() else { return };
    let plan = plan(&spool, &format!("(ANALYZE, TIMING OFF) {}", FIRSTS.replace("{size}", "0")), params![1_i64]);
    let most_rows = plan.lines().filter_map(|line| line.split("actual rows=").nth(1)?.split(' ').next()?.parse().ok());
    assert!(most_rows.max().is_some_and(|rows: i64| rows <= 60), "{plan}");
}

#[test]
fn a_page_with_its_deliveries_takes_three_round_trips() {
    let Some(database) = scratch_database("round trips") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    register(&mut spool, &["crm", "ops"]);
    let mut page: Vec<StoreOp> = (1..=10).map(|seq| insert(seq, "hello", RowStanding::News, None)).collect();
    page.extend([release(&(1..=10).collect::<Vec<_>>()), StoreOp::Advance(marks(10))]);
    page.push(StoreOp::PutWalk(Box::new(gap(1))));
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
