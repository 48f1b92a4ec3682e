//! Messages that a receiver refuses again and again while it takes others. Pure.
//!
//! "Too many requests" and "later, please" usually speak of the receiver as a whole. But a receiver may also answer so to one
//! message for ever: because of its number, its length, or a mistake. Such a message must not set the pace for all others.
//! Invariants: while nothing is accepted, nothing is learned; no more than [`MOST`] messages are remembered.

use std::collections::HashMap;

use crate::domain::Seq;

/// The refusal from which on it is the message's own. Two may be chance where the receiver takes what comes at a pace.
const OWN: u32 = 3;

/// So many messages are remembered at most.
const MOST: usize = 4096;

/// What was refused since it was last accepted, and how often others got through in between.
#[derive(Debug, Default)]
pub(super) struct RefusedAlone {
    accepted: u64,
    refused: HashMap<Seq, Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    /// Refusals, those left out between which nothing was accepted.
    times: u32,
    /// How many messages had been accepted at the last of them.
    accepted: u64,
}

impl RefusedAlone {
    /// A message was accepted.
    pub(super) fn accepted(&mut self, seq: Seq) {
        self.accepted += 1;
        self.refused.remove(&seq);
    }

    /// A message was refused. Returns whether that says something about the message, and not about the receiver.
    pub(super) fn refused(&mut self, seq: Seq) -> bool {
        if self.refused.len() >= MOST && !self.refused.contains_key(&seq) {
            self.refused.clear();
        }
        let accepted = self.accepted;
        let refused = self.refused.entry(seq).or_insert(Refused { times: 0, accepted });
        if refused.times == 0 || refused.accepted < accepted {
            *refused = Refused { times: refused.times.saturating_add(1), accepted };
        }
        refused.times >= OWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_refused_while_others_get_through_is_found() {
        let mut messages = RefusedAlone::default();
        assert!(!messages.refused(Seq(1)));
        messages.accepted(Seq(2));
        assert!(!messages.refused(Seq(1)));
        assert!(!messages.refused(Seq(1)), "nothing was accepted in between");
        messages.accepted(Seq(3));
        assert!(messages.refused(Seq(1)));
        assert!(messages.refused(Seq(1)), "it stays so");
        assert!(!messages.refused(Seq(4)), "others are not meant");
        messages.accepted(Seq(1));
        assert!(!messages.refused(Seq(1)), "accepted once, it begins anew");
    }

    #[test]
    fn while_nothing_gets_through_no_message_is_blamed() {
        let mut messages = RefusedAlone::default();
        for round in 0..100 {
            assert!((1..9).all(|seq| !messages.refused(Seq(seq))), "round {round}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut messages = RefusedAlone::default();
        for seq in 0..20_000 {
            messages.refused(Seq(seq));
            assert!(messages.refused.len() <= MOST);
        }
    }
}
