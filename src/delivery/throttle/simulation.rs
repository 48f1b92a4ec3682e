//! Receivers of every kind, and a sink that delivers to them, in simulated time.
//!
//! The simulation makes the decisions of the real sink with the real [`Throttle`] and the real [`RefusedAlone`]; only
//! requests, answers and timers are simulated, so hours pass in milliseconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::{FIRST_SILENCE, Gate, Recurrence, Refusal, Throttle};
use crate::delivery::refused_alone::{RefusalCause, RefusedAlone};
use crate::domain::{Seq, UnixMs};
use crate::time::Clock;
use crate::time::backoff::Jitter;

/// A request as it reaches the receiver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// When the request arrives, in seconds since the start.
    pub(super) at: f64,
    /// The index of the request's message, counted from 0.
    pub(super) message: usize,
}

/// A receiver: a function that returns the refusal of a request; `None`: the receiver accepts the request.
pub(super) type Receiver = Box<dyn FnMut(Request) -> Option<Refusal>>;

/// How exactly a receiver states how long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Says {
    Exactly,
    WholeSeconds,
    Nothing,
}

impl Says {
    pub(super) fn refuse(self, wait: f64) -> Option<Refusal> {
        let asked = match self {
            Self::Exactly => Some(Duration::from_secs_f64(wait)),
            Self::WholeSeconds => Some(Duration::from_secs_f64(wait.ceil())),
            Self::Nothing => None,
        };
        Some(Refusal { asked, too_many: true, recurrence: Recurrence::First })
    }
}

/// A receiver that accepts no two requests closer together than `gap` seconds.
pub(super) fn apart(gap: f64, says: Says) -> Receiver {
    let mut last = f64::NEG_INFINITY;
    Box::new(move |Request { at, .. }| {
        if at - last < gap {
            return says.refuse(last + gap - at);
        }
        last = at;
        None
    })
}

/// A receiver with a token bucket: each request takes one token, the bucket holds at most `size` tokens, and an empty
/// bucket fills up in `per` seconds.
pub(super) fn bucket(size: f64, per: f64, says: Says) -> Receiver {
    let (mut left, mut then) = (size, 0.0);
    Box::new(move |Request { at, .. }| {
        left = f64::min(size, left + (at - then) * size / per);
        then = at;
        if left < 1.0 {
            return says.refuse((1.0 - left) * per / size);
        }
        left -= 1.0;
        None
    })
}

/// A receiver that accepts `size` requests in each window of `per` seconds.
pub(super) fn window(size: u32, per: f64, says: Says) -> Receiver {
    let (mut used, mut number) = (0, f64::NEG_INFINITY);
    Box::new(move |Request { at, .. }| {
        if (at / per).floor() > number {
            (used, number) = (0, (at / per).floor());
        }
        if used == size {
            return says.refuse((number + 1.0) * per - at);
        }
        used += 1;
        None
    })
}

/// A receiver that refuses this share of all requests at random, whatever the pace, and says to wait `wait` seconds.
pub(super) fn at_random(share: f64, wait: f64, seed: u64, says: Says) -> Receiver {
    let random = Jitter::seeded(seed);
    Box::new(move |_| if random.fraction() < share { says.refuse(wait) } else { None })
}

/// A receiver that refuses certain messages for ever, and accepts all others.
pub(super) fn refusing(is_refused: fn(usize) -> bool, says: Says) -> Receiver {
    Box::new(move |Request { message, .. }| if is_refused(message) { says.refuse(1.0) } else { None })
}

/// A receiver that behaves as `before` until `changes_at`, in seconds, and as `after` from then on.
pub(super) fn changing(changes_at: f64, mut before: Receiver, mut after: Receiver) -> Receiver {
    Box::new(move |request| if request.at < changes_at { before(request) } else { after(request) })
}

/// A receiver that refuses nothing.
pub(super) fn unlimited() -> Receiver {
    Box::new(|_| None)
}

/// The messages to deliver, and the workers that deliver them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) workers: usize,
    /// The mean time until an answer, in seconds. Each answer takes between a half of this time and one and a half
    /// times this time.
    pub(super) latency: f64,
    /// The number of accepted messages at which the simulation ends.
    pub(super) until_accepted: usize,
    /// Returns the receiving number of a message, given the message's index.
    pub(super) number: fn(usize) -> i64,
    /// How many messages come in a second. All messages are there at the start if this is infinite.
    pub(super) per_second: f64,
}

impl Load {
    /// A load of messages of one number, until all messages are accepted.
    pub(super) fn new(messages: usize, workers: usize, latency: f64) -> Self {
        Self { messages, workers, latency, until_accepted: messages, number: |_| 0, per_second: f64::INFINITY }
    }

    /// Returns the time at which a message comes, in seconds since the start.
    fn comes_at(&self, message: usize) -> f64 {
        f64::from(u32::try_from(message).unwrap()) / self.per_second
    }
}

/// The results of a simulation.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// When each accepted request was answered, in seconds.
    pub(super) accepted: Vec<f64>,
    /// How long each accepted message waited from its arrival to the answer, in seconds.
    pub(super) lags: Vec<f64>,
    pub(super) refused: usize,
    /// The greatest number of requests that were under way at the same time after the first silence.
    pub(super) most_after_silence: usize,
}

impl Run {
    /// Returns the length of the whole delivery, in seconds.
    pub(super) fn took(&self) -> f64 {
        self.accepted.last().copied().unwrap_or_default()
    }

    /// Returns a percentile of the waits of the accepted messages (from their arrival to the answer), in seconds.
    pub(super) fn lag(&self, percent: usize) -> f64 {
        let mut lags = self.lags.clone();
        lags.sort_by(f64::total_cmp);
        lags[(lags.len() - 1) * percent / 100]
    }

