//! Finds messages, and receiving numbers, that a receiver refuses again and again while it accepts others. Pure.
//!
//! "Too many requests" and "later, please" usually concern the receiver as a whole. But a receiver may also answer so
//! to one message for ever, because of the message's length or by mistake, or to all messages of one number, because
//! that number is over a limit of its own. Such a refusal is a failure of the message, and must not set the pace for
//! all other messages.
//!
//! Invariants:
//! - While the receiver accepts nothing, nothing is learned.
//! - A message or number that was blamed for its refusals is no longer blamed once it is accepted.
//! - No more than [`MOST`] messages and [`MOST`] numbers are remembered.

use std::collections::HashMap;
use std::hash::Hash;

use crate::domain::Seq;

/// The least number of refusals of a message or a number that can show that the refusals are its own fault.
const LEAST: i32 = 3;

/// The highest probability of chance at which a message or a number is blamed for its refusals.
const BY_CHANCE: f64 = 1e-4;

/// The most messages, and the most numbers, that are remembered.
const MOST: usize = 4096;

/// The messages and numbers that were refused since they were last accepted, and the answers of the receiver in that
/// time.
#[derive(Debug, Default)]
pub(super) struct RefusedAlone {
    totals: Totals,
    messages: Refusals<Seq>,
    numbers: Refusals<i64>,
}

/// The number of all answers of the receiver so far.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    accepted: u64,
    refused: u64,
}

#[derive(Debug)]
struct Refusals<K>(HashMap<K, Count>);

/// The refusals of one message or one number since it was last accepted.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// The number of all refusals.
    refused: u64,
    /// The number of refusals that count as independent: refusals between which nothing was accepted count as one.
    times: i32,
    /// The number of messages that had been accepted at the last refusal that counted.
    accepted: u64,
    /// The totals before the first refusal.
    since: Totals,
}

impl RefusedAlone {
    /// Notes that a message was accepted. `number` is the store's key of the message's receiving number, where the
    /// message has one.
    pub(super) fn accepted(&mut self, seq: Seq, number: Option<i64>) {
        self.totals.accepted += 1;
        self.messages.0.remove(&seq);
        if let Some(number) = number {
            self.numbers.0.remove(&number);
        }
    }

    /// Notes that a message was refused. Returns whether the refusal concerns the message or its number, and not the
    /// receiver as a whole.
    pub(super) fn refused(&mut self, seq: Seq, number: Option<i64>) -> bool {
        let before = self.totals;
        self.totals.refused += 1;
        let by_message = self.messages.count(seq, before).is_own_fault(self.totals);
        let by_number = number.is_some_and(|number| self.numbers.count(number, before).is_own_fault(self.totals));
        by_message || by_number
    }
}

impl<K: Eq + Hash> Refusals<K> {
    /// Counts a refusal of `key`. `before` are the totals without this refusal.
    fn count(&mut self, key: K, before: Totals) -> Count {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let first = Count { refused: 0, times: 0, accepted: before.accepted, since: before };
        let count = self.0.entry(key).or_insert(first);
        count.refused += 1;
        if count.times == 0 || count.accepted < before.accepted {
            count.times = count.times.saturating_add(1);
            count.accepted = before.accepted;
        }
        *count
    }
}

impl Count {
    /// Whether the refusals cannot be chance, given how many of the other messages the receiver refused in the same
    /// time. Where the receiver refuses one of five, six refusals are no chance; where it refuses four of five, it
    /// takes 42 refusals.
    fn is_own_fault(&self, now: Totals) -> bool {
        let others_refused = as_f64((now.refused - self.since.refused).saturating_sub(self.refused));
        let others_accepted = as_f64(now.accepted - self.since.accepted);
        // Before any other answer is known, a receiver is assumed to refuse one message of ten.
        let share = (others_refused + 0.1) / (others_refused + others_accepted + 1.0);
        self.times >= LEAST && share.powi(self.times) < BY_CHANCE
    }
}

fn as_f64(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

impl<K> Default for Refusals<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_refused_while_others_are_accepted_is_found() {
        let mut known = RefusedAlone::default();
        assert!(!known.refused(Seq(1), None));
        known.accepted(Seq(2), None);
        assert!(!known.refused(Seq(1), None));
        assert!(!known.refused(Seq(1), None), "nothing was accepted in between");
        known.accepted(Seq(3), None);
        assert!(known.refused(Seq(1), None));
        assert!(known.refused(Seq(1), None), "it stays so");
        assert!(!known.refused(Seq(4), None), "others are not meant");
        known.accepted(Seq(1), None);
        assert!(!known.refused(Seq(1), None), "accepted once, it begins anew");
    }

    #[test]
    fn a_number_that_is_refused_while_others_are_accepted_is_found() {
        let mut known = RefusedAlone::default();
        let (bad, good) = (Some(7), Some(8));
        assert!(!known.refused(Seq(1), bad));
        known.accepted(Seq(10), good);
        assert!(!known.refused(Seq(2), bad));
        assert!(!known.refused(Seq(3), bad), "nothing was accepted in between");
        known.accepted(Seq(11), good);
        assert!(known.refused(Seq(4), bad), "any third message of the number");
        assert!(known.refused(Seq(5), bad) && known.refused(Seq(1), bad), "and all that follow");
        assert!(!known.refused(Seq(12), good) && !known.refused(Seq(13), None), "others are not meant");
        known.accepted(Seq(4), bad);
        assert!(!known.refused(Seq(6), bad), "accepted once, the number begins anew");
    }

    #[test]
    fn while_nothing_is_accepted_nobody_is_blamed() {
        let mut known = RefusedAlone::default();
        for round in 0..100 {
            assert!((1..9).all(|seq| !known.refused(Seq(seq), Some(seq % 2))), "round {round}");
        }
    }

    /// The receiver refuses `refused` of the other messages for each `accepted` ones.
    #[test]
    fn where_many_are_refused_it_takes_more_to_blame_one() {
        for (refused, accepted, expected) in [(0, 1, 3), (0, 10, 3), (1, 9, 5), (3, 7, 8), (1, 1, 13), (4, 1, 41)] {
            let mut known = RefusedAlone::default();
            let mut others = 100..;
            let mut round = || {
                let own_fault = known.refused(Seq(1), None);
                (0..accepted).for_each(|_| known.accepted(Seq(0), None));
                for other in others.by_ref().take(refused) {
                    known.refused(Seq(other), None);
                }
                own_fault
            };
            let blamed = (1..100).find(|_| round());
            assert_eq!(blamed, Some(expected), "{refused} refused for {accepted} accepted");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = RefusedAlone::default();
        for seq in 0..20_000 {
            known.refused(Seq(seq), Some(seq));
            assert!(known.messages.0.len() <= MOST && known.numbers.0.len() <= MOST);
        }
    }
}
