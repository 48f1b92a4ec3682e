//! The policy of the one-shot command `once`: how its polling differs from the polling of a relay that runs.
//!
//! - The command also completes a sweep before it ends. So a sweep is due at once. One sweep is enough.
//! - Polling ends when everything was read. After a few failures in a row the command gives up; a relay that runs would
//!   wait.
//! - The command ends only when the older rows were read, and also the list of numbers if a sink needs it. So walks and
//!   the list of numbers get the larger share of the budget, and meanwhile the head lane rests.
//! - A long wait for the request budget is explained, because somebody watches the command.
//! - Maintenance runs at the end, because the command may live for less than a minute.
//!
//! For a relay that runs ([`Mode::Run`]) each function here returns the value that changes nothing.

use std::fmt;
use std::time::Duration;

use super::{Ending, Mode};
use crate::api::budget::{Demand, RequestPurpose};
use crate::domain::{Coverage, UnixMs, WalkKind};
use crate::ingest::coverage::{CoverageState, Rules};
use crate::time::Instant;

/// How many failures in a row make a one-shot command give up. This takes about a quarter of a minute.
const PATIENCE: u32 = 5;

/// How long the head lane of a one-shot command rests after a poll, while there are pages of walks or of the list of
/// numbers to read.
const HEAD_REST: Duration = Duration::from_secs(5);

/// The most steps of maintenance that a one-shot command makes before it ends, without waits between them.
const MAINTENANCE_STEPS: usize = 100;

/// The shortest wait for the budget that is explained.
const LONG_WAIT: Duration = Duration::from_secs(2);

/// A wait of this length is logged as a warning, because the command may seem to hang.
const VERY_LONG_WAIT: Duration = Duration::from_secs(30);

const BUDGET_WAIT: &str =
    "waiting for the request budget, which allows no request before that time (api.requests_per_minute)";

#[derive(Debug)]
pub(super) struct OncePolicy {
    mode: Mode,
    /// The API's time at the first head poll of this process that was answered.
    first_answer: Option<UnixMs>,
    budget_wait: BudgetWait,
}

#[derive(Debug, Default)]
struct BudgetWait {
    /// When the budget lets the next request leave. Computed anew whenever requests are started.
    until: Option<Instant>,
    told: Option<WaitNotice>,
}

/// The kinds of reports about a wait for the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum WaitNotice {
    Long,
    VeryLong,
}

