//! The sliding window: pure decisions, the time passed in.

use std::collections::VecDeque;
use std::time::Duration;

use super::headers::RateHeaders;
use crate::time::Instant;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
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
pub struct Limits {
    /// Requests in any [`Limits::window`]; at least 1.
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
pub enum Admission {
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
    limits: Limits,
    slots: VecDeque<Slot>,
    next_ticket: u64,
    server: Option<ServerWindow>,
    silent_until: Option<Instant>,
    refused_in_a_row: u32,
    /// Whether this process had an answer: until then it knows nothing, and one request at a time is enough.
    answered: bool,
    previous_foreign: u32,
    foreign_total: u64,
}

#[derive(Debug)]
struct Slot {
    ticket: Ticket,
    lane: Lane,
    sent: Option<Instant>,
    /// `None` while it is under way.
    free_at: Option<Instant>,
}

/// The server's own window, as far as its headers tell.
#[derive(Clone, Copy, Debug)]
struct ServerWindow {
    limit: Option<u32>,
    /// The lowest `Remaining`, less what was sent since.
    left: i64,
    /// No later than this.
    ends: Instant,
    /// Requests in it that are not ours.
    foreign: u32,
}

/// Timers may be early by as much; a window that is estimated begins earlier by as much; what a process sent before it was
/// killed may arrive as much after the start of the next.
const SLACK: Duration = Duration::from_secs(2);

impl Window {
    /// An empty window.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            next_ticket: 0,
            server: None,
            silent_until: None,
            refused_in_a_row: 0,
            answered: false,
            previous_foreign: 0,
            foreign_total: 0,
        }
    }

    /// A request of an earlier process that was answered `age` ago.
    pub fn remember(&mut self, age: Duration, now: Instant) {
        let ticket = self.take_ticket();
        let free_at = now + self.limits.window.saturating_sub(age);
        self.slots.push_back(Slot { ticket, lane: Lane::Walk, sent: now.checked_sub(age), free_at: Some(free_at) });
    }

    /// A request that an earlier process sent, and whose answer it did not live to see: it may be on its way still.
    pub fn remember_under_way(&mut self, now: Instant) {
        let ticket = self.take_ticket();
        let free_at = now + self.limits.window + SLACK;
        self.slots.push_back(Slot { ticket, lane: Lane::Walk, sent: Some(now), free_at: Some(free_at) });
    }

    fn take_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Whether a request may leave now.
    pub fn admit(&mut self, lane: Lane, now: Instant) -> Admission {
        self.slots.retain(|slot| slot.free_at.is_none_or(|free_at| free_at > now));
        if !self.answered && self.slots.iter().any(|slot| slot.free_at.is_none()) {
            return Admission::WaitForAnswer;
        }
        let mut wait = self.silent_until.filter(|until| *until > now);
        if let Some(server) = self.server.filter(|server| server.left <= 0 && server.ends > now) {
            wait = wait.max(Some(server.ends));
        }
        let allowed = self.allowed();
        let mut below = |cap: usize, counts: fn(Lane) -> bool| match self.when_below(cap.max(1), counts) {
            Below::Now => true,
            Below::At(instant) => {
                wait = wait.max(Some(instant));
                true
            }
            Below::AfterAnswer => false,
        };
        let mut fits = below(allowed, |_| true);
        if lane != Lane::Head {
            fits &= below(allowed - self.head_share(allowed), |lane| lane != Lane::Head);
        }
        if lane == Lane::Sweep {
            fits &= below(sweep_share(allowed), |lane| lane == Lane::Sweep);
        }
        if lane == Lane::Sweep {
            wait = wait.max(self.sweep_pace(allowed).filter(|until| *until > now));
        }
        match wait {
            _ if !fits => Admission::WaitForAnswer,
            Some(until) => Admission::WaitUntil(until),
            None => Admission::Go,
        }
    }

    /// What is left of the limit beside other programs on the same key; never so little that we could not ask at all.
    fn allowed(&self) -> usize {
        let configured = self.limits.requests;
        // Who leaves room by a lower limit of their own does not leave it twice.
        let beside = |limit: u32| limit.saturating_sub(self.foreign()).max(limit.min(configured) / 10).min(configured);
        let own = self.server.and_then(|server| server.limit).map_or(configured, beside).max(1);
        usize::try_from(own).unwrap_or(usize::MAX)
    }

    /// What background work leaves to the head: what its interval needs, at most half.
    fn head_share(&self, allowed: usize) -> usize {
        let wanted = self.limits.window.as_secs_f64() / self.limits.head_interval.as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let wanted = wanted.ceil() as usize;
        wanted.min(allowed / 2)
    }

    fn when_below(&self, cap: usize, counts: fn(Lane) -> bool) -> Below {
        let used = self.slots.iter().filter(|slot| counts(slot.lane));
        let excess = (used.clone().count() + 1).saturating_sub(cap);
        if excess == 0 {
            return Below::Now;
        }
        let mut free: Vec<Instant> = used.filter_map(|slot| slot.free_at).collect();
        free.sort_unstable();
        free.get(excess - 1).map_or(Below::AfterAnswer, |instant| Below::At(*instant))
    }

    /// How long after a head poll that took so many `requests` the next may come.
    ///
    /// The head's interval at least. While something waits behind it, the head keeps to its share, as a pace: counting
    /// the last minute instead would silence it for as long as it had polled quickly before. While nothing does, it is
    /// slowed down just so much that the slots last evenly until others are free.
    pub fn head_spacing(&self, demand: Demand, requests: u32, now: Instant) -> Duration {
        let allowed = self.allowed();
        let share = match demand {
            Demand::Nothing => return self.even_spacing(allowed, now),
            Demand::Sweeps => allowed - sweep_share(allowed),
            Demand::Walks => allowed / 2,
        };
        let pace = match u32::try_from(share) {
            // One slot for both: they take turns.
            Ok(0) => self.limits.window * 2,
            share => self.limits.window / share.unwrap_or(u32::MAX),
        };
        self.limits.head_interval.max(pace * requests)
    }

    /// Where slots are scarce, sweeps keep a pace, so that the head finds one whenever it wants to.
    fn sweep_pace(&self, allowed: usize) -> Option<Instant> {
        let share = sweep_share(allowed);
        if self.slots.len() < allowed - share {
            return None;
        }
        let last = self.slots.iter().rev().find(|slot| slot.lane == Lane::Sweep)?.sent?;
        Some(last + self.limits.window / u32::try_from(share).unwrap_or(u32::MAX))
    }

    fn even_spacing(&self, allowed: usize, now: Instant) -> Duration {
        let in_use = self.slots.iter().filter(|slot| slot.free_at.is_none_or(|free_at| free_at > now));
        let mut free: Vec<Instant> = in_use.map(|slot| slot.free_at.unwrap_or(now + self.limits.window)).collect();
        free.sort_unstable();
        let spare = allowed.saturating_sub(free.len());
        let mut spacing = self.limits.head_interval;
        let mut stretch = |until: Instant, polls: usize| {
            let polls = u32::try_from(polls + 1).unwrap_or(u32::MAX);
            spacing = spacing.max(until.saturating_duration_since(now) / polls);
        };
        for (freed, until) in free.into_iter().enumerate() {
            stretch(until, spare + freed);
        }
        if let Some(server) = self.server.filter(|server| server.ends > now) {
            stretch(server.ends, usize::try_from(server.left).unwrap_or(0));
        }
        spacing
    }

    /// Records a request that leaves now.
    pub fn send(&mut self, lane: Lane, now: Instant) -> Ticket {
        let ticket = self.take_ticket();
        self.slots.push_back(Slot { ticket, lane, sent: Some(now), free_at: None });
        if let Some(server) = &mut self.server {
            server.left -= 1;
        }
        ticket
    }

    /// Records that a request is over, and what its answer said of the limit, if there was one.
    pub fn answered(&mut self, ticket: Ticket, headers: &RateHeaders, now: Instant) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.ticket == ticket) {
            slot.free_at = Some(now + self.limits.window);
        }
        self.answered = true;
        let (Some(remaining), Some(reset)) = (headers.remaining, headers.reset) else { return };
        let under_way = self.slots.iter().filter(|slot| slot.free_at.is_none()).count();
        let left = i64::from(remaining) - i64::try_from(under_way).unwrap_or(i64::MAX);
        let ends = now + reset;
        let server = match self.server.filter(|server| server.ends > now) {
            Some(server) => ServerWindow {
                limit: headers.limit.or(server.limit),
                left: server.left.min(left),
                ends: server.ends.min(ends),
                foreign: server.foreign,
            },
            None => {
                self.previous_foreign = self.server.map_or(0, |server| server.foreign);
                ServerWindow { limit: headers.limit, left, ends, foreign: 0 }
            }
        };
        self.server = Some(server);
        self.count_foreign(remaining);
    }

    /// What the server counted in its window beyond what we sent in it was somebody else's.
    fn count_foreign(&mut self, remaining: u32) {
        let Some(server) = &mut self.server else { return };
        let Some(counted) = server.limit.map(|limit| limit.saturating_sub(remaining)) else { return };
        let began = server.ends.checked_sub(self.limits.window + SLACK);
        let own = self.slots.iter().filter(|slot| slot.sent >= began).count();
        let foreign = counted.saturating_sub(u32::try_from(own).unwrap_or(u32::MAX));
        if foreign > server.foreign {
            self.foreign_total += u64::from(foreign - server.foreign);
            server.foreign = foreign;
        }
    }

    /// A 429: silence until the reset, or for as long as `Retry-After` or else `fallback` says. Asking for the same
    /// again and again makes it longer, whatever the server says.
    pub fn refused(&mut self, headers: &RateHeaders, fallback: impl Fn(u32) -> Duration, now: Instant) -> Duration {
        self.refused_in_a_row += 1;
        let asked = headers.reset.or(headers.retry_after);
        let wait = match asked {
            Some(asked) if self.refused_in_a_row == 1 => asked,
            Some(asked) => asked.max(fallback(self.refused_in_a_row)),
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

    /// Requests in the server's current or last window that were not ours.
    pub fn foreign(&self) -> u32 {
        self.server.map_or(0, |server| server.foreign).max(self.previous_foreign)
    }

    /// How many requests of each window are left for what is read behind the head.
    pub fn background(&self) -> usize {
        let allowed = self.allowed();
        allowed - self.head_share(allowed)
    }

    /// What the server's headers say of its current window: the limit, what is left, and for how long.
    pub fn server(&self, now: Instant) -> Option<(Option<u32>, u32, Duration)> {
        let server = self.server.filter(|server| server.ends > now)?;
        let left = u32::try_from(server.left.max(0)).unwrap_or(u32::MAX);
        Some((server.limit, left, server.ends - now))
    }

    /// All of them since the start.
    pub fn foreign_total(&self) -> u64 {
        self.foreign_total
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
