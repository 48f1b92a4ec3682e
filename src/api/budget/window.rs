//! The sliding window of the budget: pure decisions; the time is passed in.

use std::collections::VecDeque;
use std::time::Duration;

use super::headers::RateHeaders;
use super::rate_limited::RateLimited;
use super::server_limit::{ForeignRequests, HeardAnswer, LONGEST_SILENCE, SLACK, ServerLimit, Share};
use super::unstated_limit::UnstatedLimit;
use crate::time::Instant;

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestPurpose {
    /// Polling the newest page.
    Head,
    /// Reading a gap or a seed, or the list of numbers if that list is urgent.
    Walk,
    /// Reading a sweep, or the list of numbers if that list is not urgent.
    Sweep,
}

/// The work that waits beside the polls of the newest page, from nothing to the most urgent work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A sweep, or the list of numbers if that list is not urgent.
    Sweeps,
    /// Gaps or seeds, or the list of numbers if that list is urgent.
    Walks,
}

/// The limits of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// The most requests in any [`BudgetLimits::window`]; at least 1.
    pub requests: u32,
    /// The length of the window: 60 s, except in tests.
    pub window: Duration,
    /// The poll interval. Other work leaves slots for polls at this interval, but at most half of the limit.
    pub head_interval: Duration,
}

/// Identifies a request. Tickets count up, and begin after the tickets of the requests that an earlier process made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Whether a request may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The request may leave now.
    Go,
    /// Ask again at this instant.
    WaitUntil(Instant),
    /// Ask again when a request in flight has been answered.
    WaitForAnswer,
}

/// The requests of the last minute, and the limit that the API's headers state.
#[derive(Debug)]
pub struct Window {
    limits: BudgetLimits,
    slots: VecDeque<Slot>,
    next_ticket: u64,
    server: ServerLimit,
    rate_limited: RateLimited,
    unstated: UnstatedLimit,
    /// Whether this process has had an answer of the API. Until then nothing is known of the API, and one request at a
    /// time is sent.
    answered: bool,
    last_poll: Option<Instant>,
    last_sent: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    ticket: Ticket,
    lane: RequestPurpose,
    sent: Instant,
    /// When the request was answered; `None` while it is in flight.
    answered: Option<Instant>,
}

impl Slot {
    /// When the request no longer counts in a window of this length; `None` while it is in flight.
    fn free_at(&self, window: Duration) -> Option<Instant> {
        self.answered.map(|answered| answered + window)
    }

    fn is_in_use(&self, window: Duration, now: Instant) -> bool {
        self.free_at(window).is_none_or(|free_at| free_at > now)
    }

    /// Whether the request counts in this share now.
    fn counts_in(&self, share: Share, now: Instant) -> bool {
        share.since.is_none_or(|since| self.sent >= since) && self.is_in_use(share.window, now)
    }
}

/// After a window of the API was used up, a single request leaves first. Other requests wait for its answer at most
/// this long.
const ALONE: Duration = Duration::from_secs(5);

/// An age that was computed from two times in whole milliseconds is wrong by at most this.
const ROUNDED: Duration = Duration::from_millis(1);

