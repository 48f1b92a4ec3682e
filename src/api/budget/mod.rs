//! The request budget: in any 60 seconds there are never more requests than the limit, even over restarts and kills.
//!
//! Invariants:
//! - A request is recorded in the [`ring`](Ring) before it leaves. The slot of the request is free again 60 seconds
//!   after the *answer*. If the 60 seconds counted from the sending, jitter on the network could put one request too
//!   many into the API's minute.
//! - The API's headers can only tighten the budget, never widen it.
//! - If no answer states a limit, the relay learns a pace from 429s. This pace can only tighten the budget, too.
//! - While older messages wait to be read, polls of the newest page and the reading of these messages leave slots for
//!   each other.
//!
//! The decisions are pure, in [`Window`]. [`Budget`] adds the files in which requests are recorded.

mod commands;
mod headers;
mod rate_limited;
mod ring;
mod server_limit;
#[cfg(test)]
mod tests;
mod unstated_limit;
mod window;

use std::path::Path;
use std::time::Duration;

use commands::CommandRequests;
pub use commands::{CommandBudget, CommandTicket};
pub use headers::RateHeaders;
pub use ring::Ring;
pub use server_limit::ForeignRequests;
pub use window::{BudgetLimits, Demand, Permission, RequestPurpose, Ticket, Window};

use crate::domain::UnixMs;
use crate::time::Instant;

/// The API's documented limit is a number of requests in this time.
pub const WINDOW: Duration = Duration::from_secs(60);

/// A [`Window`] whose requests are also recorded in a file, for the next process.
#[derive(Debug)]
pub struct Budget {
    window: Window,
    ring: Option<Ring>,
    commands: Option<CommandRequests>,
}

impl Budget {
    /// Opens a budget within `limits`. The budget counts the requests that an earlier process and commands recorded in
    /// `dir`. `now` and `wall` are the present moment: by the monotonic clock, and by the relay's time.
    ///
    /// # Errors
    /// An error if the ring file cannot be read or made.
    pub fn open(limits: BudgetLimits, dir: &Path, now: Instant, wall: UnixMs) -> std::io::Result<Self> {
        let (ring, recorded) = Ring::open(&dir.join("budget.ring"), limits.requests)?;
        let mut window = Window::new(limits);
        for entry in recorded {
            match entry.age(wall) {
                Some(age) => window.remember(age, now),
                None => window.remember_under_way(now),
            }
        }
        let (commands, ages) = CommandRequests::open(dir, wall);
        ages.into_iter().for_each(|age| window.remember(age, now));
        Ok(Self { window, ring: Some(ring), commands: Some(commands) })
    }

    /// Opens a budget within `limits` for a relay that shares its state with other relays. The budget counts the
    /// requests in `answered`, which these relays made with the same key: for each request, the time since its answer,
    /// or `None` if it was not answered. The requests that commands recorded in `dir` count, too.
    ///
    /// # Errors
    /// As for [`Budget::open`].
    pub fn open_shared(
        limits: BudgetLimits,
        dir: &Path,
        answered: Vec<Option<Duration>>,
        now: Instant,
        wall: UnixMs,
    ) -> std::io::Result<Self> {
        // The requests in the file are not counted, because `answered` contains them, too.
        let (ring, _) = Ring::open(&dir.join("budget.ring"), limits.requests)?;
        let (commands, ages) = CommandRequests::open(dir, wall);
        let mut budget = Self { window: Window::new(limits), ring: Some(ring), commands: Some(commands) };
        budget.remember(answered, now);
        budget.remember(ages.into_iter().map(Some), now);
        Ok(budget)
    }

    /// Makes a budget whose requests are recorded in no file.
    pub fn in_memory(limits: BudgetLimits) -> Self {
        Self { window: Window::new(limits), ring: None, commands: None }
    }

    /// Counts earlier requests: for each, the time since its answer, or `None` if it was not answered.
    fn remember(&mut self, answered: impl IntoIterator<Item = Option<Duration>>, now: Instant) {
        for answered in answered {
            match answered {
                Some(age) => self.window.remember(age, now),
                None => self.window.remember_under_way(now),
            }
        }
    }

    /// Decides whether a request may leave now. Requests that commands have made since the last call count, too.
    pub fn admit(&mut self, lane: RequestPurpose, now: Instant) -> Permission {
        let made = self.commands.as_mut().map_or(0, CommandRequests::count_new);
        (0..made).for_each(|_| self.window.remember_under_way(now));
        self.window.admit(lane, now)
    }

    /// Sets new limits. The file gets one slot for each request that the new limit allows, and keeps the requests that
    /// still count.
    pub fn set_limits(&mut self, limits: BudgetLimits, now: Instant, wall: UnixMs) {
        self.window.set_limits(limits);
        let Some(ring) = self.ring.as_mut().filter(|ring| ring.requests() != limits.requests) else { return };
        let entries = self.window.in_use(now).map(|(ticket, used)| match used {
            Ok(answered) => (ticket, wall.before(answered).0),
            Err(sent) => (ticket, wall.before(sent).0.saturating_neg()),
        });
        ring.resize(limits.requests, entries);
    }

    /// Records a request that is about to leave.
    pub fn send(&mut self, lane: RequestPurpose, now: Instant, wall: UnixMs) -> Ticket {
        let ticket = self.window.send(lane, now);
        if let Some(ring) = &mut self.ring {
            ring.sent(ticket, wall);
        }
        ticket
    }

    /// Records that a request was answered, or that the request ended without an answer.
    pub fn answered(&mut self, ticket: Ticket, headers: &RateHeaders, now: Instant, wall: UnixMs) {
        self.window.answered(ticket, headers, now);
        if let Some(ring) = &mut self.ring {
            ring.answered(ticket, wall);
        }
    }

    /// Returns the window, which makes the decisions.
    pub fn window(&mut self) -> &mut Window {
        &mut self.window
    }
}
