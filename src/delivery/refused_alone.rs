//! Messages, and receiving numbers, that a receiver refuses again and again while it accepts others. Pure.
//!
//! "Too many requests" and "later, please" usually speak of the receiver as a whole. But a receiver may also answer so to one
//! message for ever: because of its length, or a mistake. Or to all messages of one number: because that number is over a
//! limit of its own. Such a refusal is a failure of the message, and must not set the pace for all others.
//!
//! Invariants: while nothing is accepted, nothing is learned; whatever was blamed is blamed no more once it is accepted; no
//! more than [`MOST`] messages and [`MOST`] numbers are remembered.

use std::collections::HashMap;
use std::hash::Hash;

use crate::domain::Seq;

/// From this refusal on, a refusal is the fault of the message or of the number. Two may be chance where the receiver accepts
/// messages at a pace.
const OWN: u32 = 3;

/// The same where the receiver refuses a share of all messages: at 3 in 10, one message in 170,000 is refused so often by
/// chance.
const OWN_AMONG_MANY: u32 = 10;

/// How many messages, and how many numbers, are remembered at most.
const MOST: usize = 4096;

/// What was refused since it was last accepted, and how often others were accepted in between.
#[derive(Debug, Default)]
pub(super) struct RefusedAlone {
    accepted: u64,
    messages: Refusals<Seq>,
    numbers: Refusals<i64>,
}

#[derive(Debug)]
struct Refusals<K>(HashMap<K, Count>);

#[derive(Clone, Copy, Debug)]
struct Count {
    /// Refusals; those between which nothing was accepted count as one.
    times: u32,
    /// How many messages had been accepted at the last refusal that counted.
    accepted: u64,
}

impl RefusedAlone {
    /// A message was accepted. `number` is the store's key of its receiving number, where the message has one.
    pub(super) fn accepted(&mut self, seq: Seq, number: Option<i64>) {
        self.accepted += 1;
        self.messages.0.remove(&seq);
        if let Some(number) = number {
            self.numbers.0.remove(&number);
        }
    }

    /// A message was refused. Returns whether the refusal says something about the message or about its number, and nothing
    /// about the receiver as a whole. `among_many`: the receiver refuses a share of all messages.
    pub(super) fn refused(&mut self, seq: Seq, number: Option<i64>, among_many: bool) -> bool {
        let message = self.messages.count(seq, self.accepted);
        let number = number.map_or(0, |number| self.numbers.count(number, self.accepted));
        message.max(number) >= if among_many { OWN_AMONG_MANY } else { OWN }
    }
}

impl<K: Eq + Hash> Refusals<K> {
    /// Counts a refusal; returns how many there were.
    fn count(&mut self, key: K, accepted: u64) -> u32 {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let count = self.0.entry(key).or_insert(Count { times: 0, accepted });
        if count.times == 0 || count.accepted < accepted {
            *count = Count { times: count.times.saturating_add(1), accepted };
        }
        count.times
    }
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
        assert!(!known.refused(Seq(1), None, false));
        known.accepted(Seq(2), None);
        assert!(!known.refused(Seq(1), None, false));
        assert!(!known.refused(Seq(1), None, false), "nothing was accepted in between");
        known.accepted(Seq(3), None);
        assert!(known.refused(Seq(1), None, false));
        assert!(known.refused(Seq(1), None, false), "it stays so");
        assert!(!known.refused(Seq(4), None, false), "others are not meant");
        known.accepted(Seq(1), None);
        assert!(!known.refused(Seq(1), None, false), "accepted once, it begins anew");
    }

    #[test]
    fn a_number_that_is_refused_while_others_are_accepted_is_found() {
        let mut known = RefusedAlone::default();
        let (bad, good) = (Some(7), Some(8));
        assert!(!known.refused(Seq(1), bad, false));
        known.accepted(Seq(10), good);
        assert!(!known.refused(Seq(2), bad, false));
        assert!(!known.refused(Seq(3), bad, false), "nothing was accepted in between");
        known.accepted(Seq(11), good);
        assert!(known.refused(Seq(4), bad, false), "any third message of the number");
        assert!(known.refused(Seq(5), bad, false) && known.refused(Seq(1), bad, false), "and all that follow");
        assert!(!known.refused(Seq(12), good, false) && !known.refused(Seq(13), None, false), "others are not meant");
        known.accepted(Seq(4), bad);
        assert!(!known.refused(Seq(6), bad, false), "accepted once, the number begins anew");
    }

    #[test]
    fn while_nothing_is_accepted_nobody_is_blamed() {
        let mut known = RefusedAlone::default();
        for round in 0..100 {
            assert!((1..9).all(|seq| !known.refused(Seq(seq), Some(seq % 2), false)), "round {round}");
        }
    }

    #[test]
    fn where_many_are_refused_it_takes_more_to_blame_one() {
        let mut known = RefusedAlone::default();
        for refusal in 1..=12 {
            known.accepted(Seq(100 + refusal), Some(8));
            assert_eq!(known.refused(Seq(1), Some(7), true), refusal >= 10, "{refusal}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = RefusedAlone::default();
        for seq in 0..20_000 {
            known.refused(Seq(seq), Some(seq), false);
            assert!(known.messages.0.len() <= MOST && known.numbers.0.len() <= MOST);
        }
    }
}