impl OncePolicy {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, first_answer: None, budget_wait: BudgetWait::default() }
    }

    fn is_once(&self) -> bool {
        self.mode == Mode::Once
    }

    /// Returns the rules with which polling begins.
    pub(super) fn first_rules(&self, rules: Rules) -> Rules {
        if self.is_once() { Rules { sweep_interval: Duration::ZERO, ..rules } } else { rules }
    }

    /// Once a sweep was completed: changes the rules, so that no second sweep begins.
    pub(super) fn limit_sweeps(&self, rules: &mut Rules, coverage: Option<&Coverage>) {
        if self.is_once() && coverage.is_some_and(|coverage| self.is_swept(coverage)) {
            rules.sweep_interval = Duration::MAX;
        }
    }

    /// Records that a head poll was answered when the API's clock showed `server_now`.
    pub(super) fn note_answer(&mut self, server_now: UnixMs) {
        self.first_answer.get_or_insert(server_now);
    }

    /// Returns whether a sweep was both opened and completed in this process.
    fn is_swept(&self, coverage: &Coverage) -> bool {
        self.first_answer.is_some_and(|first| coverage.marks.anchor >= first)
    }

    /// Returns whether everything was read. `is_at_rest` is computed in `Poller::check_done`. It is false in three
    /// cases: a request for messages is under way or follows at once; the last head poll or the last commit has failed;
    /// the list of numbers must still be read.
    pub(super) fn is_caught_up(&self, coverage: Option<&Coverage>, is_at_rest: bool) -> bool {
        let is_read = |coverage: &Coverage| coverage.walks.is_empty() && self.is_swept(coverage);
        self.is_once() && is_at_rest && coverage.is_some_and(is_read)
    }

    /// Gives up if a walk has failed [`Rules::patience_failures`] times without progress, and at least [`PATIENCE`]
    /// times in this process. So a walk that failed in an earlier process is tried again first.
    pub(super) fn gives_up_stalled_walk(&self, state: &CoverageState, rules: &Rules) -> Option<Ending> {
        let is_stalled = state
            .walks()
            .any(|walk| walk.progress.failures >= rules.patience_failures && state.setbacks(walk.id) >= PATIENCE);
        (self.is_once() && is_stalled)
            .then(|| Ending::GaveUp("the reading of older messages failed again and again".to_owned()))
    }

    /// Gives up after too many failures in a row.
    pub(super) fn gives_up(&self, failures: u32, why: impl fmt::Display) -> Option<Ending> {
        if failures >= PATIENCE { self.gives_up_now(why) } else { None }
    }

    /// Gives up at once, because another attempt would not change the failure.
    pub(super) fn gives_up_now(&self, why: impl fmt::Display) -> Option<Ending> {
        self.is_once().then(|| Ending::GaveUp(why.to_string()))
    }

    /// Ends polling when the API accepts no key.
    pub(super) fn ends_without_key(&self, refusal: &str) -> Option<Ending> {
        self.is_once().then(|| Ending::NoKey(refusal.to_owned()))
    }

    /// Returns the purpose for which a page of this kind of walk is asked for.
    pub(super) fn purpose_of_walk(&self, kind: WalkKind) -> RequestPurpose {
        let can_wait = kind == WalkKind::Sweep && !self.is_once();
        if can_wait { RequestPurpose::Sweep } else { RequestPurpose::Walk }
    }

    /// Returns the purpose for which a page of the list of numbers is asked for. If a delivery waits for details of a
    /// number, the page is as urgent as a page of a gap. To refresh known details is not urgent.
    pub(super) fn purpose_of_numbers(&self, is_urgent: bool) -> RequestPurpose {
        if is_urgent || self.is_once() { RequestPurpose::Walk } else { RequestPurpose::Sweep }
    }

    /// Returns the instant until which the head lane rests, so that walks and the list of numbers get the requests.
    pub(super) fn head_rests_until(&self, demand: Demand, now: Instant) -> Option<Instant> {
        (self.is_once() && demand != Demand::Nothing).then(|| now + HEAD_REST)
    }

    pub(super) fn maintenance_steps(&self) -> usize {
        if self.is_once() { MAINTENANCE_STEPS } else { 0 }
    }

    /// Prepares for starting requests: an earlier wait for the budget no longer counts.
    pub(super) fn begin_requests(&mut self) {
        self.budget_wait.until = None;
    }

    /// Records that the budget lets a request leave at `until`, and not now.
    pub(super) fn note_budget_wait(&mut self, until: Instant) {
        self.budget_wait.until = Some(self.budget_wait.until.map_or(until, |before| before.min(until)));
    }

    /// Logs a wait for the budget once, and once more if it becomes very long. `is_idle` says that no request is under
    /// way.
    pub(super) fn explain_budget_wait(&mut self, is_idle: bool, now: Instant) {
        let Some(until) = self.budget_wait.until.filter(|_| self.is_once() && is_idle) else { return };
        let wait = until.saturating_duration_since(now);
        let wait_s = wait.as_secs().saturating_add(1);
        match self.budget_wait.notice(wait) {
            Some(WaitNotice::VeryLong) => tracing::warn!(wait_s, "{BUDGET_WAIT}"),
            Some(WaitNotice::Long) => tracing::info!(wait_s, "{BUDGET_WAIT}"),
            None => {}
        }
    }
}

impl BudgetWait {
    /// Returns the kind of report that is due for this wait; `None` if the wait is too short, or if this kind of report
    /// was made before.
    fn notice(&mut self, wait: Duration) -> Option<WaitNotice> {
        if wait < LONG_WAIT {
            return None;
        }
        let notice = if wait < VERY_LONG_WAIT { WaitNotice::Long } else { WaitNotice::VeryLong };
        let is_new = self.told < Some(notice);
        self.told = self.told.max(Some(notice));
        is_new.then_some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lags, Marks, Seq, Start, WalkId};
    use crate::time::Clock;

