//! The sliding window: pure decisions, the time passed in.

use std::collections::VecDeque;
use std::time::Duration;

use super::headers::RateHeaders;
use super::server::{Foreign, Heard, LONGEST_SILENCE, SLACK, Server, Share};
use crate::time::Instant;
use crate::time::backoff::Schedule;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestPurpose {
    /// Asking what is new.
    Head,
    /// Reading a gap, or what was there before a first run.
    Walk,
    /// Reading the lookback again.
    Sweep,
}

/// What waits behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A sweep.
    Sweeps,
    /// Gaps, or what was there before a first run.
    Walks,
}

/// The numbers of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Requests in any [`BudgetLimits::window`]; at least 1.
    pub requests: u32,
    /// The length of the window: 60 s, except in tests.
    pub window: Duration,
    /// How often the head wants to be asked: so much is left for it.
    pub head_interval: Duration,
}

/// Names a request. Counts up from the requests that were remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Whether a request may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Now.
    Go,
    /// Ask again then.
    WaitUntil(Instant),
    /// Ask again when a request that is under way was answered.
    WaitForAnswer,
}

/// The requests of the last minute, and what the server said of them.
#[derive(Debug)]
pub struct Window {
    limits: BudgetLimits,
    slots: VecDeque<Slot>,
    next_ticket: u64,
    server: Server,
    silent_until: Option<Instant>,
    refused_in_a_row: u32,
    /// Whether this process had an answer: until then it knows nothing, and one request at a time is enough.
    answered: bool,
    last_poll: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    ticket: Ticket,
    lane: RequestPurpose,
    sent: Instant,
    /// `None` while it is under way.
    answered: Option<Instant>,
}

impl Slot {
    /// When it counts no longer in a window of this length; `None` while nobody knows.
    fn free_at(&self, window: Duration) -> Option<Instant> {
        self.answered.map(|answered| answered + window)
    }

    fn is_in_use(&self, window: Duration, now: Instant) -> bool {
        self.free_at(window).is_none_or(|free_at| free_at > now)
    }
}

/// After a window that was used up one request leaves alone; but others do not wait for it longer than this.
const ALONE: Duration = Duration::from_secs(5);

/// Where the API names a time that nobody can wait for, or that is no duration: when to ask whether it is over.
const PROBES: Schedule = Schedule { initial: Duration::from_secs(60), factor: 2.0, max: LONGEST_SILENCE };

/// Both instants of an age that was written down in whole milliseconds are rounded: it may be too long by as much.
const ROUNDED: Duration = Duration::from_millis(1);

