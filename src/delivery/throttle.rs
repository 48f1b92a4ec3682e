//! The pace that a receiver sets by refusing requests ("429 Too Many Requests", or an answer that asks for silence). Pure: the
//! time is passed in.
//!
//! Until a receiver refuses something nothing is limited, and nothing is computed but when the last attempts began. After a
//! refusal there is silence. Then one attempt at a time is made until one is accepted; from then on attempts are spaced out:
//! - What got through between two silences, over the time from the first of it to the end of the second silence, is what the
//!   receiver takes at least. The pace at which it refused is more than it takes. The new ceiling is the geometric mean of
//!   the two, so a wrong first guess is corrected in a few refusals, and a good one is changed by little.
//! - The pace begins below the ceiling and rises as CUBIC does it for TCP: quickly at first, slowly near the ceiling, and
//!   then ever more quickly. The dearer refusals are (the longer the silence), the more rarely one is provoked.
//! - It is never slower than one attempt in twice the silence, since the receiver said that one silence is enough. So refusals
//!   that have nothing to do with the pace (one in five at random) cost time, but do not bring the sink to a stand.
//! - A pace clearly above the ceiling that is not refused says that the limit is gone. From there on it doubles every few
//!   messages, until it limits nothing.
//!
//! Invariants: a refusal of an attempt that began before the silence teaches nothing new; where nothing gets through silences
//! grow to a minute, or to what is asked for; after ten minutes without a refusal everything is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// The silence after a refusal that asks for none. It doubles while nothing gets through.
pub(super) const FIRST_SILENCE: Duration = Duration::from_secs(1);

/// It grows no longer than this, so that a receiver that is back is noticed soon.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Whatever is asked for, there is no hot loop.
const SHORTEST_SILENCE: Duration = Duration::from_millis(100);

/// After so long without a refusal the receiver counts as one that never refused.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// So many accepted attempts are remembered.
const REMEMBERED: usize = 64;

/// The first refusal does not tell at which pace attempts were made: it is taken to be this many a second.
const FIRST_GUESS: f64 = 50.0;

/// Where nothing tells what the receiver takes: so many a second.
const UNKNOWN: f64 = 1.0;

/// A pace of so many a second limits nothing.
const UNLIMITED: f64 = 1000.0;

/// The new ceiling is below the pace that was refused by a little at least, and the pace begins below the ceiling.
const BELOW_REFUSED: f64 = 0.97;
const BELOW_CEILING: f64 = 0.85;

/// So many attempts are made in the time of a silence at least. One would be at the limit of a receiver that says exactly how
/// long to wait, and so be refused again and again.
const AT_LEAST: f64 = 0.5;

/// While it is not known what the receiver takes: by how much each accepted message raises the pace.
const EXPLORING: f64 = 1.19;

/// The pace is back at the ceiling after so many messages, or so many times the silence, whichever is longer: where a refusal
/// cost much of the time since the one before (the ceiling is a guess), and where it cost little.
const UNSURE: f64 = 4.0;
const SURE: f64 = 12.0;
const COSTS_MUCH: f64 = 0.3;

/// No longer silence counts for that.
const COUNTED_SILENCE: f64 = 15.0;

/// An attempt that begins late by this much at most does not slow down those that follow: timers are coarse.
const TOLERANCE: Duration = Duration::from_millis(10);

/// Whether an attempt may begin, as far as the receiver's pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// One may.
    Open,
    /// Not before this.
    At(Instant),
    /// Not before the one has ended that tries whether the silence was long enough.
    AfterTrial,
}

/// Why an attempt was refused, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The silence that the receiver asks for.
    pub(super) asked: Option<Duration>,
    /// It says that there were too many requests, and not that it is down for a while.
    pub(super) too_many: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Throttle {
    phase: Phase,
    /// When accepted attempts began, since the last silence: the newest of them.
    accepted: VecDeque<Instant>,
    /// How many of them there were, and when the first of them began; before the first silence nobody counts.
    count: u32,
    since: Option<Instant>,
    /// When the last refusal is forgotten.
    forgotten_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It refuses nothing.
    Free,
    /// It refused; nothing was accepted since.
    Trying(Trying),
    /// It takes what comes at a pace.
    Paced(LearnedPace),
}

