//! Finds messages, and receiving numbers, that a receiver refuses again and again while it accepts others. Pure.
//!
//! "Too many requests" and "later, please" usually concern the receiver as a whole. But a receiver may also give such
//! an answer to one message for ever, because of the message's length or by mistake. Or the receiver has a limit for
//! each number, and gives such an answer to all messages of a number that is over its limit. Refusals of both kinds are
//! failures of the message, and must not set the pace for other messages.
//!
//! A message is *blamed* for its refusals if other messages were accepted meanwhile, and if so many refusals are
//! unlikely to be chance. To find out, the relay looks at the attempts for other messages in the same time, and
//! computes which share of them was refused. If this share is 1/10, the probability that a message is refused four
//! times by chance is 1/10,000. But messages that are refused for ever are tried again and again, and each try raises
//! the share. If there are several such messages, chance seems likely, and none of them is blamed.
//!
//! So there is a second share, in which such messages hardly count. It counts one refusal of each message that still
//! waits, no refusal of a suspected message, and all refusals of a message that was accepted in the end. A message is
//! *suspected* if, judged by the second share, its refusals are unlikely to be chance. A suspected message is treated
//! like a blamed one only while the throttle has found that refusals have nothing to do with the pace.
//!
//! Invariants:
//! - While the receiver accepts nothing, no further message or number is blamed.
//! - A blamed message is no longer blamed once it is accepted. A blamed number is no longer blamed once one of its
//!   messages is accepted.
//! - No more than [`MOST`] messages and [`MOST`] numbers are remembered.

use std::collections::HashMap;
use std::hash::Hash;

use crate::domain::Seq;

/// A message or a number is blamed only if at least this many of its refusals count as independent (`Count::times`).
const LEAST: i32 = 3;

/// A message or a number is blamed for its refusals if the probability that they are chance is below this value.
const BY_CHANCE: f64 = 1e-4;

/// The most messages, and the most numbers, that are remembered.
const MOST: usize = 4096;

/// The messages and numbers that were refused since they were last accepted, and the totals of the receiver's answers.
#[derive(Debug, Default)]
pub(super) struct RefusedAlone {
    totals: Totals,
    messages: RefusalCounts<Seq>,
    numbers: RefusalCounts<i64>,
}

/// What a refusal concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalCause {
    /// The receiver as a whole.
    Receiver {
        /// How often this message was refused since the receiver last accepted any message, this refusal included.
        in_vain: u32,
        /// The number of this message's refusals that count as independent, this refusal included: refusals between
        /// which the receiver accepted nothing count as one.
        times: u32,
    },
    /// The message or its number.
    Alone,
}

/// The answers of the receiver so far, from which the probability of a refusal by chance follows.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    accepted: u64,
    refused: u64,
    /// The refusals for the second share: all refusals of messages that were accepted in the end, and one refusal of
    /// each message that still waits and is not suspected.
    by_message: u64,
}

#[derive(Debug)]
struct RefusalCounts<K>(HashMap<K, Count>);

/// The refusals of one message or one number since it was last accepted.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// The number of all refusals.
    refused: u64,
    /// The number of these refusals that [`Totals::by_message`] includes.
    in_totals: u64,
    /// The number of refusals that count as independent: refusals between which nothing was accepted count as one.
    times: i32,
    /// [`Totals::accepted`] at the last refusal that counted as independent.
    accepted: u64,
    /// The value of `in_vain` at the last refusal (see [`RefusalCause::Receiver`]).
    in_vain: u32,
    /// The totals before the first refusal.
    since: Totals,
}

impl RefusedAlone {
    /// Notes that a message was accepted. `number` is the store's key of the message's receiving number; `None` if the
    /// message has none. Returns whether the message had been refused before, and was not suspected.
    pub(super) fn accepted(&mut self, seq: Seq, number: Option<i64>) -> bool {
        let count = self.messages.0.remove(&seq);
        self.totals.accepted += 1;
        self.totals.by_message += count.map_or(0, |count| count.refused - count.in_totals);
        if let Some(number) = number {
            self.numbers.0.remove(&number);
        }
        count.is_some_and(|count| count.in_totals > 0)
    }