impl Window {
    /// An empty window.
    pub fn new(limits: BudgetLimits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            next_ticket: 0,
            server: Server::new(limits.window),
            silent_until: None,
            refused_in_a_row: 0,
            answered: false,
            last_poll: None,
        }
    }

    /// A request of an earlier process that was answered `age` ago.
    pub fn remember(&mut self, age: Duration, now: Instant) {
        let at = now.checked_sub(age.saturating_sub(ROUNDED)).unwrap_or(now);
        self.remember_at(at, Some(at));
    }

    /// A request that an earlier process sent, and whose answer it did not live to see: it may be on its way still.
    pub fn remember_under_way(&mut self, now: Instant) {
        self.remember_at(now, Some(now + SLACK));
    }

    /// Nobody knows what it was for. As one of the head's it counts in the limit, but does not hold up what is read behind
    /// the head: what an earlier process polled is no reason to let a sweep wait.
    fn remember_at(&mut self, sent: Instant, answered: Option<Instant>) {
        let ticket = self.take_ticket();
        self.slots.push_back(Slot { ticket, lane: RequestPurpose::Head, sent, answered });
    }

    fn take_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Whether a request may leave now.
    pub fn admit(&mut self, lane: RequestPurpose, now: Instant) -> Permission {
        let share = self.share();
        let memory = share.window.max(self.server.memory());
        self.slots.retain(|slot| slot.is_in_use(memory, now));
        if !self.answered && self.slots.iter().any(|slot| slot.answered.is_none()) {
            return Permission::WaitForAnswer;
        }
        let mut wait = self.silent_until(now);
        if self.server.is_unsure(now) {
            let under_way = self.slots.iter().filter(|slot| slot.answered.is_none());
            let alone_until = under_way.map(|slot| slot.sent + ALONE).max();
            wait = wait.max(alone_until.filter(|until| *until > now));
        }
        let BudgetLimits { requests, head_interval, .. } = self.limits;
        let mut below = |share: Share, counts: fn(RequestPurpose) -> bool| match self.when_below(share, counts, now) {
            Below::Now => true,
            Below::At(instant) => {
                wait = wait.max(Some(instant));
                true
            }
            Below::AfterAnswer => false,
        };
        let mut fits = below(if lane == RequestPurpose::Head { self.head_limit(now) } else { share }, |_| true);
        if lane != RequestPurpose::Head {
            let behind = share.requests - self.head_share(share);
            fits &= below(Share { requests: behind, ..share }, |lane| lane != RequestPurpose::Head);
        }
        if lane == RequestPurpose::Sweep {
            let sweeps = sweep_share(share.requests);
            fits &= below(Share { requests: sweeps, ..share }, |lane| lane == RequestPurpose::Sweep);
        }
        if lane == RequestPurpose::Sweep {
            wait = wait.max(self.sweep_pace(share, now).filter(|until| *until > now));
        }
        if lane != RequestPurpose::Head {
            wait = wait.max(self.server.kept_for_head_until(head_interval, requests, self.last_poll, now));
        } else if let Some(last) = self.last_poll.filter(|_| self.silent_until.is_none_or(|until| until <= now)) {
            // Whatever the API says of its limit: asking once in a while is the only way to learn more.
            wait = wait.map(|until| until.min(last + LONGEST_SILENCE)).filter(|until| *until > now);
        }
        match wait {
            _ if !fits => Permission::WaitForAnswer,
            Some(until) => Permission::WaitUntil(until),
            None => Permission::Go,
        }
    }

    /// Until when the API wants silence: after a 429, or because its window is used up.
    pub fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.silent_until.filter(|until| *until > now).max(self.server.spent_until(now))
    }

    /// What is left of the limit beside other programs on the same key.
    fn share(&self) -> Share {
        self.server.share(self.limits.requests, self.limits.window)
    }

    /// What background work leaves to the head: what its interval needs, at most half.
    fn head_share(&self, share: Share) -> usize {
        let wanted = share.window.as_secs_f64() / self.limits.head_interval.as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let wanted = wanted.ceil() as usize;
        wanted.min(share.requests / 2)
    }

    /// What the head keeps to. While the API says what its window has left, that and our own limit; otherwise the pace.
    fn head_limit(&self, now: Instant) -> Share {
        match self.server.lasts(now) {
            Some((_, 1..)) if self.server.unavailable() == 0 => Share::whole(self.limits.requests, self.limits.window),
            _ => self.share(),
        }
    }

    fn when_below(&self, share: Share, counts: fn(RequestPurpose) -> bool, now: Instant) -> Below {
        let Share { requests, window } = share;
        let used = self.slots.iter().filter(|slot| counts(slot.lane) && slot.is_in_use(window, now));
        let excess = (used.clone().count() + 1).saturating_sub(requests.max(1));
        if excess == 0 {
            return Below::Now;
        }
        let mut free: Vec<Instant> = used.filter_map(|slot| slot.free_at(window)).collect();
        free.sort_unstable();
        free.get(excess - 1).map_or(Below::AfterAnswer, |instant| Below::At(*instant))
    }

    /// How long after a head poll that took so many `requests` the next may come.
    ///
    /// The head's interval at least. While something waits behind it, the head keeps to its share, as a pace: counting
    /// the last minute instead would silence it for as long as it had polled quickly before. While nothing does, it is
    /// slowed down just so much that the slots last evenly until others are free. What the API's own window has left
    /// lasts evenly until its end.
    pub fn head_spacing(&self, demand: Demand, requests: u32, now: Instant) -> Duration {
        let share = self.share();
        let least = self.limits.head_interval;
        let lasting = self.server.lasts(now).map_or(Duration::ZERO, |(ends, left)| evenly(ends, left, now));
        let mut pace = match demand {
            Demand::Nothing => self.even_spacing(self.head_limit(now), now),
            Demand::Sweeps => pace(share.window, share.requests - sweep_share(share.requests)) * requests,
            Demand::Walks => pace(share.window, share.requests / 2) * requests,
        };
        // A limit that is tighter than ours is no reason for an endless silence.
        if share.window > self.limits.window {
            pace = pace.min(LONGEST_SILENCE);
        }
        least.max(pace).max(lasting.min(LONGEST_SILENCE))
    }

    /// Where slots are scarce, sweeps keep a pace, so that the head finds one whenever it wants to.
    fn sweep_pace(&self, share: Share, now: Instant) -> Option<Instant> {
        let sweeps = sweep_share(share.requests);
        let in_use = self.slots.iter().filter(|slot| slot.is_in_use(share.window, now));
        if in_use.count() < share.requests - sweeps {
            return None;
        }
        let last = self.slots.iter().rev().find(|slot| slot.lane == RequestPurpose::Sweep)?.sent;
        Some(last + pace(share.window, sweeps))
    }

    fn even_spacing(&self, share: Share, now: Instant) -> Duration {
        let Share { requests, window } = share;
        let in_use = self.slots.iter().filter(|slot| slot.is_in_use(window, now));
        let mut free: Vec<Instant> = in_use.map(|slot| slot.free_at(window).unwrap_or(now + window)).collect();
        free.sort_unstable();
        let spare = requests.saturating_sub(free.len());
        let spacings = free.into_iter().enumerate().map(|(freed, until)| evenly(until, spare + freed, now));
        spacings.max().unwrap_or_default()
    }

    /// Records a request that leaves now.
    pub fn send(&mut self, lane: RequestPurpose, now: Instant) -> Ticket {
        let ticket = self.take_ticket();
        self.slots.push_back(Slot { ticket, lane, sent: now, answered: None });
        if lane == RequestPurpose::Head {
            self.last_poll = Some(now);
        }
        self.server.sent();
        ticket
    }

    /// Records that a request is over, and what its answer said of the limit, if there was one.
    pub fn answered(&mut self, ticket: Ticket, headers: &RateHeaders, now: Instant) {
        self.answered = true;
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.ticket == ticket) else { return };
        slot.answered = Some(now);
        let sent = slot.sent;
        let count = |counts: &dyn Fn(&Slot) -> bool| {
            u32::try_from(self.slots.iter().filter(|slot| counts(slot)).count()).unwrap_or(u32::MAX)
        };
        let under_way = count(&|slot| slot.answered.is_none());
        let beside = count(&|slot| slot.ticket != ticket && slot.answered.is_none_or(|answered| answered > sent));
        let own_since = |since: Instant| count(&|slot| slot.sent >= since);
        self.server.heard(Heard { headers, sent, beside, under_way }, now, own_since);
    }

    /// A 429: silence until the reset, or for as long as `Retry-After` or else `fallback` says. Asking for the same
    /// again and again makes it longer, whatever the server says. What is no duration, or more than a quarter of an hour,
    /// is not obeyed: the API is asked after a minute, and then less often, whether it is over.
    pub fn refused(&mut self, headers: &RateHeaders, fallback: impl Fn(u32) -> Duration, now: Instant) -> Duration {
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        self.server.refused(headers, now);
        let told = [headers.reset, headers.retry_after];
        let asked = told.into_iter().flatten().find(|wait| *wait <= LONGEST_SILENCE);
        let is_too_long = headers.reset_is_absurd || told.iter().any(Option::is_some);
        let wait = match asked {
            Some(asked) if self.refused_in_a_row == 1 => asked,
            Some(asked) => asked.max(fallback(self.refused_in_a_row)),
            None if is_too_long => PROBES.delay(self.refused_in_a_row),
            None => fallback(self.refused_in_a_row),
        };
        self.silent_until = self.silent_until.max(Some(now + wait));
        wait
    }

    /// An answer that was not a 429.
    pub fn not_refused(&mut self) {
        self.refused_in_a_row = 0;
    }

    /// How many 429s came in a row.
    pub fn refusals(&self) -> u32 {
        self.refused_in_a_row
    }

    /// Requests in the server's current or last window that are not ours to make: those of other programs, and at the
    /// start what an earlier process may have forgotten.
    pub fn foreign(&self) -> u32 {
        self.server.unavailable()
    }

    /// Requests of other programs for certain, a minute.
    pub fn foreign_for_certain(&self) -> Foreign {
        self.server.foreign()
    }

    /// How many requests a minute are left for what is read behind the head.
    pub fn background(&self) -> f64 {
        let share = self.share();
        let left = u32::try_from(share.requests - self.head_share(share)).unwrap_or(u32::MAX);
        f64::from(left) * super::WINDOW.as_secs_f64() / share.window.as_secs_f64()
    }

    /// What the server's headers say of its current window: the limit, what is left, and for how long.
    pub fn server(&self, now: Instant) -> Option<(Option<u32>, u32, Duration)> {
        self.server.shown(now)
    }
}

/// How far apart so many requests are that last until then.
fn evenly(until: Instant, requests: usize, now: Instant) -> Duration {
    until.saturating_duration_since(now) / u32::try_from(requests.saturating_add(1)).unwrap_or(u32::MAX)
}

/// How far apart so many requests in a window are. One slot for two lanes: they take turns.
fn pace(window: Duration, requests: usize) -> Duration {
    match u32::try_from(requests) {
        Ok(0) => window * 2,
        requests => window / requests.unwrap_or(u32::MAX),
    }
}

/// Sweeps are never urgent: nothing is lost while one takes its time.
fn sweep_share(allowed: usize) -> usize {
    (allowed / 5).max(1).min(allowed)
}

enum Below {
    Now,
    At(Instant),
    AfterAnswer,
}