#[derive(Clone, Copy, Debug)]
struct Trying {
    /// Attempts that began before this do not know of the silence.
    since: Instant,
    /// When the silence is over.
    until: Instant,
    refusals: u32,
    is_under_way: bool,
    /// The pace that was refused, in attempts a second, where there was one.
    pace: Option<f64>,
    too_many: bool,
}

#[derive(Clone, Copy, Debug)]
struct LearnedPace {
    /// In attempts a second.
    rate: f64,
    ceiling: Option<f64>,
    /// It is no slower than this.
    least: f64,
    /// After so many seconds it is back at the ceiling, and so many have passed; idle time does not count.
    span: f64,
    used: f64,
    grown: Instant,
    next: Instant,
}

impl Throttle {
    /// Of a receiver that has refused nothing yet; or of one that has lately, to the process before this one: then with the
    /// end of the silence that it has left, now if it is over.
    pub(super) fn new(silent_until: Option<Instant>, now: Instant) -> Self {
        let trying = |until| Trying {
            since: now,
            until,
            refusals: u32::from(until > now),
            is_under_way: false,
            pace: None,
            too_many: false,
        };
        Self {
            phase: silent_until.map_or(Phase::Free, |until| Phase::Trying(trying(until))),
            accepted: VecDeque::new(),
            count: 0,
            since: None,
            forgotten_at: silent_until.map(|until| until + FORGOTTEN_AFTER),
        }
    }

