//! Decides which messages are new for a command that waits for messages. Pure.
//!
//! A message is new if the state stored it after the command began. By this rule alone, a message that the API had for
//! a long time and that the relay read late would be new, too. Two further rules leave such messages out:
//!
//! - A message is old if it is read by a gap that was open when the command began. The gap records which stretch of
//!   time it has not read yet.
//! - If some time had passed between the last poll and the beginning of the command, a message that was received in
//!   this time is old.
//!
//! Both rules use the times of messages as the API states them, and the *clock of the messages*, by which the API dates
//! them. They do not use the machine's clock.

use std::time::Duration;

use crate::domain::{Coverage, Seq, UnixMs, WalkId, WalkKind};

/// A message that came after the last poll is old if it was received this long before the command began, or earlier.
/// The span allows for inexact clocks and slow answers.
const UNCERTAIN: Duration = Duration::from_secs(5);

/// Messages that were received at this time or later count as new, even if the command began later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From this time on.
    At(UnixMs),
    /// From this long before the command began.
    Back(Duration),
}

impl Since {
    /// Returns the time, for a command that began at `began` by the clock of the messages.
    pub fn resolve(self, began: UnixMs) -> UnixMs {
        match self {
            Self::At(time) => time,
            Self::Back(span) => began.before(span),
        }
    }
}

/// The border between the old and the new messages of one state.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The sequence number of the first message that was stored after the command began.
    next_seq: Seq,
    unread: Vec<UnreadStretch>,
    /// Messages that were received between these times are old. The first time is that of the last poll before the
    /// command began, or the frontier or the anchor if one of these is later. The second time is shortly before the
    /// command began.
    unseen: Option<(UnixMs, UnixMs)>,
    /// Messages that were received at this time or later count as new in any case.
    since: Option<UnixMs>,
}

/// The stretch of time that an open gap has not read.
#[derive(Clone, Debug)]
struct UnreadStretch {
    walk: WalkId,
    floor: UnixMs,
    lowest: UnixMs,
    /// The sequence number of the first message that was stored after the gap ended; `None` while the gap is open.
    ended_before: Option<Seq>,
}

impl Baseline {
    /// Makes the border for a command. `began` is the time at which the command began, by the clock of the messages, or
    /// `None` if this clock is not known. `coverage` is the coverage at that time. `last_poll` is the time of the last
    /// poll, by the same clock. `since`: messages that were received at this time or later count as new in any case.
    pub fn new(
        coverage: Option<&Coverage>,
        last_poll: Option<UnixMs>,
        began: Option<UnixMs>,
        since: Option<UnixMs>,
    ) -> Self {
        let marks = coverage.map(|coverage| &coverage.marks);
        let walks = coverage.into_iter().flat_map(|coverage| &coverage.walks);
        let gaps = walks.filter(|walk| matches!(walk.kind, WalkKind::Gap { .. }));
        let unread =
            gaps.map(|gap| UnreadStretch { walk: gap.id, floor: gap.floor, lowest: gap.lowest, ended_before: None });
        let seen_until = marks.map(|marks| marks.frontier.max(marks.anchor)).max(last_poll).unwrap_or(UnixMs::MIN);
        let began = began.map(|began| began.before(UNCERTAIN));
        Self {
            next_seq: marks.map_or(Seq(i64::MIN), |marks| marks.next_seq),
            unread: unread.collect(),
            unseen: began.filter(|began| *began > seen_until).map(|began| (seen_until, began)),
            since,
        }
    }

    /// Records which gaps have ended by now. `coverage` is the present coverage.
    pub fn note(&mut self, coverage: &Coverage) {
        let is_open = |id: WalkId| coverage.walks.iter().any(|walk| walk.id == id);
        for stretch in self.unread.iter_mut().filter(|stretch| stretch.ended_before.is_none()) {
            if !is_open(stretch.walk) {
                stretch.ended_before = Some(coverage.marks.next_seq);
            }
        }
    }

    /// Returns whether a message with the sequence number `seq`, which was received at `received`, counts as new.
    pub fn takes(&self, seq: Seq, received: UnixMs) -> bool {
        self.since.is_some_and(|since| received >= since) || (seq >= self.next_seq && self.is_later(seq, received))
    }

    /// Returns `false` if one of the two further rules of this module makes the message old.
    fn is_later(&self, seq: Seq, received: UnixMs) -> bool {
        let in_gap = |stretch: &UnreadStretch| {
            stretch.floor <= received
                && received <= stretch.lowest
                && stretch.ended_before.is_none_or(|ended| seq < ended)
        };
        let is_unseen = self.unseen.is_some_and(|(from, to)| from < received && received <= to);
        !is_unseen && !self.unread.iter().any(in_gap)
    }