    pub(super) fn accepted_in(&self, from: f64, to: f64) -> usize {
        self.accepted.iter().filter(|at| (from..to).contains(*at)).count()
    }
}

/// A request under way.
#[derive(Clone, Copy)]
struct UnderWay {
    message: usize,
    began: f64,
    ends: f64,
    refusal: Option<Refusal>,
}

/// Runs the delivery, with timers of whole milliseconds.
pub(super) fn deliver(mut receiver: Receiver, load: Load, seed: u64) -> Run {
    let start = Clock::starting_at(UnixMs(0)).monotonic();
    let instant = |at: f64| start + Duration::from_secs_f64(at);
    let nanos = |at: f64| u64::try_from(Duration::from_secs_f64(at).as_nanos()).unwrap();
    let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
    let jitter = Jitter::seeded(seed);
    let (mut throttle, mut refused_alone) = (Throttle::new(None, start), RefusedAlone::default());
    let (mut now, mut silent, mut run) = (0.0_f64, 0.0_f64, Run::default());
    let mut fresh = 0..load.messages;
    // The refused messages, each with the time when it is due, in nanoseconds.
    let mut refused: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut failures: HashMap<usize, i32> = HashMap::new();
    let mut was_refused = false;
    // Each event has its time in nanoseconds, its kind, and the counter of its request (a key of `under_way`). The kind
    // is `true` if the answer comes, and `false` if the request reaches the receiver.
    let mut events: BinaryHeap<Reverse<(u64, bool, u64)>> = BinaryHeap::new();
    let mut under_way: HashMap<u64, UnderWay> = HashMap::new();
    let mut number = 0_u64;
    while run.accepted.len() < load.until_accepted {
        assert!(number < 200_000 && now < 1_000_000.0, "it does not end: {run:?}");
        let next_due = refused.peek().map(|Reverse((due, _))| seconds(*due));
        let is_due = next_due.is_some_and(|due| due <= now + 1e-9);
        let next_fresh = (!fresh.is_empty()).then(|| load.comes_at(fresh.start));
        let has_fresh = next_fresh.is_some_and(|comes| comes <= now + 1e-9);
        let has_work = under_way.len() < load.workers && (is_due || has_fresh);
        if has_work && now >= silent && throttle.gate(instant(now)) == Gate::Open {
            // Refused messages and new messages take turns. If the last attempt after a silence was refused, a new
            // message goes first, and this does not count as a turn.
            let new_first = has_fresh && throttle.tried_in_vain(instant(now));
            if !new_first {
                was_refused = is_due && (!was_refused || !has_fresh);
            }
            let refused =
                if was_refused && !new_first { refused.pop().map(|Reverse((_, message))| message) } else { None };
            let message = refused.or_else(|| fresh.next()).unwrap();
            throttle.began(instant(now));
            number += 1;
            let takes = load.latency * (0.5 + jitter.fraction());
            under_way.insert(number, UnderWay { message, began: now, ends: now + takes, refusal: None });
            events.push(Reverse((nanos(now + takes / 2.0), false, number)));
            if silent > 0.0 {
                run.most_after_silence = run.most_after_silence.max(under_way.len());
            }
            continue;
        }
        let timer = match throttle.gate(instant(now)) {
            _ if under_way.len() == load.workers => None,
            _ if !has_work => [next_due, next_fresh].into_iter().flatten().reduce(f64::min),
            _ if silent > now => Some(silent),
            Gate::At(at) => Some((at - start).as_secs_f64()),
            Gate::Open | Gate::AfterTrial => None,
        };
        // Rounding may place a timer slightly before the present time. Such a timer fires a millisecond later.
        let timer = timer.map(|at| ((at * 1000.0 - 1e-6).ceil() / 1000.0).max(now + 0.001));
        let event = events.peek().map(|Reverse((at, ..))| seconds(*at));
        if let Some(timer) = timer.filter(|timer| event.is_none_or(|event| *timer < event)) {
            now = timer;
            continue;
        }
        let Some(Reverse((at, is_answer, which))) = events.pop() else { panic!("nothing happens: {run:?}") };
        now = now.max(seconds(at));
        if !is_answer {
            let request = under_way.get_mut(&which).unwrap();
            request.refusal = receiver(Request { at: now, message: request.message });
            events.push(Reverse((nanos(request.ends), true, which)));
            continue;
        }
        let UnderWay { message, began, refusal, .. } = under_way.remove(&which).unwrap();
        let (seq, of) = (Seq(i64::try_from(message).unwrap()), Some((load.number)(message)));
        let Some(refusal) = refusal else {
            if refused_alone.accepted(seq, of) {
                throttle.accepted_after_refusal();
            }
            throttle.accepted(instant(began), instant(now));
            run.accepted.push(now);
            run.lags.push(now - load.comes_at(message));
            continue;
        };
        run.refused += 1;
        let cause = refused_alone.refused(seq, of, throttle.is_unpaced());
        let due = if let RefusalCause::Receiver { in_vain, times } = cause {
            let due = refusal.asked.unwrap_or(FIRST_SILENCE).max(throttle.least_wait(in_vain)).as_secs_f64();
            let refusal = Refusal { recurrence: Recurrence::of(in_vain, times), ..refusal };
            let silence = throttle.refused(refusal, instant(began), instant(now));
            silent = silent.max(now + silence.as_secs_f64());
            due
        } else {
            throttle.ended(instant(began));
            let failures = failures.entry(message).or_default();
            *failures += 1;
            5.0 * 3.0_f64.powi((*failures - 1).min(8))
        };
        refused.push(Reverse((nanos(now + due), message)));
    }
    run
}
