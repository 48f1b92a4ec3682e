//! The budget against a server with a fixed window, on a network with random delays: whatever happens, never one
//! request too many, and hardly one too few.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Admission, Demand, Lane, Limits, RateHeaders, Ticket, Window};
use crate::domain::UnixMs;
use crate::time::backoff::Jitter;
use crate::time::{Clock, Instant};

const LIMIT: u32 = 120;

fn limits(interval_ms: u64) -> Limits {
    Limits { requests: LIMIT, window: Duration::from_secs(60), head_interval: Duration::from_millis(interval_ms) }
}

fn origin() -> Instant {
    Clock::starting_at(UnixMs(0)).monotonic()
}

/// A fixed window from the first request on, as documented.
#[derive(Default)]
struct Server {
    window: Option<(Instant, u32)>,
    arrivals: Vec<Instant>,
    refused: Vec<Instant>,
}

impl Server {
    /// What the answer says of the limit, and whether it is a 429.
    fn arrive(&mut self, at: Instant, ours: bool) -> (RateHeaders, bool) {
        let (began, count) = match self.window {
            Some((began, count)) if at < began + Duration::from_secs(60) => (began, count + 1),
            _ => (at, 1),
        };
        self.window = Some((began, count.min(LIMIT)));
        if ours {
            self.arrivals.push(at);
            if count > LIMIT {
                self.refused.push(at);
            }
        }
        let left = (began + Duration::from_secs(60)).saturating_duration_since(at);
        let headers = RateHeaders {
            limit: Some(LIMIT),
            remaining: Some(LIMIT.saturating_sub(count)),
            reset: Some(Duration::from_secs(left.as_millis().div_ceil(1000).try_into().unwrap())),
            retry_after: None,
        };
        (headers, count > LIMIT)
    }

