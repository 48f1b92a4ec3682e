//! A model of the API's limit, of the network, and of the poller's lanes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use super::super::{BudgetLimits, Demand, Permission, RateHeaders, RequestPurpose, Ticket, Window};
use super::origin;
use crate::time::Instant;
use crate::time::backoff::Jitter;

pub(super) const LIMIT: u32 = 120;

/// How an API counts requests in windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A window begins with the first request after the end of the previous window.
    FirstRequest,
    /// Windows begin at fixed times of the clock.
    Calendar,
    /// There are no fixed windows: each request counts for the length of a window.
    Sliding,
}

/// The limit of the API, and how it is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Api {
    pub(super) limit: u32,
    pub(super) window: Duration,
    pub(super) kind: Kind,
    pub(super) reset: Reset,
}

/// How an API states the end of a window, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// The time that is left, rounded up.
    Up,
    /// The time that is left, rounded down.
    Down,
    /// The instant, rounded up. The relay subtracts the answer's `Date`, which is rounded down, to know the time that
    /// is left.
    Instant,
}

pub(super) fn api(limit: u32, seconds: u64, kind: Kind) -> Api {
    Api { limit, window: Duration::from_secs(seconds), kind, reset: Reset::Up }
}

/// Changes the headers on their way to the relay.
pub(super) type Spoil = fn(RateHeaders) -> RateHeaders;

struct Server {
    api: Api,
    spoil: Spoil,
    start: Instant,
    began: Option<Instant>,
    counted: VecDeque<Instant>,
    arrivals: Vec<Instant>,
    refused: Vec<Instant>,
}

impl Server {
    /// Counts an arriving request. Returns the headers of the answer, and whether the answer is a 429.
    fn arrive(&mut self, at: Instant, ours: bool) -> (RateHeaders, bool) {
        let Api { limit, window, kind, reset } = self.api;
        let began = match (kind, self.began) {
            (Kind::FirstRequest, Some(began)) if at < began + window => began,
            (Kind::FirstRequest | Kind::Sliding, _) => at,
            // The first window of the calendar began at some odd time before the first request.
            (Kind::Calendar, _) => {
                let into = (at - self.start + window.mul_f64(0.37)).as_nanos() % window.as_nanos();
                at.checked_sub(Duration::from_nanos(into.try_into().unwrap())).unwrap()
            }
        };
        match kind {
            Kind::Sliding => self.counted.retain(|counted| *counted + window > at),
            _ if self.began != Some(began) => self.counted.clear(),
            _ => {}
        }
        self.began = Some(began);
        let used = u32::try_from(self.counted.len()).unwrap();
        let refuses = used >= limit;
        if !refuses {
            self.counted.push_back(at);
        }
        if ours {
            self.arrivals.push(at);
            if refuses {
                self.refused.push(at);
            }
        }
        let ends = match kind {
            Kind::Sliding => *self.counted.front().unwrap() + window,
            _ => began + window,
        };
        let left = ends.saturating_duration_since(at);
        let whole = |time: Duration| u64::try_from(time.as_millis().div_ceil(1000)).unwrap();
        let seconds = match reset {
            Reset::Up => whole(left),
            Reset::Down => left.as_secs(),
            Reset::Instant => whole(ends - self.start) - (at - self.start).as_secs(),
        };
        let headers = RateHeaders {
            limit: Some(limit),
            remaining: Some(limit.saturating_sub(used + 1)),
            reset: Some(Duration::from_secs(seconds.max(1))),
            ..RateHeaders::default()
        };
        ((self.spoil)(headers), refuses)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(Ticket, bool),
    Answered(Ticket, bool, usize),
    Foreign,
    /// A request of the killed process arrives.
    Orphan,
    Look,
}

/// The values of one run of the model.
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) requests: u32,
    pub(super) interval_ms: u64,
    pub(super) backlog: Demand,
    pub(super) jitter_ms: f64,
    pub(super) foreign_per_minute: u64,
    pub(super) seconds: u64,
    /// When the process is killed, in seconds. The next process begins at once.
    pub(super) restarts: Vec<u64>,
    pub(super) api: Api,
    pub(super) spoil: Spoil,
    /// When the API changes its limit, in seconds, and the new limit.
    pub(super) change: Option<(u64, Api)>,
    /// Whether the record of earlier requests is lost with the process, as after a power cut.
    pub(super) forgets: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            requests: LIMIT,
            interval_ms: 1000,
            backlog: Demand::Nothing,
            jitter_ms: 50.0,
            foreign_per_minute: 0,
            seconds: 600,
            restarts: Vec::new(),
            api: api(LIMIT, 60, Kind::FirstRequest),
            spoil: |headers| headers,
            change: None,
            forgets: false,
        }
    }
}

/// The results of a run.
pub(super) struct Run {
    pub(super) began: Instant,
    pub(super) arrivals: Vec<Instant>,
    pub(super) refused: Vec<Instant>,
    pub(super) polls: Vec<Instant>,
    /// The highest number that [`Window::foreign_for_certain`] gave in the run.
    pub(super) foreign: u32,
}