    /// Whether nothing is limited.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Free) || self.forgotten_at.is_none_or(|at| at <= now)
    }

    /// When the silence is over, or was, of a receiver that has accepted nothing since.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Trying(Trying { until, refusals: 1.., .. }) if !self.is_free(now) => Some(until),
            _ => None,
        }
    }

    /// Whether an attempt may begin. That silences are kept to is the caller's business.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        match self.phase {
            _ if self.is_free(now) => Gate::Open,
            Phase::Trying(Trying { is_under_way: true, .. }) => Gate::AfterTrial,
            Phase::Paced(LearnedPace { next, .. }) if next > now => Gate::At(next),
            _ => Gate::Open,
        }
    }

    /// An attempt begins.
    pub(super) fn began(&mut self, now: Instant) {
        if self.is_free(now) {
            self.phase = Phase::Free;
        }
        match &mut self.phase {
            Phase::Free => {}
            Phase::Trying(trying) => trying.is_under_way = true,
            Phase::Paced(pace) => pace.began(now),
        }
    }

    /// An attempt that began at `began` was refused. Returns for how long there should be silence.
    pub(super) fn refused(&mut self, refusal: Refusal, began: Instant, now: Instant) -> Duration {
        let asked = refusal.asked.filter(|asked| !asked.is_zero());
        let silence = match &mut self.phase {
            Phase::Trying(trying) if began < trying.since => asked.unwrap_or_default(),
            Phase::Paced(_) if self.since.is_some_and(|since| began < since) => return asked.unwrap_or_default(),
            Phase::Trying(trying) => {
                trying.is_under_way = false;
                let grown = FIRST_SILENCE.saturating_mul(1 << trying.refusals.min(16)).min(LONGEST_SILENCE);
                trying.refusals = trying.refusals.saturating_add(1);
                asked.unwrap_or_default().max(grown)
            }
            Phase::Paced(_) | Phase::Free => {
                let silence = asked.map_or(FIRST_SILENCE, |asked| asked.max(SHORTEST_SILENCE));
                self.try_after(silence, refusal.too_many, now);
                silence
            }
        };
        if let Phase::Trying(trying) = &mut self.phase {
            trying.until = trying.until.max(now + silence);
            self.forgotten_at = Some(trying.until + FORGOTTEN_AFTER);
        }
        silence
    }

    /// The first refusal since the last silence.
    fn try_after(&mut self, silence: Duration, too_many: bool, now: Instant) {
        let pace = match self.phase {
            Phase::Paced(pace) => Some(pace.rate),
            Phase::Trying(_) | Phase::Free => {
                // What came long before says nothing about the limit.
                let window = silence.max(FIRST_SILENCE);
                self.accepted.retain(|at| now.saturating_duration_since(*at) <= window);
                self.since = None;
                None
            }
        };
        let (since, until) = (now, now + silence);
        self.phase = Phase::Trying(Trying { since, until, refusals: 1, is_under_way: false, pace, too_many });
    }

    /// An attempt that began at `began` was accepted.
    pub(super) fn accepted(&mut self, began: Instant, now: Instant) {
        match self.phase {
            Phase::Trying(trying) if began >= trying.since => {
                self.phase = Phase::Paced(self.pace_after(trying, began, now));
                self.accepted.clear();
                (self.count, self.since) = (0, Some(began));
            }
            Phase::Paced(ref mut pace) => {
                pace.grow(now);
                if pace.rate > UNLIMITED {
                    self.phase = Phase::Free;
                }
            }
            Phase::Trying(_) | Phase::Free => {}
        }
        if self.accepted.len() == REMEMBERED {
            self.accepted.pop_front();
        }
        self.accepted.push_back(began);
        self.count = self.count.saturating_add(1);
    }

    /// An attempt that began at `began` has ended, and says nothing about the pace.
    pub(super) fn ended(&mut self, began: Instant) {
        if let Phase::Trying(trying) = &mut self.phase
            && began >= trying.since
        {
            trying.is_under_way = false;
        }
    }

    /// The pace after a silence; `began`: when the attempt began that ended it.
    fn pace_after(&self, trying: Trying, began: Instant, now: Instant) -> LearnedPace {
        let silence = seconds(now, trying.since);
        let least = AT_LEAST / seconds(trying.until, trying.since).max(FIRST_SILENCE.as_secs_f64());
        let (ceiling, rate, span) =
            match self.taken_at_least(began).filter(|_| trying.pace.is_some() || trying.too_many) {
                None => (None, UNKNOWN, UNSURE),
                Some(taken) => {
                    let refused = trying.pace.unwrap_or_else(|| taken.max(FIRST_GUESS));
                    let taken = taken.min(refused);
                    let ceiling = (taken * refused).sqrt().min(BELOW_REFUSED * refused);
                    let span = if 1.0 - taken / refused > COSTS_MUCH { UNSURE } else { SURE };
                    (Some(ceiling), BELOW_CEILING * ceiling, span)
                }
            };
        let (ceiling, rate) = (ceiling.map(|ceiling: f64| ceiling.max(least)), rate.max(least));
        let span = span * silence.min(COUNTED_SILENCE).max(1.0 / rate);
        LearnedPace { rate, ceiling, least, span, used: 0.0, grown: now, next: began + gap(rate) }
    }

    /// By what was accepted since the silence before, up to `until`, when the last one had ended: in messages a second. Any
    /// part of it is as good as the whole, since there may have been nothing to send.
    fn taken_at_least(&self, until: Instant) -> Option<f64> {
        let rate = |count: u32, from: Instant| f64::from(count) / seconds(until, from).max(0.001);
        let newest = (1..).zip(self.accepted.iter().rev()).map(|(count, from)| rate(count, *from));
        let whole = self.since.map(|since| rate(self.count, since));
        newest.chain(whole).reduce(f64::max)
    }
}

impl LearnedPace {
    fn began(&mut self, now: Instant) {
        let gap = gap(self.rate);
        let planned = now.checked_sub(TOLERANCE.min(gap / 10)).map_or(self.next, |earliest| self.next.max(earliest));
        self.next = planned + gap;
    }

    fn grow(&mut self, now: Instant) {
        self.used += seconds(now, self.grown).min(2.0 / self.rate);
        self.grown = now;
        let Some(ceiling) = self.ceiling else {
            self.rate *= EXPLORING;
            return;
        };
        let beyond = self.used / self.span - 1.0;
        self.rate = (ceiling * (1.0 + (1.0 - BELOW_CEILING) * beyond.powi(3))).max(self.least);
        if beyond > 1.0 {
            self.ceiling = None;
        }
    }
}

