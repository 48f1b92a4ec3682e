//! Decides when old messages and ids are removed, and where each step of the removal goes on. Pure.
//!
//! Maintenance comes in rounds, once a minute. A round is made of steps, and each step is a few short transactions.
//! After a burst of messages a round needs many steps; between two steps the poller waits, so that delivery has the
//! store most of the time.

use std::time::Duration;

use crate::domain::{Seq, UnixMs};
use crate::store::{ForgottenIds, ForgottenUpTo, Options, RemovedMessages, RetentionCutoffs, RetentionPeriod};
use crate::time::Instant;

/// The time from the beginning of one round to the beginning of the next.
const ROUND: Duration = Duration::from_secs(60);

/// The time from the start of the relay to the first round. It is short, so that a relay that runs for less than a
/// minute removes old messages, too.
const FIRST_ROUND: Duration = Duration::from_secs(5);

/// The time from the end of one round to the next in two cases: while space is short, and while delivered texts are
/// kept for some seconds because a reader waits for messages. Each round can remove the messages that were delivered
/// since the last round.
const URGENT_ROUND: Duration = Duration::from_secs(2);

/// The wait between two steps. Each step looks at 500 messages, so a million messages are done in a few minutes.
const PAUSE: Duration = Duration::from_millis(50);

/// A *whole* round begins at the oldest message, to find messages that were settled late. Any other round goes on where
/// the previous round ended. The time from one whole round to the next is this multiple of the time that a whole round
/// takes, but at least [`ROUND`] and at most [`WHOLE_ROUND`].
const WHOLE_ROUND_TAKES: u32 = 60;

/// The longest time from one whole round to the next.
const WHOLE_ROUND: Duration = Duration::from_secs(3600);

/// The schedule, and how far the work has come.
#[derive(Debug)]
pub(super) struct Maintenance {
    retention: Retention,
    /// When the next step is due.
    due: Instant,
    rounds: Rounds,
    removal: Position<Seq>,
    forgetting: Position<ForgottenUpTo>,
    /// Whether the round has further steps.
    has_more: bool,
}

/// How long settled messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Retention {
    delivered: RetentionPeriod,
    dead: RetentionPeriod,
}

/// The times at which rounds begin.
#[derive(Debug)]
struct Rounds {
    next: Instant,
    next_whole: Instant,
    /// When the round under way began, if it is a whole round.
    whole_since: Option<Instant>,
}

/// How far one kind of work has come: the removal of messages, or the forgetting of ids.
#[derive(Debug)]
struct Position<T> {
    /// Where this round goes on; `None` if the round has no more of this work.
    now: Option<T>,
    /// Where the next round begins.
    next_round: T,
}

impl<T: Copy> Position<T> {
    fn new(start: T) -> Self {
        Self { now: None, next_round: start }
    }

    fn begin_round(&mut self) {
        self.now = Some(self.next_round);
    }

    fn advance(&mut self, next: Option<T>) {
        self.now = next;
        self.next_round = next.unwrap_or(self.next_round);
    }
}

impl Retention {
    fn of(state: &Options) -> Self {
        Self { delivered: state.keep_delivered, dead: state.keep_dead }
    }
}

impl Maintenance {
    /// The first round begins after [`FIRST_ROUND`], or now if texts are erased on delivery.
    pub(super) fn new(state: &Options, erase_on_delivery: bool, now: Instant) -> Self {
        let first = if erase_on_delivery { now } else { now + FIRST_ROUND };
        Self {
            retention: Retention::of(state),
            due: first,
            rounds: Rounds { next: first, next_whole: now, whole_since: None },
            removal: Position::new(Seq(0)),
            forgetting: Position::new(ForgottenUpTo::START),
            has_more: false,
        }
    }

    /// Takes the retention that a reload of the configuration has brought. If it has changed, a whole round begins at
    /// once.
    pub(super) fn follow(&mut self, state: &Options, now: Instant) {
        let retention = Retention::of(state);
        if std::mem::replace(&mut self.retention, retention) != retention {
            self.begin_again(now);
        }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Returns whether the round has further steps.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) fn begin_again(&mut self, now: Instant) {
        self.begin_whole_round_at(now);
        self.has_more = true;
    }

    fn begin_whole_round_at(&mut self, at: Instant) {
        (self.due, self.rounds.next, self.rounds.next_whole) = (at, at, at);
    }

    /// Begins a step. Returns whether it is the first step of a round.
    pub(super) fn begin_step(&mut self, now: Instant) -> bool {
        let begins_round = now >= self.rounds.next;
        if begins_round {
            self.rounds.next = now + ROUND;
            if now >= self.rounds.next_whole {
                self.rounds.next_whole = now + WHOLE_ROUND;
                self.rounds.whole_since = Some(now);
                (self.removal, self.forgetting) = (Position::new(Seq(0)), Position::new(ForgottenUpTo::START));
            }
            self.removal.begin_round();
            self.forgetting.begin_round();
        }
        begins_round
    }

    /// Returns the cutoffs for this step: deliveries that were settled before them are removed. `now` is the relay's
    /// time, or `None` while it is not confirmed. Without a confirmed time, no delivery is removed for its age, unless
    /// its retention is zero. With `sheds`, delivered messages are removed whatever their age.
    pub(super) fn cutoffs(&self, now: Option<UnixMs>, sheds: bool) -> RetentionCutoffs {
        let Retention { delivered, dead } = self.retention;
        let delivered = if sheds { Some(UnixMs::MAX) } else { delivered.cutoff(now) };
        RetentionCutoffs { delivered, dead: dead.cutoff(now) }
    }

