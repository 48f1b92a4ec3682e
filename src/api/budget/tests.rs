//! Tests of the budget against a server with a fixed window, on a network with random delays: the relay never exceeds
//! the limit, and it uses nearly all of the limit.

mod model;
mod windows;

use std::time::Duration;

use proptest::prelude::*;

use self::model::{LIMIT, Run, Setup};
use super::{Budget, BudgetLimits, CommandBudget, Demand, Permission, RateHeaders, RequestPurpose, WINDOW, Window};
use crate::domain::UnixMs;
use crate::time::{Clock, Instant};

fn limits(interval_ms: u64) -> BudgetLimits {
    BudgetLimits { requests: LIMIT, window: Duration::from_secs(60), head_interval: Duration::from_millis(interval_ms) }
}

fn origin() -> Instant {
    Clock::starting_at(UnixMs(0)).monotonic()
}

/// Runs the model on the documented API for this many seconds, with one head request and one background request at a
/// time, as the poller sends them.
fn run(
    seed: u64,
    interval_ms: u64,
    backlog: Demand,
    jitter_ms: f64,
    foreign_per_minute: u64,
    seconds: u64,
    restart: bool,
) -> Run {
    let restarts = if restart { vec![seconds / 2] } else { Vec::new() };
    Setup { seed, interval_ms, backlog, jitter_ms, foreign_per_minute, seconds, restarts, ..Setup::default() }.run()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_more_than_the_limit_in_any_minute(
        seed in any::<u64>(),
        interval in 100_u64..3000,
        backlog in prop::sample::select(vec![Demand::Nothing, Demand::Sweeps, Demand::Walks]),
        jitter in 1.0_f64..2000.0,
        restart in any::<bool>(),
    ) {
        let run = run(seed, interval, backlog, jitter, 0, 300, restart);
        prop_assert!(run.most_in_a_minute() <= LIMIT as usize);
        prop_assert!(run.refused.is_empty(), "{} refused", run.refused.len());
    }
}

#[test]
fn a_backlog_uses_the_budget() {
    for seed in 0..10 {
        let run = run(seed, 1000, Demand::Walks, 200.0, 0, 600, false);
        let used = run.arrivals.len();
        assert!(used >= 1200 * 95 / 100, "seed {seed}: {used} of 1200");
    }
}

#[test]
fn a_backlog_does_not_slow_the_head_down() {
    for seed in 0..10 {
        let run = run(seed, 1000, Demand::Walks, 200.0, 0, 600, true);
        let longest = run.polls.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_millis(2500), "seed {seed}: {longest:?}");
    }
}

#[test]
fn polls_at_the_limit_stay_even() {
    for seed in 0..10 {
        let run = run(seed, 500, Demand::Nothing, 50.0, 0, 600, false);
        let longest = run.polls.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_millis(900), "seed {seed}: {longest:?}");
    }
}

#[test]
fn sweeps_hardly_slow_polls_at_the_limit_down() {
    for seed in 0..10 {
        let run = run(seed, 500, Demand::Sweeps, 50.0, 0, 600, false);
        let longest = run.polls.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_millis(1050), "seed {seed}: {longest:?}");
    }
}

#[test]
fn the_relay_leaves_requests_to_another_program_on_the_key() {
    for backlog in [Demand::Nothing, Demand::Walks, Demand::Sweeps] {
        for seed in 0..10 {
            let run = run(seed, 500, backlog, 100.0, 60, 600, false);
            let mut refused = run.refused.clone();
            refused.dedup_by(|late, early| *late < *early + Duration::from_secs(59));
            assert_eq!(refused.len(), run.refused.len(), "more than one 429 in a minute");
            assert!(run.refused.len() <= 10, "seed {seed}: {} refused", run.refused.len());
            assert!(run.arrivals.len() >= 500, "seed {seed}: {} left for us", run.arrivals.len());
        }
    }
}

