//! Somebody holds a transaction open while messages go through, so the server can remove no old version of a record.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::group::Group;
use super::{number_of, tell};
use crate::support::waiting::{now, wait_within};

/// The time between two messages: an hour with a message a second passes in six minutes.
const BETWEEN: Duration = Duration::from_millis(100);

/// The sizes of the tables and of their indexes, the dead versions in the tables, and the three largest tables.
const SIZES: &str = "SELECT pg_size_pretty(sum(pg_table_size(relid))) || ' in tables, ' ||
        pg_size_pretty(sum(pg_indexes_size(relid))) || ' in indexes, ' || sum(n_dead_tup) || ' dead versions (' ||
        (SELECT string_agg(relname || ' ' || pg_size_pretty(pg_total_relation_size(relid)), ', ') FROM (
            SELECT relname, relid FROM pg_stat_user_tables WHERE schemaname = 'joltsms_relay'
            ORDER BY pg_total_relation_size(relid) DESC LIMIT 5) AS largest) || ')'
    FROM pg_stat_user_tables WHERE schemaname = 'joltsms_relay'";

#[test]
fn a_transaction_that_stays_open_holds_up_no_delivery() {
    let messages = number_of("JOLTSMS_RELAY_HELD_MESSAGES").unwrap_or(50);
    let Some(group) = Group::new() else { return };
    let mut group = group.set("POLL__INTERVAL", "100ms");
    // Traffic is ten times as fast as it would be, and so is the cleaning.
    group.server.query("ALTER SYSTEM SET autovacuum_naptime = '6s'");
    group.server.query("SELECT pg_reload_conf()");
    group.start_several(1);
    let report = |group: &Group, moment: &str| tell(&format!("{moment}: {}", group.server.query(SIZES)[0]));
    report(&group, "at the start");
    pass(&group, messages, "no transaction open");
    report(&group, "after that");
    let held = group.server.hold_transaction();
    pass(&group, messages, "a transaction open all the time");
    report(&group, "after that");
    drop(held);
    let cleaned = || {
        group.number(
            "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables
             WHERE schemaname = 'joltsms_relay' AND relname IN ('writer', 'lease', 'coverage', 'request')",
        ) < 2_000
    };
    let took = wait_within(Duration::from_secs(120), "the cleaning by the server", cleaned, || group.logs());
    report(&group, &format!("{took:.0?} after that transaction ended"));
    pass(&group, messages.min(300), "no transaction open");
    report(&group, "after that");
    assert_eq!(group.repeats(), 0);
}

/// Sends messages at an even pace. Tells how long each took until the receiver had it.
fn pass(group: &Group, messages: usize, what: &str) {
    let mut appeared: HashMap<String, Instant> = HashMap::new();
    let began = now();
    for number in 0..messages {
        let at = began + BETWEEN * u32::try_from(number).unwrap();
        wait_within(BETWEEN * 100, "the next message", || now() >= at, || group.logs());
        let added = now();
        appeared.insert(group.scene.add(), added);
    }
    group.wait_for_all();
    let lags: Vec<Duration> = group
        .receiver
        .received()
        .iter()
        .filter_map(|request| Some(request.at.saturating_duration_since(*appeared.get(request.webhook_id())?)))
        .collect();
    let tenth = messages.div_ceil(10);
    tell(&format!(
        "{messages} messages with {what}: lag of delivery {}; of the first tenth {}, of the last tenth {}",
        summary(&lags),
        summary(&lags[..tenth]),
        summary(&lags[lags.len() - tenth..])
    ));
}

fn summary(lags: &[Duration]) -> String {
    let mut sorted = lags.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    format!("median {:.0?}, p99 {:.0?}, worst {:.0?}", at(50), at(99), at(100))
}
