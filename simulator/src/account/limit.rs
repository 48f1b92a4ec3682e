//! The rate limit: its windows, and another program whose requests count in the same windows.
//!
//! Invariants: a window never counts more than the limit. Requests of the other program are counted at the time when
//! they are due, before anything that happens later, whether or not another request came in between.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::switches::{LimitScope, ResetRounding, Switches, WindowKind};

/// The limit's decision about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// The time until the window resets.
    pub(crate) reset: Duration,
}

impl Verdict {
    /// Returns the decision for a caller whose requests are not counted.
    pub(crate) fn untouched(switches: &Switches) -> Self {
        Self { allowed: true, limit: switches.limit, remaining: switches.limit, reset: switches.window }
    }

    pub(crate) fn reset_seconds(&self, rounding: ResetRounding) -> u64 {
        match rounding {
            ResetRounding::Up => self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0),
            ResetRounding::Down => self.reset.as_secs(),
        }
    }
}

/// The windows of all keys, and the other programs.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    windows: HashMap<String, Window>,
    foreign: HashMap<String, Foreign>,
}

/// Another program that uses the same key at a steady pace.
#[derive(Debug)]
struct Foreign {
    every: Duration,
    next: Duration,
}

/// The shortest pause between requests of the other program. A thousand requests a second are more than any limit; more
/// requests would only take longer to count.
const SHORTEST: Duration = Duration::from_millis(1);

/// A window, with the times of the requests in it, oldest first.
#[derive(Clone, Debug, Default)]
struct Window {
    opened: Duration,
    spent: VecDeque<Duration>,
}

impl Window {
    /// Removes the requests that no longer belong to the present window.
    fn settle(&mut self, now: Duration, switches: &Switches) {
        let length = switches.window;
        match switches.window_kind {
            WindowKind::Sliding => {
                while self.spent.front().is_some_and(|&spent| now.saturating_sub(spent) >= length) {
                    self.spent.pop_front();
                }
            }
            WindowKind::FirstRequest => {
                if now.saturating_sub(self.opened) >= length {
                    self.spent.clear();
                    self.opened = now;
                } else if self.spent.is_empty() {
                    self.opened = now;
                }
            }
            WindowKind::Calendar => {
                let length = length.as_nanos().max(1);
                let into = now.as_nanos() % length;
                let opened = now.saturating_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX)));
                if opened != self.opened {
                    self.spent.clear();
                    self.opened = opened;
                }
            }
        }
    }

    fn spend(&mut self, now: Duration, switches: &Switches) -> Verdict {
        let verdict = self.left(now, switches);
        if verdict.allowed {
            self.spent.push_back(now);
        }
        Verdict { remaining: verdict.remaining.saturating_sub(1), reset: self.reset(now, switches), ..verdict }
    }

    /// Returns the decision about a request that would come now, without counting the request.
    fn left(&mut self, now: Duration, switches: &Switches) -> Verdict {
        self.settle(now, switches);
        let limit = switches.limit;
        let used = u32::try_from(self.spent.len()).unwrap_or(u32::MAX);
        Verdict {
            allowed: used < limit,
            limit,
            remaining: limit.saturating_sub(used),
            reset: self.reset(now, switches),
        }
    }

    fn reset(&self, now: Duration, switches: &Switches) -> Duration {
        let opened = match switches.window_kind {
            WindowKind::Sliding => self.spent.front().copied().unwrap_or(now),
            WindowKind::FirstRequest | WindowKind::Calendar => self.opened,
        };
        (opened + switches.window).saturating_sub(now)
    }
}

impl Limiter {
    /// Counts a request of this key.
    pub(crate) fn spend(&mut self, key: &str, now: Duration, switches: &Switches) -> Verdict {
        self.catch_up(now, switches);
        self.window(key, switches).spend(now, switches)
    }

    /// Returns what is left for this key, without counting a request. The result does not yet include requests of the
    /// other program that became due since the last counted request.
    pub(crate) fn left(&self, key: &str, now: Duration, switches: &Switches) -> Verdict {
        let window = self.windows.get(window_name(key, switches)).cloned();
        window.unwrap_or_default().left(now, switches)
    }

    /// Counts requests that another program makes with this key now.
    pub(crate) fn spend_foreign(&mut self, key: &str, requests: u32, now: Duration, switches: &Switches) {
        self.catch_up(now, switches);
        for _ in 0..requests.min(switches.limit) {
            self.window(key, switches).spend(now, switches);
        }
    }