    /// Notes that a message was refused. Returns what the refusal concerns. With `suspicion_is_enough`, a suspected
    /// message counts as blamed.
    pub(super) fn refused(&mut self, seq: Seq, number: Option<i64>, suspicion_is_enough: bool) -> RefusalCause {
        let before = self.totals;
        self.totals.refused += 1;
        let by_number = number.is_some_and(|number| {
            let count = self.numbers.count(number, before);
            let others = (self.totals.refused - count.since.refused).saturating_sub(count.refused);
            count.is_own_fault(others, self.totals)
        });
        let message = self.messages.count(seq, before);
        if message.refused == 1 {
            self.totals.by_message += 1;
            message.in_totals = 1;
        }
        let others = (self.totals.refused - message.since.refused).saturating_sub(message.refused);
        let other_messages = self.totals.by_message.saturating_sub(message.since.by_message + message.in_totals);
        let is_alone = by_number || message.is_own_fault(others, self.totals);
        let is_suspected = message.is_own_fault(other_messages, self.totals);
        if is_suspected && message.in_totals > 0 {
            self.totals.by_message = self.totals.by_message.saturating_sub(1);
            message.in_totals = 0;
        }
        let (in_vain, times) = (message.in_vain, message.times.unsigned_abs());
        if is_alone || is_suspected && suspicion_is_enough {
            RefusalCause::Alone
        } else {
            RefusalCause::Receiver { in_vain, times }
        }
    }
}

impl<K: Eq + Hash> RefusalCounts<K> {
    /// Counts a refusal of `key`. `before` are the totals without this refusal.
    fn count(&mut self, key: K, before: Totals) -> &mut Count {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let first = Count { refused: 0, in_totals: 0, times: 0, accepted: before.accepted, in_vain: 0, since: before };
        let count = self.0.entry(key).or_insert(first);
        count.refused += 1;
        if count.times == 0 || count.accepted < before.accepted {
            count.times = count.times.saturating_add(1);
            count.accepted = before.accepted;
            count.in_vain = 0;
        }
        count.in_vain = count.in_vain.saturating_add(1);
        count
    }
}

impl Count {
    /// Whether the refusals are unlikely to be chance. `others_refused` is the number of refusals of other messages in
    /// the same time. If the receiver refused one of five other messages, six refusals are enough. If it refused four
    /// of five, about 42 refusals are needed.
    fn is_own_fault(&self, others_refused: u64, now: Totals) -> bool {
        let others_refused = as_f64(others_refused);
        let others_accepted = as_f64(now.accepted - self.since.accepted);
        // Before any other answer is known, a receiver is assumed to refuse one message of ten.
        let share = (others_refused + 0.1) / (others_refused + others_accepted + 1.0);
        self.times >= LEAST && share.powi(self.times) < BY_CHANCE
    }
}