fn gap(rate: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate).unwrap_or(FORGOTTEN_AFTER).min(FORGOTTEN_AFTER)
}

fn seconds(to: Instant, from: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    /// What a receiver says to a request that comes at this time, in seconds; `None`: it takes it.
    type Limiter = Box<dyn FnMut(f64) -> Option<Refusal>>;

    /// How exactly it says how long to wait.
    #[derive(Clone, Copy, Debug)]
    enum Says {
        Exactly,
        WholeSeconds,
        Nothing,
    }

    impl Says {
        fn refuse(self, wait: f64) -> Option<Refusal> {
            let asked = match self {
                Self::Exactly => Some(Duration::from_secs_f64(wait)),
                Self::WholeSeconds => Some(Duration::from_secs_f64(wait.ceil())),
                Self::Nothing => None,
            };
            Some(Refusal { asked, too_many: true })
        }
    }

    /// No two closer together than this.
    fn apart(gap: f64, says: Says) -> Limiter {
        let mut last = f64::NEG_INFINITY;
        Box::new(move |at| {
            if at - last < gap {
                return says.refuse(last + gap - at);
            }
            last = at;
            None
        })
    }

    /// A bucket of so many that fills up in `per` seconds.
    fn bucket(size: f64, per: f64, says: Says) -> Limiter {
        let (mut left, mut then) = (size, 0.0);
        Box::new(move |at| {
            left = f64::min(size, left + (at - then) * size / per);
            then = at;
            if left < 1.0 {
                return says.refuse((1.0 - left) * per / size);
            }
            left -= 1.0;
            None
        })
    }

    /// So many in each window of `per` seconds.
    fn window(size: u32, per: f64, says: Says) -> Limiter {
        let (mut used, mut number) = (0, f64::NEG_INFINITY);
        Box::new(move |at| {
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

    /// Refuses this share at random, at whatever pace requests come.
    fn at_random(share: f64, seed: u64, says: Says) -> Limiter {
        let random = crate::time::backoff::Jitter::seeded(seed);
        Box::new(move |_| if random.fraction() < share { says.refuse(1.0) } else { None })
    }

    #[derive(Debug, Default)]
    struct Run {
        /// When each was accepted.
        accepted: Vec<f64>,
        refused: usize,
        /// The most at once after the first silence.
        most_after_silence: usize,
    }

    impl Run {
        fn took(&self) -> f64 {
            self.accepted.last().copied().unwrap_or_default()
        }

        fn accepted_in(&self, from: f64, to: f64) -> usize {
            self.accepted.iter().filter(|at| (from..to).contains(*at)).count()
        }
    }

    /// Delivers so many messages with so many workers; answers take up to twice `latency`, timers count milliseconds.
    fn deliver(mut limiter: Limiter, messages: usize, workers: usize, latency: f64, seed: u64) -> Run {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let instant = |at: f64| start + Duration::from_secs_f64(at);
        let jitter = crate::time::backoff::Jitter::seeded(seed);
        let mut throttle = Throttle::new(None, start);
        let (mut now, mut waiting, mut silent, mut run) = (0.0_f64, messages, 0.0_f64, Run::default());
        // When something happens: in nanoseconds, whether it is the answer, when the attempt began, and its answer.
        let mut events: BinaryHeap<Reverse<(u64, bool, u64)>> = BinaryHeap::new();
        let mut answers = std::collections::HashMap::new();
        let nanos = |at: f64| u64::try_from(Duration::from_secs_f64(at).as_nanos()).unwrap();
        let (mut in_flight, mut number) = (0, 0_u64);
        while run.accepted.len() < messages {
            assert!(number < 100_000 && now < 100_000.0, "it does not end: {run:?}");
            while waiting > 0 && in_flight < workers && now >= silent && throttle.gate(instant(now)) == Gate::Open {
                throttle.began(instant(now));
                (waiting, in_flight, number) = (waiting - 1, in_flight + 1, number + 1);
                if silent > 0.0 {
                    run.most_after_silence = run.most_after_silence.max(in_flight);
                }
                let takes = latency * (0.5 + jitter.fraction());
                answers.insert(number, (now, now + takes, None));
                events.push(Reverse((nanos(now + takes / 2.0), false, number)));
            }
            // The next that may happen: an event, or a timer.
            let timer = match throttle.gate(instant(now)) {
                _ if waiting == 0 || in_flight == workers => None,
                _ if silent > now => Some(silent),
                Gate::At(at) => Some((at - start).as_secs_f64()),
                Gate::Open | Gate::AfterTrial => None,
            };
            let timer = timer.map(|at| (at * 1000.0 - 1e-6).ceil() / 1000.0);
            let event = events.peek().map(|Reverse((at, ..))| Duration::from_nanos(*at).as_secs_f64());
            if let Some(timer) = timer.filter(|timer| event.is_none_or(|event| *timer < event)) {
                now = timer.max(now);
                continue;
            }
            let Some(Reverse((at, is_answer, which))) = events.pop() else { panic!("nothing happens: {run:?}") };
            now = now.max(Duration::from_nanos(at).as_secs_f64());
            let (began, ends, refusal) = answers[&which];
            if !is_answer {
                answers.insert(which, (began, ends, limiter(now)));
                events.push(Reverse((nanos(ends), true, which)));
                continue;
            }
            in_flight -= 1;
            match refusal {
                None => {
                    throttle.accepted(instant(began), instant(now));
                    run.accepted.push(now);
                }
                Some(refusal) => {
                    (waiting, run.refused) = (waiting + 1, run.refused + 1);
                    let silence = throttle.refused(refusal, instant(began), instant(now));
                    silent = silent.max(now + silence.as_secs_f64());
                }
            }
        }
        run
    }

    /// What it is called, what it takes a second, and how it is made.
    type Kind = (&'static str, f64, fn() -> Limiter);

    const KINDS: [Kind; 12] = [
        ("one a second", 1.0, || apart(1.0, Says::WholeSeconds)),
        ("one a second, no Retry-After", 1.0, || apart(1.0, Says::Nothing)),
        ("a bucket of 5 in 2 s", 2.5, || bucket(5.0, 2.0, Says::Exactly)),
        ("a bucket of 5 in 2 s, whole seconds", 2.5, || bucket(5.0, 2.0, Says::WholeSeconds)),
        ("a bucket of 5 in 2 s, no Retry-After", 2.5, || bucket(5.0, 2.0, Says::Nothing)),
        ("5 in each 2 s", 2.5, || window(5, 2.0, Says::WholeSeconds)),
        ("30 a minute", 0.5, || window(30, 60.0, Says::WholeSeconds)),
        ("30 a minute, no Retry-After", 0.5, || window(30, 60.0, Says::Nothing)),
        ("a bucket of 30 a minute", 0.5, || bucket(30.0, 60.0, Says::Exactly)),
        ("50 a second", 50.0, || window(50, 1.0, Says::WholeSeconds)),
        ("50 a second, no Retry-After", 50.0, || window(50, 1.0, Says::Nothing)),
        ("a bucket of 50 a second", 50.0, || bucket(50.0, 1.0, Says::WholeSeconds)),
    ];

    #[test]
    fn messages_take_as_long_as_the_receiver_makes_them() {
        for (name, rate, limiter) in KINDS {
            for messages in [60_usize, 150, 300] {
                for workers in [1, 8, 64] {
                    for latency in [0.005, if rate > 5.0 { 0.01 } else { 0.2 }] {
                        let run = deliver(limiter(), messages, workers, latency, 1);
                        let case = format!("{name}: {messages} messages, {workers} workers, {latency} s");
                        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
                        let needed = messages as f64 / rate;
                        // One silence of a second is a fourth of what a fast receiver needs for all.
                        assert!(run.took() <= 1.3 * needed + 1.0, "{case}: {} s instead of {needed}", run.took());
                        // Those that were under way at the first refusal could not know of it.
                        let wasted = run.refused.saturating_sub(workers);
                        assert!(wasted * 5 <= messages + run.refused, "{case}: {wasted} requests were wasted");
                    }
                }
            }
        }
    }

    #[test]
    fn soon_after_the_limit_is_gone_nothing_is_limited() {
        for (name, _, limiter) in KINDS.into_iter().filter(|(_, rate, _)| *rate >= 1.0) {
            for limited in [30.0, 200.0] {
                let mut limiter = limiter();
                let run =
                    deliver(Box::new(move |at| if at < limited { limiter(at) } else { None }), 20_000, 8, 0.01, 2);
                assert!(run.accepted_in(limited + 89.0, limited + 90.0) > 700 || run.took() < limited + 90.0, "{name}");
            }
        }
    }

    #[test]
    fn a_receiver_that_refuses_nothing_is_not_limited() {
        let run = deliver(Box::new(|_| None), 5_000, 8, 0.01, 3);
        assert!(run.took() < 7.0, "{}", run.took());
    }

    #[test]
    fn a_limit_that_changes_is_learnt_anew() {
        let (mut before, mut after) = (window(50, 1.0, Says::WholeSeconds), apart(1.0, Says::WholeSeconds));
        let run = deliver(Box::new(move |at| if at < 20.0 { before(at) } else { after(at) }), 1_200, 8, 0.01, 4);
        let later = run.accepted_in(50.0, 150.0);
        assert!(later >= 70, "{later} of 100");
        let (mut before, mut after) = (apart(1.0, Says::WholeSeconds), window(50, 1.0, Says::WholeSeconds));
        let run = deliver(Box::new(move |at| if at < 60.0 { before(at) } else { after(at) }), 6_000, 8, 0.01, 5);
        let later = run.accepted_in(120.0, 150.0);
        assert!(later >= 1_050, "{later} of 1500");
    }

    fn start() -> Instant {
        Clock::starting_at(UnixMs(0)).monotonic()
    }

    const TOO_MANY: Refusal = Refusal { asked: None, too_many: true };

    #[tokio::test]
    async fn silences_grow_while_nothing_gets_through() {
        let start = start();
        let mut throttle = Throttle::new(None, start);
        let (mut now, mut silences) = (start, Vec::new());
        for _ in 0..9 {
            assert_eq!(throttle.gate(now), Gate::Open);
            throttle.began(now);
            let silence = throttle.refused(TOO_MANY, now, now);
            silences.push(silence.as_secs());
            assert_eq!(throttle.silent_until(now), Some(now + silence));
            now += silence;
        }
        assert_eq!(silences, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        throttle.began(now);
        let hour = Duration::from_secs(3600);
        assert_eq!(throttle.refused(Refusal { asked: Some(hour), ..TOO_MANY }, now, now), hour, "as it asks");
    }

    #[tokio::test]
    async fn after_a_silence_one_at_a_time_is_tried() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let asked = Refusal { asked: Some(Duration::from_secs(5)), too_many: false };
        let mut throttle = Throttle::new(None, start);
        for _ in 0..3 {
            throttle.began(start);
        }
        assert_eq!(throttle.refused(asked, start, at(1)), Duration::from_secs(5));
        // Those that began before say nothing new.
        throttle.accepted(start, at(2));
        assert_eq!(throttle.refused(asked, start, at(2)), Duration::from_secs(5));
        assert_eq!(throttle.silent_until(at(2)), Some(at(7)));
        assert_eq!(throttle.refused(TOO_MANY, start, at(2)), Duration::ZERO);
        throttle.began(at(7));
        assert_eq!(throttle.gate(at(7)), Gate::AfterTrial);
        throttle.ended(start);
        assert_eq!(throttle.gate(at(7)), Gate::AfterTrial, "that was another");
        throttle.ended(at(7));
        assert_eq!(throttle.gate(at(8)), Gate::Open, "it failed otherwise: another is tried");
        throttle.began(at(8));
        throttle.accepted(at(8), at(8));
        assert_eq!(throttle.silent_until(at(8)), None);
        assert!(matches!(throttle.gate(at(8)), Gate::At(_)), "slowly at first");
        assert_eq!(throttle.refused(TOO_MANY, start, at(9)), Duration::ZERO, "that began before the silence, too");
        assert!(matches!(throttle.gate(at(8)), Gate::At(_)));
        assert!(!throttle.is_free(at(600)));
        assert_eq!((throttle.gate(at(608)), throttle.is_free(at(608))), (Gate::Open, true), "it is forgotten");
    }

    #[tokio::test]
    async fn a_silence_before_the_start_is_one() {
        let start = start();
        let until = start + Duration::from_secs(3600);
        let mut throttle = Throttle::new(Some(until), start);
        assert_eq!(throttle.silent_until(start), Some(until));
        throttle.began(until);
        assert_eq!(throttle.gate(until), Gate::AfterTrial);
        throttle.accepted(until, until);
        assert!(matches!(throttle.gate(until), Gate::At(_)));
        // One that is over holds nothing back, but it begins slowly.
        let mut throttle = Throttle::new(Some(start), start);
        assert_eq!((throttle.silent_until(start), throttle.gate(start)), (None, Gate::Open));
        throttle.began(start);
        assert_eq!(throttle.gate(start), Gate::AfterTrial);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever the receiver takes, however it says so, and however long its answers take.
        #[test]
        fn any_limit_is_met(
            rate in 0.2_f64..40.0,
            burst in 1_u32..40,
            kind in 0_u8..2,
            says in prop::sample::select(vec![Says::Exactly, Says::WholeSeconds, Says::Nothing]),
            workers in prop::sample::select(vec![1_usize, 8, 64]),
            latency in 0.001_f64..0.02,
            seed in any::<u64>(),
        ) {
            let per = f64::from(burst) / rate;
            let limiter = if kind == 0 { bucket(f64::from(burst), per, says) } else { window(burst, per, says) };
            let messages = 400;
            let run = deliver(limiter, messages, workers, latency, seed);
            // What says nothing, or too much, costs a silence each time; it is never many times as long.
            let needed = 400.0 / rate;
            prop_assert!(run.took() <= 1.6 * needed + 60.0, "{} s instead of {needed}", run.took());
            let wasted = run.refused.saturating_sub(workers);
            prop_assert!(wasted * 4 <= messages + run.refused, "{wasted} wasted");
            if matches!(says, Says::Nothing) && workers == 1 {
                prop_assert!(run.most_after_silence <= 1);
            }
        }

        /// Attempts in any order of beginning and ending: what is open opens, and no silence is without an end.
        #[test]
        fn no_history_shuts_the_gate_for_good(
            steps in prop::collection::vec((0_u8..5, 0_u64..20_000, 0_usize..8), 1..200),
        ) {
            let start = start();
            let mut throttle = Throttle::new(None, start);
            let (mut now, mut silent, mut under_way) = (start, start, Vec::new());
            for (what, wait, which) in steps {
                now += Duration::from_millis(wait);
                if what < 2 || under_way.is_empty() {
                    if now >= silent && throttle.gate(now) == Gate::Open {
                        throttle.began(now);
                        under_way.push(now);
                    }
                    continue;
                }
                let began = under_way.remove(which % under_way.len());
                match what {
                    2 => {
                        let refusal = Refusal { asked: Some(Duration::from_millis(wait)), too_many: which > 4 };
                        let silence = throttle.refused(refusal, began, now);
                        prop_assert!(silence <= Duration::from_secs(60));
                        silent = silent.max(now + silence);
                    }
                    3 => throttle.accepted(began, now),
                    _ => throttle.ended(began),
                }
            }
            for began in under_way {
                throttle.ended(began);
            }
            let later = now.max(silent) + FORGOTTEN_AFTER;
            prop_assert_eq!(throttle.gate(later), Gate::Open);
        }
    }

    /// Slower would not help: the sink goes on at a message in a second or so, and does not come to a stand.
    #[test]
    fn refusals_that_have_nothing_to_do_with_the_pace_do_not_stop_it() {
        for (share, longest) in [(0.05, 120.0), (0.2, 300.0), (0.3, 400.0)] {
            for says in [Says::Nothing, Says::Exactly] {
                for seed in 0..5 {
                    let run = deliver(at_random(share, seed, says), 120, 8, 0.02, seed);
                    assert!(run.took() < longest, "{share} {says:?} {seed}: {} s", run.took());
                }
            }
        }
    }
}