/// The number of requests left for the relay is the relay's own limit, or the part of the API's limit that another
/// program leaves, whichever is less.
#[test]
fn requests_of_other_programs_are_subtracted_once() {
    let now = origin();
    for (configured, server, others, left) in
        [(120, 120, 0, 120), (120, 120, 60, 60), (60, 120, 60, 60), (60, 120, 90, 30), (120, 60, 30, 30)]
    {
        let mut window = Window::new(BudgetLimits { requests: configured, ..limits(60_000) });
        let headers = RateHeaders {
            limit: Some(server),
            remaining: Some(server - others - 1),
            reset: Some(Duration::from_secs(60)),
            ..RateHeaders::default()
        };
        let first = window.send(RequestPurpose::Head, now);
        window.answered(first, &headers, now);
        assert_eq!(window.foreign(), others);
        let mut sent = 1;
        while window.admit(RequestPurpose::Head, now) == Permission::Go {
            window.send(RequestPurpose::Head, now);
            sent += 1;
        }
        assert_eq!(sent, left, "{configured} of {server} beside {others}");
    }
}

#[test]
fn only_one_request_before_the_first_answer() {
    let now = origin();
    let mut window = Window::new(limits(1000));
    assert_eq!(window.admit(RequestPurpose::Head, now), Permission::Go);
    let ticket = window.send(RequestPurpose::Head, now);
    assert_eq!(window.admit(RequestPurpose::Walk, now), Permission::WaitForAnswer);
    window.answered(ticket, &RateHeaders::default(), now);
    assert_eq!(window.admit(RequestPurpose::Walk, now), Permission::Go);
}

#[test]
fn headers_only_tighten_the_budget() {
    let now = origin();
    let headers = |remaining, reset| RateHeaders {
        limit: Some(LIMIT),
        remaining: Some(remaining),
        reset: Some(Duration::from_secs(reset)),
        ..RateHeaders::default()
    };
    let mut window = Window::new(limits(1000));
    let mut ask = |headers: RateHeaders| {
        let ticket = window.send(RequestPurpose::Head, now);
        window.answered(ticket, &headers, now);
        window.admit(RequestPurpose::Head, now)
    };
    assert_eq!(ask(headers(3, 40)), Permission::Go);
    assert_eq!(ask(headers(100, 40)), Permission::Go, "the same window cannot have more left than before");
    assert_eq!(ask(headers(0, 30)), Permission::WaitUntil(now + Duration::from_secs(30)));
}

#[test]
fn silence_after_a_429_grows_if_it_is_repeated() {
    let now = origin();
    let mut window = Window::new(limits(1000));
    let reset = |seconds| RateHeaders { reset: Some(Duration::from_secs(seconds)), ..RateHeaders::default() };
    let fallback = |times: u32| Duration::from_secs(u64::from(times) * 10);
    assert_eq!(window.refused(&reset(42), fallback, now), Duration::from_secs(42));
    assert_eq!(window.admit(RequestPurpose::Head, now), Permission::WaitUntil(now + Duration::from_secs(42)));
    assert_eq!(window.refused(&reset(1), fallback, now), Duration::from_secs(20));
    assert_eq!(window.refused(&RateHeaders::default(), fallback, now), Duration::from_secs(30));
    let accepted = window.send(RequestPurpose::Head, now);
    window.not_refused(accepted);
    let asked = RateHeaders { retry_after: Some(Duration::from_secs(7)), ..RateHeaders::default() };
    assert_eq!(window.refused(&asked, fallback, now), Duration::from_secs(7));
}

#[test]
fn sweeps_take_a_fifth_at_most() {
    let now = origin();
    let mut window = Window::new(limits(1000));
    let mut sent = 0;
    while window.admit(RequestPurpose::Sweep, now) == Permission::Go {
        let ticket = window.send(RequestPurpose::Sweep, now);
        window.answered(ticket, &RateHeaders::default(), now);
        sent += 1;
    }
    assert_eq!(sent, 24);
    assert_eq!(window.admit(RequestPurpose::Walk, now), Permission::Go);
}