    /// Returns the sequence number after which this step looks for messages to remove, in ascending order; `None` if
    /// the step removes no messages.
    pub(super) fn removes_after(&self) -> Option<Seq> {
        self.removal.now
    }

    pub(super) fn note_removed(&mut self, dropped: &RemovedMessages) {
        self.removal.advance(dropped.next);
    }

    /// Returns the message after which this step looks for ids to forget, in the order of the messages' times; `None`
    /// if the step forgets no ids.
    pub(super) fn forgets_after(&self) -> Option<ForgottenUpTo> {
        self.forgetting.now
    }

    pub(super) fn note_forgotten(&mut self, forgotten: &ForgottenIds) {
        self.forgetting.advance(forgotten.next);
    }

    /// Makes this round forget no ids, because there is no watermark yet.
    pub(super) fn forget_nothing(&mut self) {
        self.forgetting.now = None;
    }

    /// Ends a step. `gives_back` says that the state's file still has space to give back to the file system.
    pub(super) fn end_step(&mut self, gives_back: bool) {
        self.has_more = gives_back || self.removal.now.is_some() || self.forgetting.now.is_some();
    }

    /// Chooses when the next step comes. The last step began at `at` and ended at `now`. If `is_urgent`, the next round
    /// comes after [`URGENT_ROUND`]. Returns whether the round is over.
    pub(super) fn schedule_next(&mut self, at: Instant, now: Instant, is_urgent: bool) -> bool {
        if self.has_more {
            self.due = at + PAUSE;
            return false;
        }
        if let Some(began) = self.rounds.whole_since.take() {
            let took = now.saturating_duration_since(began);
            let apart = took.saturating_mul(WHOLE_ROUND_TAKES).clamp(ROUND, WHOLE_ROUND);
            self.rounds.next_whole = self.rounds.next_whole.min(began + apart);
        }
        if is_urgent {
            self.begin_whole_round_at(at + URGENT_ROUND);
        } else {
            self.due = self.rounds.next;
        }
        true
    }

    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = now + ROUND;
    }

    /// Ends the round because a step failed. The next step comes in a minute.
    pub(super) fn fail(&mut self, now: Instant) {
        self.has_more = false;
        self.postpone(now);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::time::Clock;

    fn options(keep_delivered: RetentionPeriod) -> Options {
        Options {
            database: None,
            namespace: String::new(),
            dir: PathBuf::new(),
            keep_delivered,
            keep_dead: RetentionPeriod::Forever,
            max_size: 1000,
            min_free: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_is_made_of_steps_and_a_whole_round_begins_at_the_oldest_message() {
        let began = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut maintenance = Maintenance::new(&options(RetentionPeriod::Forever), false, began);
        assert_eq!(maintenance.due(), at(5));
        assert!(maintenance.begin_step(at(5)), "the first step of a round");
        assert_eq!(maintenance.removes_after(), Some(Seq(0)));
        maintenance.note_removed(&RemovedMessages { next: Some(Seq(500)), ..RemovedMessages::default() });
        maintenance.forget_nothing();
        maintenance.end_step(false);
        assert!(!maintenance.schedule_next(at(5), at(5), false) && maintenance.has_more());
        assert_eq!(maintenance.due(), at(5) + PAUSE);
        assert!(!maintenance.begin_step(at(6)), "a further step of the same round");
        assert_eq!(maintenance.removes_after(), Some(Seq(500)));
        maintenance.note_removed(&RemovedMessages::default());
        maintenance.end_step(false);
        assert!(maintenance.schedule_next(at(6), at(6), false), "the round is over");
        assert_eq!(maintenance.due(), at(65));
        // After a whole round that took a second, the next whole round is due after a minute.
        assert!(maintenance.begin_step(at(65)));
        assert_eq!(maintenance.removes_after(), Some(Seq(0)), "a whole round begins at the oldest message");
    }

    #[tokio::test(start_paused = true)]
    async fn while_space_is_short_whole_rounds_follow_each_other() {
        let began = Clock::starting_at(UnixMs(0)).monotonic();
        let mut maintenance = Maintenance::new(&options(RetentionPeriod::Forever), false, began);
        maintenance.begin_again(began);
        assert!(maintenance.due() == began && maintenance.has_more() && maintenance.begin_step(began));
        maintenance.note_removed(&RemovedMessages { next: Some(Seq(7)), ..RemovedMessages::default() });
        maintenance.note_removed(&RemovedMessages::default());
        maintenance.forget_nothing();
        maintenance.end_step(false);
        assert!(maintenance.schedule_next(began, began, true));
        assert_eq!(maintenance.due(), began + URGENT_ROUND);
        assert!(maintenance.begin_step(began + URGENT_ROUND));
        assert_eq!(maintenance.removes_after(), Some(Seq(0)));
        maintenance.fail(began);
        assert!(!maintenance.has_more() && maintenance.due() == began + ROUND);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_removed_for_its_age_before_the_time_is_known() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let keeps = Maintenance::new(&options(RetentionPeriod::For(Duration::from_secs(5))), false, now);
        assert_eq!(keeps.cutoffs(None, false).delivered, None);
        assert_eq!(keeps.cutoffs(Some(UnixMs(9000)), false).delivered, Some(UnixMs(4000)));
        assert_eq!(keeps.cutoffs(None, true).delivered, Some(UnixMs::MAX), "while space is short");
        let erases = Maintenance::new(&options(RetentionPeriod::For(Duration::ZERO)), true, now);
        assert_eq!((erases.due(), erases.cutoffs(None, false).delivered), (now, Some(UnixMs::MAX)));
    }
}