fn as_f64(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

impl<K> Default for RefusalCounts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl RefusedAlone {
        /// Notes a refusal. Returns whether the refusal concerns only the message or its number.
        fn is_alone(&mut self, seq: Seq, number: Option<i64>) -> bool {
            self.refused(seq, number, false) == RefusalCause::Alone
        }
    }

    #[test]
    fn a_message_that_is_refused_while_others_are_accepted_is_found() {
        let mut known = RefusedAlone::default();
        assert!(!known.is_alone(Seq(1), None));
        known.accepted(Seq(2), None);
        assert!(!known.is_alone(Seq(1), None));
        assert!(!known.is_alone(Seq(1), None), "nothing was accepted in between");
        known.accepted(Seq(3), None);
        assert!(known.is_alone(Seq(1), None));
        assert!(known.is_alone(Seq(1), None), "it is still blamed");
        assert!(!known.is_alone(Seq(4), None), "other messages are not blamed");
        known.accepted(Seq(1), None);
        assert!(!known.is_alone(Seq(1), None), "it was accepted, so its count begins anew");
    }

    #[test]
    fn a_number_that_is_refused_while_others_are_accepted_is_found() {
        let mut known = RefusedAlone::default();
        let (bad, good) = (Some(7), Some(8));
        assert!(!known.is_alone(Seq(1), bad));
        known.accepted(Seq(10), good);
        assert!(!known.is_alone(Seq(2), bad));
        assert!(!known.is_alone(Seq(3), bad), "nothing was accepted in between");
        known.accepted(Seq(11), good);
        assert!(known.is_alone(Seq(4), bad), "the third independent refusal of the number");
        assert!(known.is_alone(Seq(5), bad) && known.is_alone(Seq(1), bad), "and every later refusal");
        assert!(!known.is_alone(Seq(12), good) && !known.is_alone(Seq(13), None), "others are not blamed");
        known.accepted(Seq(4), bad);
        assert!(!known.is_alone(Seq(6), bad), "one was accepted, so the count of the number begins anew");
    }

    #[test]
    fn while_nothing_is_accepted_no_message_is_blamed() {
        let mut known = RefusedAlone::default();
        for round in 0..100 {
            assert!((1..9).all(|seq| !known.is_alone(Seq(seq), Some(seq % 2))), "round {round}");
        }
    }

    /// For each `accepted` messages that the receiver accepts, it refuses `refused` other messages.
    #[test]
    fn the_more_others_are_refused_the_more_refusals_it_takes_to_blame_one() {
        for (refused, accepted, expected) in [(0, 1, 3), (0, 10, 3), (1, 9, 5), (3, 7, 8), (1, 1, 13), (4, 1, 41)] {
            let mut known = RefusedAlone::default();
            let mut others = 100..;
            let mut round = || {
                let own_fault = known.is_alone(Seq(1), None);
                for _ in 0..accepted {
                    known.accepted(Seq(0), None);
                }
                for other in others.by_ref().take(refused) {
                    known.is_alone(Seq(other), None);
                }
                own_fault
            };
            let blamed = (1..100).find(|_| round());
            assert_eq!(blamed, Some(expected), "{refused} refused for {accepted} accepted");
        }
    }

    /// Four messages wait at any time. All of them are refused once, then the oldest one is accepted and a new one
    /// comes.
    #[test]
    fn all_refusals_of_messages_that_are_accepted_in_the_end_count() {
        let mut known = RefusedAlone::default();
        for oldest in 0..200 {
            for seq in oldest..oldest + 4 {
                let cause = known.refused(Seq(seq), None, false);
                assert!(matches!(cause, RefusalCause::Receiver { in_vain: 1, .. }), "{oldest} {seq}: {cause:?}");
            }
            assert!(known.accepted(Seq(oldest), None));
        }
    }

    #[test]
    fn refusals_in_a_row_are_counted_until_something_is_accepted() {
        let mut known = RefusedAlone::default();
        let in_vain = |cause| matches!(cause, RefusalCause::Receiver { in_vain: 1, .. });
        assert!(in_vain(known.refused(Seq(1), None, false)));
        assert_eq!(known.refused(Seq(1), None, false), RefusalCause::Receiver { in_vain: 2, times: 1 });
        assert!(in_vain(known.refused(Seq(2), None, false)));
        assert!(!known.accepted(Seq(3), None), "never refused");
        assert!(in_vain(known.refused(Seq(1), None, false)));
        assert!(known.accepted(Seq(1), None), "refused before");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = RefusedAlone::default();
        for seq in 0..20_000 {
            known.is_alone(Seq(seq), Some(seq));
            assert!(known.messages.0.len() <= MOST && known.numbers.0.len() <= MOST);
        }
    }
}