    fn coverage(anchor: i64) -> Coverage {
        let marks = Marks {
            frontier: UnixMs(1000),
            watermark: UnixMs(0),
            anchor: UnixMs(anchor),
            start_instant: UnixMs(0),
            next_seq: Seq(1),
            next_walk: WalkId(1),
        };
        Coverage { marks, walks: Vec::new(), lags: Lags::default() }
    }

    fn rules() -> Rules {
        Rules::new(Start::Now, Duration::from_secs(3600), Duration::from_secs(60))
    }

    #[test]
    fn all_was_read_when_a_sweep_of_this_process_is_complete() {
        let mut once = OncePolicy::new(Mode::Once);
        assert!(!once.is_caught_up(Some(&coverage(900)), true), "nothing was answered yet");
        once.note_answer(UnixMs(500));
        once.note_answer(UnixMs(600));
        assert!(!once.is_caught_up(None, true), "no first page");
        assert!(!once.is_caught_up(Some(&coverage(499)), true), "the last sweep was made by an earlier process");
        assert!(!once.is_caught_up(Some(&coverage(500)), false), "something is under way");
        assert!(once.is_caught_up(Some(&coverage(500)), true));
        let mut run = OncePolicy::new(Mode::Run);
        run.note_answer(UnixMs(500));
        assert!(!run.is_caught_up(Some(&coverage(500)), true), "a relay that runs is never done");
    }

    #[test]
    fn a_sweep_is_due_at_once_and_no_second_one_follows() {
        let mut once = OncePolicy::new(Mode::Once);
        let mut rules = once.first_rules(rules());
        assert_eq!(rules.sweep_interval, Duration::ZERO);
        once.note_answer(UnixMs(500));
        once.limit_sweeps(&mut rules, Some(&coverage(499)));
        assert_eq!(rules.sweep_interval, Duration::ZERO);
        once.limit_sweeps(&mut rules, Some(&coverage(500)));
        assert_eq!(rules.sweep_interval, Duration::MAX);
    }

    #[test]
    fn only_a_one_shot_command_gives_up() {
        let (once, run) = (OncePolicy::new(Mode::Once), OncePolicy::new(Mode::Run));
        assert_eq!(once.gives_up(PATIENCE - 1, "down"), None);
        assert_eq!(once.gives_up(PATIENCE, "down"), Some(Ending::GaveUp("down".to_owned())));
        assert_eq!(once.ends_without_key("401"), Some(Ending::NoKey("401".to_owned())));
        assert_eq!(
            (run.gives_up(1000, "down"), run.gives_up_now("full"), run.ends_without_key("401")),
            (None, None, None)
        );
        assert_eq!((run.maintenance_steps(), once.maintenance_steps()), (0, MAINTENANCE_STEPS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_one_shot_command_reads_walks_and_numbers_before_the_head() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let (once, run) = (OncePolicy::new(Mode::Once), OncePolicy::new(Mode::Run));
        assert_eq!(once.purpose_of_walk(WalkKind::Sweep), RequestPurpose::Walk);
        assert_eq!(run.purpose_of_walk(WalkKind::Sweep), RequestPurpose::Sweep);
        assert_eq!(run.purpose_of_walk(WalkKind::Seed), RequestPurpose::Walk);
        assert_eq!(once.purpose_of_numbers(false), RequestPurpose::Walk);
        assert_eq!(run.purpose_of_numbers(false), RequestPurpose::Sweep);
        assert_eq!(run.purpose_of_numbers(true), RequestPurpose::Walk);
        assert_eq!(once.head_rests_until(Demand::Walks, now), Some(now + HEAD_REST));
        assert_eq!(
            (once.head_rests_until(Demand::Nothing, now), run.head_rests_until(Demand::Walks, now)),
            (None, None)
        );
    }

    #[test]
    fn a_wait_for_the_budget_is_logged_once_and_again_when_it_is_very_long() {
        let mut wait = BudgetWait::default();
        let seconds = [1, 3, 3, 40, 40, 3];
        let told = seconds.map(|seconds| wait.notice(Duration::from_secs(seconds)));
        assert_eq!(told, [None, Some(WaitNotice::Long), None, Some(WaitNotice::VeryLong), None, None]);
        assert_eq!(BudgetWait::default().notice(Duration::from_secs(31)), Some(WaitNotice::VeryLong));
    }
}