    fn most_in_a_minute(&self) -> usize {
        let mut most = 0;
        let mut first = 0;
        for (last, at) in self.arrivals.iter().enumerate() {
            while self.arrivals[first] + Duration::from_secs(60) <= *at {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(Ticket, bool),
    Answered(Ticket, bool, usize),
    Foreign,
    /// A request of the process before arrives.
    Orphan,
    Look,
}

struct Run {
    server: Server,
    polls: Vec<Instant>,
}

/// One head request and one background request at a time, as the poller has it, for so many seconds.
fn run(
    seed: u64,
    interval_ms: u64,
    backlog: Demand,
    jitter_ms: f64,
    foreign_per_minute: u64,
    seconds: u64,
    restart: bool,
) -> Run {
    let random = Jitter::seeded(seed);
    let start = origin();
    let end = start + Duration::from_secs(seconds);
    let mut server = Server::default();
    let mut answers: Vec<(RateHeaders, bool)> = Vec::new();
    let mut window = Window::new(limits(interval_ms));
    let mut events: BinaryHeap<Reverse<(Instant, u64, Event)>> = BinaryHeap::new();
    let mut number = 0;
    let mut push = |events: &mut BinaryHeap<_>, at: Instant, event: Event| {
        number += 1;
        events.push(Reverse((at, number, event)));
    };
    push(&mut events, start, Event::Look);
    if foreign_per_minute > 0 {
        push(&mut events, start + Duration::from_millis(3000), Event::Foreign);
    }
    let (mut head_busy, mut background_busy, mut head_due) = (false, false, start);
    let mut polls = Vec::new();
    let (mut pages_left, mut next_sweep) = (u32::from(backlog == Demand::Walks), start + Duration::from_secs(60));
    let mut restarted = !restart;
    while let Some(Reverse((now, place, event))) = events.pop() {
        if now > end {
            break;
        }
        if !restarted && now > start + Duration::from_secs(seconds / 2) {
            // What the ring remembers: answered ones with their age, and those under way.
            restarted = true;
            let recorded: Vec<Instant> = server.arrivals.clone();
            window = Window::new(limits(interval_ms));
            for at in recorded.iter().rev().take(LIMIT as usize).rev() {
                let age = now.saturating_duration_since(*at + Duration::from_secs_f64(jitter_ms / 1000.0));
                window.remember(age, now);
            }
            events.push(Reverse((now, place, event)));
            for Reverse((at, place, event)) in std::mem::take(&mut events) {
                let event = match event {
                    Event::Arrives(..) => {
                        window.remember_under_way(now);
                        Event::Orphan
                    }
                    // Nobody is there any more to hear it.
                    Event::Answered(..) => continue,
                    event => event,
                };
                events.push(Reverse((at, place, event)));
            }
            (head_busy, background_busy) = (false, false);
            push(&mut events, now, Event::Look);
            continue;
        }
        match event {
            Event::Foreign => {
                server.arrive(now, false);
                push(&mut events, now + Duration::from_millis(60_000 / foreign_per_minute), Event::Foreign);
            }
            Event::Orphan => drop(server.arrive(now, true)),
            Event::Arrives(ticket, head) => {
                answers.push(server.arrive(now, true));
                let back = Duration::from_secs_f64(random.fraction() * jitter_ms / 1000.0);
                push(&mut events, now + back, Event::Answered(ticket, head, answers.len() - 1));
            }
            Event::Answered(ticket, head, answer) => {
                let (headers, refused) = &answers[answer];
                window.answered(ticket, headers, now);
                if *refused {
                    window.refused(headers, |_| Duration::from_secs(1), now);
                } else {
                    window.not_refused();
                }
                if head {
                    head_busy = false;
                    let spacing = window.head_spacing(if pages_left > 0 { backlog } else { Demand::Nothing }, 1, now);
                    head_due = *polls.last().unwrap() + spacing;
                } else {
                    background_busy = false;
                }
            }
            Event::Look => {}
        }
        for head in [true, false] {
            if backlog == Demand::Sweeps && now >= next_sweep {
                (pages_left, next_sweep) = (9, now + Duration::from_secs(60));
            }
            let (busy, due) = if head { (&mut head_busy, head_due) } else { (&mut background_busy, start) };
            if *busy || !(head || pages_left > 0) {
                continue;
            }
            if due > now {
                push(&mut events, due, Event::Look);
                continue;
            }
            let lane = match (head, backlog) {
                (true, _) => Lane::Head,
                (false, Demand::Sweeps) => Lane::Sweep,
                (false, _) => Lane::Walk,
            };
            match window.admit(lane, now) {
                Admission::Go => {
                    *busy = true;
                    if head {
                        polls.push(now);
                    } else if backlog == Demand::Sweeps {
                        pages_left -= 1;
                    }
                    let ticket = window.send(lane, now);
                    let there = Duration::from_secs_f64(random.fraction() * jitter_ms / 1000.0);
                    push(&mut events, now + there, Event::Arrives(ticket, head));
                }
                Admission::WaitUntil(until) => push(&mut events, until, Event::Look),
                Admission::WaitForAnswer => {}
            }
        }
    }
    Run { server, polls }
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
        prop_assert!(run.server.most_in_a_minute() <= LIMIT as usize);
        prop_assert!(run.server.refused.is_empty(), "{} refused", run.server.refused.len());
    }
}

#[test]
fn a_backlog_uses_the_budget() {
    for seed in 0..10 {
        let run = run(seed, 1000, Demand::Walks, 200.0, 0, 600, false);
        let used = run.server.arrivals.len();
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
fn another_program_on_the_key_is_yielded_to() {
    for backlog in [Demand::Nothing, Demand::Walks, Demand::Sweeps] {
        for seed in 0..10 {
            let run = run(seed, 500, backlog, 100.0, 60, 600, false);
            let mut refused = run.server.refused.clone();
            refused.dedup_by(|late, early| *late < *early + Duration::from_secs(59));
            assert_eq!(refused.len(), run.server.refused.len(), "more than one 429 in a minute");
            assert!(run.server.refused.len() <= 10, "seed {seed}: {} refused", run.server.refused.len());
            assert!(run.server.arrivals.len() >= 500, "seed {seed}: {} left for us", run.server.arrivals.len());
        }
    }
}

/// What is left for us is our own limit, or what another program leaves of the server's, whichever is less.
#[test]
fn room_is_left_once() {
    let now = origin();
    for (configured, server, others, left) in
        [(120, 120, 0, 120), (120, 120, 60, 60), (60, 120, 60, 60), (60, 120, 90, 30), (120, 60, 30, 30)]
    {
        let mut window = Window::new(Limits { requests: configured, ..limits(60_000) });
        let headers = RateHeaders {
            limit: Some(server),
            remaining: Some(server - others - 1),
            reset: Some(Duration::from_secs(60)),
            retry_after: None,
        };
        let first = window.send(Lane::Head, now);
        window.answered(first, &headers, now);
        assert_eq!(window.foreign(), others);
        let mut sent = 1;
        while window.admit(Lane::Head, now) == Admission::Go {
            window.send(Lane::Head, now);
            sent += 1;
        }
        assert_eq!(sent, left, "{configured} of {server} beside {others}");
    }
}

#[test]
fn only_one_request_before_the_first_answer() {
    let now = origin();
    let mut window = Window::new(limits(1000));
    assert_eq!(window.admit(Lane::Head, now), Admission::Go);
    let ticket = window.send(Lane::Head, now);
    assert_eq!(window.admit(Lane::Walk, now), Admission::WaitForAnswer);
    window.answered(ticket, &RateHeaders::default(), now);
    assert_eq!(window.admit(Lane::Walk, now), Admission::Go);
}

#[test]
fn headers_only_tighten() {
    let now = origin();
    let headers = |remaining, reset| RateHeaders {
        limit: Some(LIMIT),
        remaining: Some(remaining),
        reset: Some(Duration::from_secs(reset)),
        retry_after: None,
    };
    let mut window = Window::new(limits(1000));
    let mut ask = |headers: RateHeaders| {
        let ticket = window.send(Lane::Head, now);
        window.answered(ticket, &headers, now);
        window.admit(Lane::Head, now)
    };
    assert_eq!(ask(headers(3, 40)), Admission::Go);
    assert_eq!(ask(headers(100, 40)), Admission::Go, "the same window cannot have more left than before");
    assert_eq!(ask(headers(0, 30)), Admission::WaitUntil(now + Duration::from_secs(30)));
}

#[test]
fn silence_after_a_429_grows_if_it_is_repeated() {
    let now = origin();
    let mut window = Window::new(limits(1000));
    let reset = |seconds| RateHeaders { reset: Some(Duration::from_secs(seconds)), ..RateHeaders::default() };
    let fallback = |times: u32| Duration::from_secs(u64::from(times) * 10);
    assert_eq!(window.refused(&reset(42), fallback, now), Duration::from_secs(42));
    assert_eq!(window.admit(Lane::Head, now), Admission::WaitUntil(now + Duration::from_secs(42)));
    assert_eq!(window.refused(&reset(1), fallback, now), Duration::from_secs(20));
    assert_eq!(window.refused(&RateHeaders::default(), fallback, now), Duration::from_secs(30));
    window.not_refused();
    let asked = RateHeaders { retry_after: Some(Duration::from_secs(7)), ..RateHeaders::default() };
    assert_eq!(window.refused(&asked, fallback, now), Duration::from_secs(7));
}

#[test]
fn sweeps_take_a_fifth_at_most() {
    let now = origin();
    let mut window = Window::new(limits(1000));
    let mut sent = 0;
    while window.admit(Lane::Sweep, now) == Admission::Go {
        let ticket = window.send(Lane::Sweep, now);
        window.answered(ticket, &RateHeaders::default(), now);
        sent += 1;
    }
    assert_eq!(sent, 24);
    assert_eq!(window.admit(Lane::Walk, now), Admission::Go);
}

#[test]
fn a_limit_of_one_still_polls() {
    let now = origin();
    let mut window = Window::new(Limits { requests: 1, ..limits(1000) });
    for lane in [Lane::Head, Lane::Walk, Lane::Sweep] {
        assert_eq!(window.admit(lane, now), Admission::Go);
    }
    let ticket = window.send(Lane::Head, now);
    window.answered(ticket, &RateHeaders::default(), now);
    assert_eq!(window.admit(Lane::Walk, now), Admission::WaitUntil(now + Duration::from_secs(60)));
}

#[test]
fn what_was_under_way_at_a_kill_may_arrive_after_the_next_start() {
    let start = origin();
    let minute = Duration::from_secs(60);
    let mut window = Window::new(Limits { requests: 1, ..limits(1000) });
    window.remember_under_way(start);
    let Admission::WaitUntil(free) = window.admit(Lane::Head, start + minute) else { panic!("no wait") };
    assert!(free > start + minute, "counted from its arrival, not from the start of this process");
    assert_eq!(window.admit(Lane::Head, free), Admission::Go);
}