    /// Makes the border for another state. Messages have other sequence numbers there, so only times decide.
    #[must_use]
    pub fn in_another_state(mut self) -> Self {
        self.next_seq = Seq(i64::MIN);
        for stretch in &mut self.unread {
            stretch.ended_before = None;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lags, Marks, Walk, WalkProgress};

    fn coverage(frontier: i64, next_seq: i64, gap: Option<(i64, i64)>) -> Coverage {
        let marks = Marks {
            frontier: UnixMs(frontier),
            watermark: UnixMs::MIN,
            anchor: UnixMs(0),
            start_instant: UnixMs(0),
            next_seq: Seq(next_seq),
            next_walk: WalkId(9),
        };
        let walk = |(floor, lowest)| Walk {
            id: WalkId(3),
            kind: WalkKind::Gap { sweep_floor: None, streaming: false },
            cursor: None,
            trail: Vec::new(),
            floor: UnixMs(floor),
            opened_seq: Seq(1),
            opened_at: UnixMs(0),
            lowest: UnixMs(lowest),
            progress: WalkProgress::default(),
        };
        Coverage { marks, walks: gap.map(walk).into_iter().collect(), lags: Lags::default() }
    }

    #[test]
    fn a_message_that_was_stored_later_is_new_whatever_its_time() {
        let line =
            Baseline::new(Some(&coverage(1_000_000, 7, None)), Some(UnixMs(1_000_000)), Some(UnixMs(1_001_000)), None);
        for (seq, received, new) in
            [(6, 1_000_500, false), (7, 1_000_500, true), (8, 5, true), (9, 1_000_000_000, true)]
        {
            assert_eq!(line.takes(Seq(seq), UnixMs(received)), new, "{seq} {received}");
        }
    }

    #[test]
    fn a_gap_that_was_open_reads_old_messages_until_it_ends() {
        let mut line =
            Baseline::new(Some(&coverage(1000, 7, Some((200, 500)))), Some(UnixMs(1000)), Some(UnixMs(1000)), None);
        for (received, new) in [(199, true), (200, false), (500, false), (501, true), (2000, true)] {
            assert_eq!(line.takes(Seq(7), UnixMs(received)), new, "{received}");
        }
        line.note(&coverage(1000, 30, Some((200, 300))));
        assert!(!line.takes(Seq(29), UnixMs(300)), "the gap is still open");
        line.note(&coverage(1000, 40, None));
        assert!(!line.takes(Seq(39), UnixMs(300)), "it was stored before the end of the gap");
        assert!(line.takes(Seq(40), UnixMs(300)), "it was stored after the end of the gap, so it came late");
        line.note(&coverage(1000, 50, None));
        assert!(line.takes(Seq(40), UnixMs(300)));
    }

    #[test]
    fn a_message_that_came_while_nobody_polled_is_old_unless_it_came_just_before_the_command() {
        // The last poll was at 100 s, and the command began at 160 s.
        let line = Baseline::new(Some(&coverage(90_000, 7, None)), Some(UnixMs(100_000)), Some(UnixMs(160_000)), None);
        for (received, new) in [(95_000, true), (100_000, true), (100_001, false), (155_000, false), (155_001, true)] {
            assert_eq!(line.takes(Seq(7), UnixMs(received)), new, "{received}");
        }
        let first_run = Baseline::new(None, None, Some(UnixMs(160_000)), None);
        assert!(!first_run.takes(Seq(1), UnixMs(150_000)) && first_run.takes(Seq(1), UnixMs(158_000)));
        let unknown = Baseline::new(None, None, None, None);
        assert!(unknown.takes(Seq(1), UnixMs(0)), "no clock says that it is old");
    }

    #[test]
    fn since_lets_old_messages_through() {
        let coverage = coverage(1000, 7, Some((200, 500)));
        let line = Baseline::new(Some(&coverage), Some(UnixMs(1000)), Some(UnixMs(1000)), Some(UnixMs(400)));
        for (seq, received, new) in [(1, 399, false), (1, 400, true), (9, 300, false), (9, 450, true), (9, 100, true)] {
            assert_eq!(line.takes(Seq(seq), UnixMs(received)), new, "{seq} {received}");
        }
        assert_eq!(Since::Back(Duration::from_secs(1)).resolve(UnixMs(5000)), UnixMs(4000));
        assert_eq!(Since::At(UnixMs(3)).resolve(UnixMs(5000)), UnixMs(3));
    }

    #[test]
    fn in_another_state_only_times_decide() {
        let line =
            Baseline::new(Some(&coverage(1000, 7, Some((200, 500)))), Some(UnixMs(1000)), Some(UnixMs(1000)), None);
        let line = line.in_another_state();
        assert!(!line.takes(Seq(1), UnixMs(300)) && line.takes(Seq(1), UnixMs(600)));
    }
}