    /// Sets how many requests a minute another program makes with this key from now on; zero ends them.
    pub(crate) fn set_foreign(&mut self, key: &str, per_minute: f64, now: Duration, switches: &Switches) {
        self.catch_up(now, switches);
        let every = Duration::try_from_secs_f64(60.0 / per_minute).ok().map(|every| every.max(SHORTEST));
        match every.filter(|_| per_minute > 0.0) {
            Some(every) => drop(self.foreign.insert(key.to_owned(), Foreign { every, next: now + every })),
            None => drop(self.foreign.remove(key)),
        }
    }

    /// Returns the keys that other programs use, each with the requests a minute.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = (&str, f64)> {
        self.foreign.iter().map(|(key, foreign)| (key.as_str(), 60.0 / foreign.every.as_secs_f64()))
    }

    /// Begins all windows anew.
    pub(crate) fn clear(&mut self) {
        self.windows.clear();
    }

    fn window(&mut self, key: &str, switches: &Switches) -> &mut Window {
        self.windows.entry(window_name(key, switches).to_owned()).or_default()
    }

    fn catch_up(&mut self, now: Duration, switches: &Switches) {
        let mut due: Vec<(Duration, String)> = Vec::new();
        for (key, foreign) in &mut self.foreign {
            // Requests that are older than two windows are skipped. They could only move the beginning of the window.
            let oldest = now.saturating_sub(switches.window * 2);
            if foreign.next < oldest {
                let skipped = (oldest - foreign.next).as_nanos() / foreign.every.as_nanos();
                foreign.next = u32::try_from(skipped).map_or(oldest, |skipped| foreign.next + foreign.every * skipped);
            }
            while foreign.next <= now {
                due.push((foreign.next, key.clone()));
                foreign.next += foreign.every;
            }
        }
        due.sort_unstable();
        for (time, key) in due {
            self.window(&key, switches).spend(time, switches);
        }
    }
}

/// Returns the name of the window in which the requests of a key count.
fn window_name<'a>(key: &'a str, switches: &Switches) -> &'a str {
    match switches.limit_scope {
        LimitScope::Key => key,
        LimitScope::Account => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend_all(limiter: &mut Limiter, at: Duration, switches: &Switches) -> u32 {
        (0..1000).take_while(|_| limiter.spend("key", at, switches).allowed).count().try_into().unwrap()
    }

    #[test]
    fn a_window_begins_with_its_first_request() {
        let switches = Switches::default();
        let mut limiter = Limiter::default();
        let start = Duration::from_millis(17_250);
        let first = limiter.spend("key", start, &switches);
        assert_eq!((first.remaining, first.reset_seconds(switches.reset)), (119, 60));
        assert_eq!(spend_all(&mut limiter, start + Duration::from_secs(59), &switches), 119);
        let refused = limiter.spend("key", start + Duration::from_millis(59_100), &switches);
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        assert_eq!((refused.reset_seconds(ResetRounding::Up), refused.reset_seconds(ResetRounding::Down)), (1, 0));
        assert_eq!(spend_all(&mut limiter, start + Duration::from_secs(60), &switches), 120);
    }

    #[test]
    fn a_sliding_window_frees_one_slot_at_a_time() {
        let switches = Switches { limit: 2, window_kind: WindowKind::Sliding, ..Switches::default() };
        let mut limiter = Limiter::default();
        let second = Duration::from_secs(1);
        assert!(limiter.spend("key", second, &switches).allowed);
        assert!(limiter.spend("key", second * 31, &switches).allowed);
        assert!(!limiter.spend("key", second * 60, &switches).allowed);
        assert!(limiter.spend("key", second * 61, &switches).allowed);
        assert!(!limiter.spend("key", second * 61, &switches).allowed);
    }

    #[test]
    fn a_foreign_client_spends_at_its_pace_also_unwatched() {
        let switches = Switches::default();
        let mut limiter = Limiter::default();
        limiter.set_foreign("key", 30.0, Duration::ZERO, &switches);
        // The other program's first request, at 2 s, opens the window. By 41 s the other program has made twenty
        // requests.
        let verdict = limiter.spend("key", Duration::from_secs(41), &switches);
        assert_eq!((verdict.remaining, verdict.reset), (99, Duration::from_secs(21)));
        limiter.set_foreign("key", 0.0, Duration::from_secs(41), &switches);
        assert_eq!(limiter.spend("key", Duration::from_secs(61), &switches).remaining, 98);
    }
}
