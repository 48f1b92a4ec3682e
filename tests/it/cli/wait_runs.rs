//! Tests of many runs of `wait` at the API's usual limit. `just wait-runs` makes all runs with the release build, and
//! prints the figures for docs/performance.md.

use std::time::Duration;

use crate::support::scenarios::waiters::{Idle, in_a_crowd, on_an_idle_account, runs, summary, with_claims};

/// Set to any value: all runs are made.
const ALL: &str = "JOLTSMS_RELAY_WAIT_RUNS";

/// The limit of the API and of the default settings, in requests a minute.
const LIMIT: usize = 120;

fn makes_all() -> bool {
    std::env::var_os(ALL).is_some()
}

#[test]
fn a_wait_in_a_crowd_of_messages_is_right_every_time() {
    let count = if makes_all() { 100 } else { 2 };
    let crowds = runs(count, 10, in_a_crowd);
    println!("200 messages in 10 s: {}", summary(&crowds));
    assert!(crowds.iter().all(|run| run.is_right && run.requests <= LIMIT && run.refused == 0), "{crowds:?}");
}

#[test]
fn ten_waiters_with_claim_print_ten_different_codes() {
    let count = if makes_all() { 20 } else { 2 };
    let claims = runs(count, 2, with_claims);
    println!("ten waiters with --claim: {}", summary(&claims));
    assert!(claims.iter().all(|run| run.is_right && run.requests <= LIMIT && run.refused == 0), "{claims:?}");
}

/// The latency is printed and not asserted, since a machine that is busy with other tests makes everything late.
#[test]
fn a_wait_on_an_idle_account_stays_within_the_limit() {
    let (count, minute, second) = match makes_all() {
        true => (20, Duration::from_secs(60), Duration::from_secs(1)),
        false => (1, Duration::ZERO, Duration::ZERO),
    };
    let fast = Idle { relay_alone: Some(minute), waits: second };
    let mut accounts = vec![("fast polls, with a relay", fast)];
    if makes_all() {
        accounts.push(("fast polls, no relay", Idle { relay_alone: None, ..fast }));
        accounts.push(("fast polls used up, with a relay", Idle { waits: 30 * second, ..fast }));
    }
    for (name, idle) in accounts {
        let found = runs(count, 20, |run| on_an_idle_account(run, idle));
        println!("{name}: {}", summary(&found));
        assert!(found.iter().all(|run| run.is_right && run.requests <= LIMIT && run.refused == 0), "{found:?}");
    }
}