impl Window {
    /// An empty window.
    pub fn new(limits: BudgetLimits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            next_ticket: 0,
            server: ServerLimit::new(limits.window),
            rate_limited: RateLimited::default(),
            unstated: UnstatedLimit::new(limits.requests, limits.window),
            answered: false,
            last_poll: None,
            last_sent: None,
        }
    }

    /// Changes the limits. Requests of the last minute count in the new limits, too.
    pub fn set_limits(&mut self, limits: BudgetLimits) {
        self.limits = limits;
        self.unstated.set_configured(limits.requests);
    }

    /// Returns the requests that still count: each with its ticket, and the time since its answer (`Ok`) or, if it was
    /// not answered, since its sending (`Err`).
    pub fn in_use(&self, now: Instant) -> impl Iterator<Item = (Ticket, Result<Duration, Duration>)> {
        let used = self.slots.iter().filter(move |slot| slot.is_in_use(self.limits.window, now));
        used.map(move |slot| {
            let since = |at: Instant| now.saturating_duration_since(at);
            (slot.ticket, slot.answered.map(since).ok_or(since(slot.sent)))
        })
    }

    /// Adds a request that another process made, and that was answered `age` ago.
    pub fn remember(&mut self, age: Duration, now: Instant) {
        let at = now.checked_sub(age.saturating_sub(ROUNDED)).unwrap_or(now);
        self.remember_at(at, Some(at));
    }

    /// Adds a request that another process made. It is not known whether the request was answered, so it may still be
    /// on its way to the API.
    pub fn remember_under_way(&mut self, now: Instant) {
        self.remember_at(now, Some(now + SLACK));
    }

    /// Adds a request of another process. Its purpose is not known, so it counts as a poll: it takes a slot of the
    /// limit, but none of the slots that are meant for reading older messages.
    fn remember_at(&mut self, sent: Instant, answered: Option<Instant>) {
        let ticket = self.take_ticket();
        self.slots.push_back(Slot { ticket, lane: RequestPurpose::Head, sent, answered });
    }

    fn take_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Decides whether a request may leave now.
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
        let mut fits = below(self.whole(), |_| true);
        fits &= below(if lane == RequestPurpose::Head { self.head_limit(now) } else { share }, |_| true);
        if lane != RequestPurpose::Head {
            let background = share.requests - self.head_share(share);
            fits &= below(Share { requests: background, ..share }, |lane| lane != RequestPurpose::Head);
        }
        if lane == RequestPurpose::Sweep {
            let sweeps = sweep_share(share.requests);
            fits &= below(Share { requests: sweeps, ..share }, |lane| lane == RequestPurpose::Sweep);
        }
        if lane == RequestPurpose::Sweep {
            wait = wait.max(self.sweep_pace(share, now).filter(|until| *until > now));
        }
        wait = wait.max(self.server.last_kept_until(self.limits.requests, now));
        let spaced = self.last_sent.zip(self.unstated.spacing()).map(|(last, spacing)| last + spacing);
        wait = wait.max(spaced.filter(|until| *until > now));
        if lane != RequestPurpose::Head {
            wait = wait.max(self.server.kept_for_head_until(head_interval, requests, self.last_poll, now));
        } else if let Some(last) = self.last_poll.filter(|_| self.rate_limited.silent_until(now).is_none()) {
            // The headers delay a poll until 15 minutes after the last poll at most, because only a further answer can
            // show that the headers are wrong.
            wait = wait.map(|until| until.min(last + LONGEST_SILENCE)).filter(|until| *until > now);
        }
        match wait {
            _ if !fits => Permission::WaitForAnswer,
            Some(until) => Permission::WaitUntil(until),
            None => Permission::Go,
        }
    }

    /// The instant until which no request may leave: after a 429, or because the API's window is used up.
    pub fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.rate_limited.silent_until(now).max(self.server.spent_until(now))
    }

    /// The configured limit.
    fn whole(&self) -> Share {
        Share::whole(self.limits.requests, self.limits.window)
    }

    /// The part of the limit that other programs on the same key leave to the relay, or, if no answer states the limit,
    /// the pace that 429s have taught.
    fn share(&self) -> Share {
        self.unstated.share().unwrap_or_else(|| self.server.share(self.limits.requests, self.limits.window))
    }

    /// The requests that other work leaves to polls: one for each poll interval, at most half of the limit.
    fn head_share(&self, share: Share) -> usize {
        let wanted = share.window.as_secs_f64() / self.limits.head_interval.as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let wanted = wanted.ceil() as usize;
        wanted.min(share.requests / 2)
    }

    /// The limit for polls. If the API states that its window has requests left, and no other program uses the key,
    /// this is the configured limit: the number of requests that are left limits the relay anyway. Otherwise this is
    /// the relay's share.
    fn head_limit(&self, now: Instant) -> Share {
        match self.server.lasts(now) {
            Some((_, 1..)) if self.server.unavailable() == 0 => self.whole(),
            _ => self.share(),
        }
    }

    fn when_below(&self, share: Share, counts: fn(RequestPurpose) -> bool, now: Instant) -> Below {
        let Share { requests, window, .. } = share;
        let used = self.slots.iter().filter(|slot| counts(slot.lane) && slot.counts_in(share, now));
        let excess = (used.clone().count() + 1).saturating_sub(requests.max(1));
        if excess == 0 {
            return Below::Now;
        }
        let mut free: Vec<Instant> = used.filter_map(|slot| slot.free_at(window)).collect();
        free.sort_unstable();
        free.get(excess - 1).map_or(Below::AfterAnswer, |instant| Below::At(*instant))
    }

    /// Returns the time from the beginning of the last poll to the beginning of the next one, by what is known at
    /// `now`. The last poll began at `began` and took `requests` requests.
    ///
    /// This time is the poll interval at least. While other work waits, polls are spaced evenly, so that they use only
    /// their share of the budget. (A limit on the polls in the last minute would not do: after some quick polls, no
    /// poll could leave for a while.) While no other work waits, polls are just so far apart that the free slots last
    /// until further slots become free. The requests that the API's own window has left are spread evenly until its
    /// end.
    pub fn head_spacing(&self, demand: Demand, requests: u32, began: Instant, now: Instant) -> Duration {
        let share = self.share();
        let least = self.limits.head_interval;
        let lasting = self.server.lasts(now).map_or(Duration::ZERO, |(ends, left)| evenly(ends, left, began));
        let mut pace = match demand {
            Demand::Nothing => self.even_spacing(self.head_limit(now), began, now),
            Demand::Sweeps | Demand::Walks => self.spacing_beside(demand, requests),
        };
        // A limit of the API that is tighter than the configured one must not cause an endless silence.
        if share.window > self.limits.window {
            pace = pace.min(LONGEST_SILENCE);
        }
        least.max(pace).max(lasting.min(LONGEST_SILENCE))
    }

    /// Returns the shortest time between two polls that leaves other work its share of the budget. A poll takes
    /// `requests` requests.
    pub fn spacing_beside(&self, demand: Demand, requests: u32) -> Duration {
        let share = self.share();
        match demand {
            Demand::Nothing => Duration::ZERO,
            Demand::Sweeps => pace(share.window, share.requests - sweep_share(share.requests)) * requests,
            Demand::Walks => pace(share.window, share.requests / 2) * requests,
        }
    }

    /// Returns the shortest time between polls with which the free slots last until further slots become free. The last
    /// poll began at `began`. The slots that sweeps may need do not count as free.
    pub fn spare_spacing(&self, began: Instant, now: Instant) -> Duration {
        let limit = self.head_limit(now);
        let kept = sweep_share(limit.requests);
        let lasting = self.server.lasts(now).map(|(ends, left)| evenly(ends, left.saturating_sub(kept), began));
        let spare = Share { requests: limit.requests - kept, ..limit };
        self.even_spacing(spare, began, now).max(lasting.unwrap_or_default())
    }

    /// The poll interval.
    pub fn head_interval(&self) -> Duration {
        self.limits.head_interval
    }

    /// If slots are scarce, the requests of sweeps leave at an even pace, so that a poll finds a slot whenever it is
    /// due. Returns the instant at which the next of these requests may leave.
    fn sweep_pace(&self, share: Share, now: Instant) -> Option<Instant> {
        let sweeps = sweep_share(share.requests);
        let in_use = self.slots.iter().filter(|slot| slot.counts_in(share, now));
        if in_use.count() < share.requests - sweeps {
            return None;
        }
        let last = self.slots.iter().rev().find(|slot| slot.lane == RequestPurpose::Sweep)?.sent;
        Some(last + pace(share.window, sweeps))
    }

    fn even_spacing(&self, share: Share, began: Instant, now: Instant) -> Duration {
        let Share { requests, window, .. } = share;
        let in_use = self.slots.iter().filter(|slot| slot.counts_in(share, now));
        let mut free: Vec<Instant> = in_use.map(|slot| slot.free_at(window).unwrap_or(now + window)).collect();
        free.sort_unstable();
        let spare = requests.saturating_sub(free.len());
        let spacings = free.into_iter().enumerate().map(|(freed, until)| evenly(until, spare + freed, began));
        spacings.max().unwrap_or_default()
    }

    /// Records a request that leaves now.
    pub fn send(&mut self, lane: RequestPurpose, now: Instant) -> Ticket {
        let ticket = self.take_ticket();
        self.slots.push_back(Slot { ticket, lane, sent: now, answered: None });
        self.last_sent = Some(now);
        if lane == RequestPurpose::Head {
            self.last_poll = Some(now);
        }
        self.server.sent();
        ticket
    }

    /// Records that a request has ended, and the headers of its answer, if there was one.
    pub fn answered(&mut self, ticket: Ticket, headers: &RateHeaders, now: Instant) {
        self.answered = true;
        if headers.state_limit() {
            self.unstated.forget();
        }
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.ticket == ticket) else { return };
        slot.answered = Some(now);
        let sent = slot.sent;
        let count = |counts: &dyn Fn(&Slot) -> bool| {
            u32::try_from(self.slots.iter().filter(|slot| counts(slot)).count()).unwrap_or(u32::MAX)
        };
        let under_way = count(&|slot| slot.answered.is_none());
        let beside = count(&|slot| slot.ticket != ticket && slot.answered.is_none_or(|answered| answered > sent));
        let own_since = |since: Instant| count(&|slot| slot.sent >= since);
        self.server.heard(HeardAnswer { headers, sent, beside, under_way }, now, own_since);
    }

    /// Records a 429, and returns the length of the silence that follows. If this is the nth 429 in a row, and the API
    /// asks for no silence, the silence lasts `fallback(n)`.
    pub fn refused(&mut self, headers: &RateHeaders, fallback: impl Fn(u32) -> Duration, now: Instant) -> Duration {
        self.server.refused(headers, now);
        if !headers.state_limit() {
            self.unstated.refused(now);
        }
        self.rate_limited.refused(headers, fallback, now)
    }

    /// Records that a request was answered, but not with a 429. An answer to a request that left before the last 429
    /// came shows nothing about the time after this 429.
    pub fn not_refused(&mut self, ticket: Ticket) {
        let Some(slot) = self.slots.iter().find(|slot| slot.ticket == ticket) else { return };
        if self.rate_limited.last_refused_at().is_none_or(|refused| slot.sent >= refused) {
            self.rate_limited.not_refused();
            self.unstated.accepted(slot.sent);
        }
    }

    /// The number of 429s in a row.
    pub fn refusals(&self) -> u32 {
        self.rate_limited.in_a_row()
    }

    /// The number of requests in the API's current or last window that are not available to the relay: the requests of
    /// other programs, and at the start also requests that an earlier process may have sent although their record is
    /// lost.
    pub fn foreign(&self) -> u32 {
        self.server.unavailable()
    }

    /// The requests per minute that certainly came from other programs.
    pub fn foreign_for_certain(&self) -> ForeignRequests {
        self.server.foreign()
    }

    /// The requests of other programs that were seen since the process began.
    pub fn foreign_in_total(&self) -> u64 {
        self.server.foreign_in_total()
    }

    /// The requests per minute that are left for reading older messages.
    pub fn background(&self) -> f64 {
        let share = self.share();
        let left = u32::try_from(share.requests - self.head_share(share)).unwrap_or(u32::MAX);
        f64::from(left) * super::WINDOW.as_secs_f64() / share.window.as_secs_f64()
    }

    /// The API's current window by its headers: the limit, the requests that are left, and the time until its end.
    pub fn server(&self, now: Instant) -> Option<(Option<u32>, u32, Duration)> {
        self.server.shown(now)
    }
}

/// The time between two requests if `requests` are spread evenly from `from` until `until`.
fn evenly(until: Instant, requests: usize, from: Instant) -> Duration {
    until.saturating_duration_since(from) / u32::try_from(requests.saturating_add(1)).unwrap_or(u32::MAX)
}

/// The time between two requests if `requests` are spread evenly over a window. If the polls and the other work share a
/// single request in each window (so that `requests` is 0), they take turns: each gets a request in every second
/// window.
fn pace(window: Duration, requests: usize) -> Duration {
    match u32::try_from(requests) {
        Ok(0) => window * 2,
        requests => window / requests.unwrap_or(u32::MAX),
    }
}

/// Returns how many of the allowed requests sweeps may use. Sweeps are never urgent, because a slow sweep loses no
/// message.
fn sweep_share(allowed: usize) -> usize {
    (allowed / 5).max(1).min(allowed)
}

enum Below {
    Now,
    At(Instant),
    AfterAnswer,
}