impl Run {
    pub(super) fn most_in_a_minute(&self) -> usize {
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

    /// Returns the longest time without a poll, from this many seconds after the start on.
    pub(super) fn longest_silence(&self, from: u64) -> Duration {
        let polls: Vec<Instant> = self.polls.iter().copied().filter(|at| *at >= self.at(from)).collect();
        polls.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
    }

    /// Returns how many 429s came from this many seconds after the start on.
    pub(super) fn refused_from(&self, from: u64) -> usize {
        self.refused.iter().filter(|at| **at >= self.at(from)).count()
    }

    /// Returns how many percent of the allowed requests were accepted, in a run of this many seconds on an API that
    /// allows `limit` requests in `window` seconds.
    pub(super) fn used(&self, limit: u32, window: u64, seconds: u64) -> usize {
        let allowed = (seconds * u64::from(limit) / window).min(seconds * u64::from(LIMIT) / 60);
        (self.arrivals.len() - self.refused.len()) * 100 / usize::try_from(allowed).unwrap()
    }

    fn at(&self, seconds: u64) -> Instant {
        self.began + Duration::from_secs(seconds)
    }
}

impl Setup {
    fn window(&self) -> Window {
        Window::new(BudgetLimits {
            requests: self.requests,
            window: Duration::from_secs(60),
            head_interval: Duration::from_millis(self.interval_ms),
        })
    }

    /// Runs the model, with one head request and one background request at a time, as the poller sends them.
    pub(super) fn run(&self) -> Run {
        let Self { backlog, jitter_ms, foreign_per_minute, .. } = *self;
        let random = Jitter::seeded(self.seed);
        let start = origin();
        let end = start + Duration::from_secs(self.seconds);
        let mut server = Server {
            api: self.api,
            spoil: self.spoil,
            start,
            began: None,
            counted: VecDeque::new(),
            arrivals: Vec::new(),
            refused: Vec::new(),
        };
        let mut change = self.change.map(|(at, api)| (start + Duration::from_secs(at), api));
        let mut answers: Vec<(RateHeaders, bool)> = Vec::new();
        let mut window = self.window();
        let mut events: BinaryHeap<Reverse<(Instant, u64, Event)>> = BinaryHeap::new();
        let mut number = 0;
        let mut looks = BTreeSet::new();
        let mut push = |events: &mut BinaryHeap<_>, at: Instant, event: Event| {
            // Two looks at the same time would each cause another look, so each time is used once.
            if event == Event::Look && !looks.insert(at) {
                return;
            }
            number += 1;
            events.push(Reverse((at, number, event)));
        };
        push(&mut events, start, Event::Look);
        if foreign_per_minute > 0 {
            push(&mut events, start + Duration::from_millis(3000), Event::Foreign);
        }
        let (mut head_busy, mut background_busy, mut rests) = (false, false, false);
        let mut polls = Vec::new();
        let mut foreign = 0;
        let (mut pages_left, mut next_sweep) = (u32::from(backlog == Demand::Walks), start + Duration::from_secs(60));
        let mut restarts: VecDeque<Instant> =
            self.restarts.iter().map(|seconds| start + Duration::from_secs(*seconds)).collect();
        while let Some(Reverse((now, place, event))) = events.pop() {
            if now > end {
                break;
            }
            if let Some((_, api)) = change.take_if(|(at, _)| *at <= now) {
                server.api = api;
            }
            if restarts.front().is_some_and(|restart| now > *restart) {
                // The next process knows the requests of the last process from the ring: answered requests with their
                // age, and requests that were under way.
                restarts.pop_front();
                window = self.window();
                if !self.forgets {
                    for at in server.arrivals.iter().rev().take(self.requests as usize).rev() {
                        let age = now.saturating_duration_since(*at + Duration::from_secs_f64(jitter_ms / 1000.0));
                        window.remember(age, now);
                    }
                }
                events.push(Reverse((now, place, event)));
                for Reverse((at, place, event)) in std::mem::take(&mut events) {
                    let event = match event {
                        // A request of an earlier process stays recorded as one that is under way.
                        Event::Arrives(..) | Event::Orphan => {
                            window.remember_under_way(now);
                            Event::Orphan
                        }
                        // The process that would receive this answer was killed.
                        Event::Answered(..) => continue,
                        event => event,
                    };
                    events.push(Reverse((at, place, event)));
                }
                (head_busy, background_busy, rests) = (false, false, false);
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
                    let found = window.foreign_for_certain();
                    foreign = foreign.max(found.before).max(found.so_far);
                    if *refused {
                        let fallback = |times: u32| Duration::from_secs(1 << times.clamp(1, 7) >> 1);
                        window.refused(headers, |times| fallback(times).min(Duration::from_secs(60)), now);
                    } else {
                        window.not_refused(ticket);
                    }
                    if head {
                        head_busy = false;
                        rests = true;
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
                // As in the poller, each look computes anew when the next poll is due, from the present window.
                let demand = if pages_left > 0 { backlog } else { Demand::Nothing };
                let began = polls.last().copied().filter(|_| head && rests);
                let due = began.map_or(start, |began| began + window.head_spacing(demand, 1, began, now));
                let busy = if head { &mut head_busy } else { &mut background_busy };
                if *busy || !(head || pages_left > 0) {
                    continue;
                }
                if due > now {
                    push(&mut events, due, Event::Look);
                    continue;
                }
                let lane = match (head, backlog) {
                    (true, _) => RequestPurpose::Head,
                    (false, Demand::Sweeps) => RequestPurpose::Sweep,
                    (false, _) => RequestPurpose::Walk,
                };
                match window.admit(lane, now) {
                    Permission::Go => {
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
                    Permission::WaitUntil(until) => push(&mut events, until, Event::Look),
                    Permission::WaitForAnswer => {}
                }
            }
        }
        Run { began: start, arrivals: server.arrivals, refused: server.refused, polls, foreign }
    }
}