#[test]
fn a_limit_of_one_still_polls() {
    let now = origin();
    let mut window = Window::new(BudgetLimits { requests: 1, ..limits(1000) });
    for lane in [RequestPurpose::Head, RequestPurpose::Walk, RequestPurpose::Sweep] {
        assert_eq!(window.admit(lane, now), Permission::Go);
    }
    let ticket = window.send(RequestPurpose::Head, now);
    window.answered(ticket, &RateHeaders::default(), now);
    assert_eq!(window.admit(RequestPurpose::Walk, now), Permission::WaitUntil(now + Duration::from_secs(60)));
}

#[test]
fn a_request_under_way_at_a_kill_may_arrive_after_the_next_start() {
    let start = origin();
    let minute = Duration::from_secs(60);
    let mut window = Window::new(BudgetLimits { requests: 1, ..limits(1000) });
    window.remember_under_way(start);
    let Permission::WaitUntil(free) = window.admit(RequestPurpose::Head, start + minute) else { panic!("no wait") };
    assert!(free > start + minute, "counted from its arrival, not from the start of this process");
    assert_eq!(window.admit(RequestPurpose::Head, free), Permission::Go);
}

#[tokio::test(start_paused = true)]
async fn an_age_in_whole_milliseconds_frees_no_slot_early() {
    const MINUTE: Duration = Duration::from_secs(60);
    let clock = Clock::starting_at(UnixMs(0));
    let now = clock.monotonic() + MINUTE;
    let mut window = Window::new(BudgetLimits { requests: 1, window: MINUTE, head_interval: Duration::from_secs(1) });
    window.remember(MINUTE, now);
    assert!(
        matches!(window.admit(RequestPurpose::Head, now), Permission::WaitUntil(_)),
        "the true age may be a little less than a minute"
    );
    assert_eq!(window.admit(RequestPurpose::Head, now + Duration::from_millis(1)), Permission::Go);
}

#[tokio::test(start_paused = true)]
async fn requests_of_commands_count_for_the_relay() {
    let dir = tempfile::tempdir().unwrap();
    let wall = UnixMs(1_000_000_000);
    let now = Clock::starting_at(wall).monotonic();
    let limits = BudgetLimits { requests: 4, window: WINDOW, head_interval: Duration::from_secs(1) };
    let mut relay = Budget::open(limits, dir.path(), now, wall).unwrap();
    let commands = CommandBudget::open(dir.path(), 4).unwrap();
    assert_eq!(relay.admit(RequestPurpose::Head, now), Permission::Go);
    let ticket = relay.send(RequestPurpose::Head, now, wall);
    relay.answered(ticket, &RateHeaders::default(), now, wall);
    for _ in 0..2 {
        let ticket = commands.reserve(wall, true).unwrap().unwrap();
        commands.answered(ticket, wall).unwrap();
    }
    assert!(commands.reserve(wall, true).unwrap().is_err(), "half of the limit");
    assert_eq!(relay.admit(RequestPurpose::Head, now), Permission::Go);
    let ticket = relay.send(RequestPurpose::Head, now, wall);
    relay.answered(ticket, &RateHeaders::default(), now, wall);
    assert!(matches!(relay.admit(RequestPurpose::Head, now), Permission::WaitUntil(_)), "four in all");
    let mut next = Budget::open(limits, dir.path(), now, wall).unwrap();
    assert!(matches!(next.admit(RequestPurpose::Head, now), Permission::WaitUntil(_)), "also after a restart");
}

#[test]
fn the_requests_of_another_relay_count() {
    let second = Duration::from_secs(1);
    let now = origin() + 600 * second;
    let mut budget = Budget::in_memory(limits(1000));
    let answered = (0..LIMIT).map(|request| Some(second * (request % 50)));
    budget.remember(answered.skip(1).chain([None]), now);
    let waits_until = match budget.admit(RequestPurpose::Head, now) {
        Permission::WaitUntil(until) => until,
        other => panic!("{other:?}"),
    };
    assert!(waits_until > now + 5 * second && waits_until < now + 20 * second, "{:?}", waits_until - now);
}
