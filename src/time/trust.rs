//! The decision which clock is believed, at the start of a process and when a clock jumps. Pure.
//!
//! At the start of a process the relay's time is a guess. The machine's clock may be days off until somebody sets it
//! right. The answers of the API show the time by the API's clock. Invariants:
//!
//! - If both clocks agree, their time is right.
//! - If they differ, neither is believed at first, because the machine's clock may soon be set right. The API is
//!   believed once the clocks have differed by the same amount for 15 minutes, or at once if an earlier process stored
//!   the same difference. There is one exception: the state may hold instants of a process whose time the API had
//!   confirmed. If the API's time is earlier than these instants, and the machine's clock is not earlier, then the
//!   machine's clock is believed.
//! - If the relay's time is set forward by a day, but only one of the two clocks shows that a day has passed, the
//!   stored times are set forward by a day, too. So no message becomes a day older because of the correction.
//! - If no answer of the API has a time, the machine's clock is believed after it has run for an hour without a jump.
//! - A clock whose reading is suddenly far from the expected time is not believed at once ([`ClockDoubt`]).

use std::time::Duration;

use super::Instant;
use crate::domain::{UnixMs, whole_ms};

/// Two clocks agree if they differ by at most this much.
pub(super) const MAX_AGREEING_DIFFERENCE: Duration = Duration::from_secs(5 * 60);

/// The most by which a plausible reading differs from the expected time. A reading that differs by more is doubted.
const MAX_PLAUSIBLE_DIFFERENCE: Duration = Duration::from_secs(3600);

/// If two clocks have differed by the same amount for this long, one of them is wrong, and nobody is about to set it
/// right.
pub(super) const SETTLING_TIME: Duration = Duration::from_secs(15 * 60);

/// If the clocks differ, the API is believed only if its answers have shown the same difference for at least this long,
/// or if an earlier process stored this difference. A time that the API stated only for a moment is not believed.
const MIN_API_SPAN: Duration = Duration::from_secs(5 * 60);

/// Without the API, the machine's clock is believed after it has run for this long without a jump.
pub(super) const SETTLING_TIME_WITHOUT_API: Duration = Duration::from_secs(3600);

/// The smallest correction that is worth making.
pub(super) const MIN_CORRECTION: Duration = Duration::from_secs(2);

/// The readings of the clocks at one moment, and the knowledge about them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockEvidence {
    /// The relay's time so far.
    pub(super) relay: UnixMs,
    /// The machine's clock.
    pub(super) machine: UnixMs,
    /// The API's clock; `None` if the API has stated no time in this process.
    pub(super) api: Option<UnixMs>,
    /// The newest instant that the state held when this process began.
    pub(super) newest: UnixMs,
    /// The newest stored instant from a process whose time the API had confirmed.
    pub(super) proven: UnixMs,
    /// How long neither of the clocks has jumped.
    pub(super) steady: Duration,
    /// How much time lies between the first and the last answer of the API since the last jump.
    pub(super) told: Duration,
    /// By how many milliseconds an earlier process found the machine's clock ahead of the API's clock.
    pub(super) known_apart: Option<i64>,
    /// Whether the API had confirmed the time of the process that stored `known_apart`.
    pub(super) known_confirmed: bool,
}

/// The verdict on the present time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockVerdict {
    /// The relay's time from now on.
    pub(super) now: UnixMs,
    /// Whether the relay's time is set forward over a span that only one of the two clocks shows. Such a span must not
    /// make stored times older.
    pub(super) uncounted: bool,
    /// Whether the API's clock was known and took part in this verdict.
    pub(super) by_api: bool,
}

/// Decides what time it is; `None` if this cannot be decided yet.
pub(super) fn judge(witnesses: &ClockEvidence) -> Option<ClockVerdict> {
    let ClockEvidence { relay, machine, api, newest, proven, steady, told, known_apart, known_confirmed } = *witnesses;
    let Some(api) = api else {
        // The machine's clock may count from 1970 or from the last shutdown. If the machine's clock is not past the
        // newest stored instant, the relay's time stays as it is.
        let now = if machine > newest { machine } else { relay };
        return (steady >= SETTLING_TIME_WITHOUT_API).then_some(ClockVerdict { now, uncounted: false, by_api: false });
    };
    if agree(machine, api) {
        return Some(ClockVerdict { now: machine, uncounted: false, by_api: true });
    }
    let ahead = machine.0.saturating_sub(api.0);
    let is_known = known_apart.is_some_and(|known| agree(UnixMs(known), UnixMs(ahead)));
    if !is_known && (steady < SETTLING_TIME || told < MIN_API_SPAN) {
        return None;
    }
    let contradicted = |clock: UnixMs| clock.after(MAX_AGREEING_DIFFERENCE) < proven;
    if contradicted(api) && !contradicted(machine) {
        return Some(ClockVerdict { now: machine, uncounted: false, by_api: true });
    }
    let uncounted = api > machine && !(is_known && known_confirmed);
    Some(ClockVerdict { now: api, uncounted, by_api: true })
}

/// Returns how far two instants are from each other.
pub(super) fn apart(one: UnixMs, other: UnixMs) -> Duration {
    one.since(other).max(other.since(one))
}

/// Returns whether two clocks agree: they differ by at most 5 minutes.
pub fn agree(one: UnixMs, other: UnixMs) -> bool {
    apart(one, other) <= MAX_AGREEING_DIFFERENCE
}

/// Returns whether a clock reads about the expected time: the two differ by at most an hour.
pub fn is_plausible(told: UnixMs, expected: UnixMs) -> bool {
    apart(told, expected) <= MAX_PLAUSIBLE_DIFFERENCE
}

/// Decides whether a clock of the API is believed when its reading is far from the expected time.
///
/// A wrong answer may be repeated for some seconds. So a reading that is not plausible is believed only in two cases:
/// another clock confirms it, or all answers of the last 15 minutes have shown the same jump.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockDoubt(Option<DoubtedJump>);

#[derive(Clone, Copy, Debug)]
struct DoubtedJump {
    /// By how many milliseconds the reading is ahead of the expected time.
    ahead: i64,
    since: Instant,
}

impl ClockDoubt {
    /// Records that the clock read `told` at the instant `at`, when `expected` was the expected time. `vouched` says
    /// that another, independent clock shows the same time. Returns whether `told` is believed.
    pub fn believes(&mut self, told: UnixMs, expected: UnixMs, vouched: bool, at: Instant) -> bool {
        if vouched || is_plausible(told, expected) {
            self.0 = None;
            return true;
        }
        self.has_settled(told, expected, at)
    }

    /// Records that the clock read `told` at the instant `at`, when `expected` was the expected time, and that this
    /// reading is doubted. Returns whether all readings of the last 15 minutes have shown the same jump.
    pub fn has_settled(&mut self, told: UnixMs, expected: UnixMs, at: Instant) -> bool {
        let ahead = told.0.saturating_sub(expected.0);
        let same = self.0.filter(|jump| jump.ahead.abs_diff(ahead) <= whole_ms(JUMP).unsigned_abs());
        let jump = *self.0.insert(same.unwrap_or(DoubtedJump { ahead, since: at }));
        let is_settled = at.saturating_duration_since(jump.since) >= SETTLING_TIME;
        if is_settled {
            self.0 = None;
        }
        is_settled
    }
}

/// Measures how long two clocks have run without a jump.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JumpWatch(Option<ClockOffsets>);

/// How far each clock was ahead of the elapsed time at the moment when the watch began, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct ClockOffsets {
    machine: i64,
    api: Option<i64>,
    /// When the watch began, in elapsed milliseconds.
    since: i64,
    /// When the API last stated a time, in elapsed milliseconds.
    heard: i64,
}

/// A clock counts as having jumped if it is off from its expected reading by more than this. Smaller differences have
/// other reasons: a `Date` has whole seconds, and the answer that contains it may have been on its way for a long time.
const JUMP: Duration = Duration::from_secs(60);

impl JumpWatch {
    /// Records the readings of the clocks at `elapsed` milliseconds of a clock that never jumps. Returns for how long
    /// the readings have been as expected. `heard` says that the API has just stated its time; if not, `api` is its
    /// last time plus the time that has passed since.
    pub(super) fn observe(&mut self, elapsed: i64, machine: UnixMs, api: Option<UnixMs>, heard: bool) -> Duration {
        let offset = |clock: UnixMs| clock.0.saturating_sub(elapsed);
        let (machine, api) = (offset(machine), api.map(offset));
        let jump = whole_ms(JUMP);
        let pace = self.0.filter(|pace| {
            let same_api = pace.api.zip(api).is_none_or(|(was, is)| was.abs_diff(is) <= jump.unsigned_abs());
            // When the API states its first time, the watch begins anew, now over both clocks.
            same_api && pace.machine.abs_diff(machine) <= jump.unsigned_abs() && (pace.api.is_some() || api.is_none())
        });
        let mut pace = pace.unwrap_or(ClockOffsets { machine, api, since: elapsed, heard: elapsed });
        if heard {
            pace.heard = elapsed;
        }
        self.0 = Some(pace);
        span(pace.since, elapsed)
    }

    /// Returns how much time lies between the first and the last answer of the API since the last jump.
    pub(super) fn told(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |pace| span(pace.since, pace.heard))
    }
}

fn span(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;
    const TRUTH: UnixMs = UnixMs(1_750_000_000_000);

    fn off(milliseconds: i64) -> UnixMs {
        UnixMs(TRUTH.0 + milliseconds)
    }

    fn witnesses() -> ClockEvidence {
        ClockEvidence {
            relay: TRUTH,
            machine: TRUTH,
            api: Some(TRUTH),
            newest: off(-DAY),
            proven: off(-DAY),
            steady: Duration::ZERO,
            told: SETTLING_TIME,
            known_apart: None,
            known_confirmed: false,
        }
    }

    fn taken(now: UnixMs) -> Option<ClockVerdict> {
        Some(ClockVerdict { now, uncounted: false, by_api: true })
    }

    #[test]
    fn clocks_that_agree_are_believed_at_once() {
        assert_eq!(judge(&witnesses()), taken(TRUTH));
        // The relay's time started eight days ahead, and the machine's clock was set right since.
        assert_eq!(judge(&ClockEvidence { relay: off(8 * DAY), ..witnesses() }), taken(TRUTH));
        // The machine's clock began at the time of the last shutdown and was set right since. So the time during which
        // the machine was off counts.
        assert_eq!(
            judge(&ClockEvidence { relay: off(-10 * DAY), newest: off(-10 * DAY), ..witnesses() }),
            taken(TRUTH)
        );
        assert_eq!(judge(&ClockEvidence { machine: off(299_000), ..witnesses() }), taken(off(299_000)));
        // Instants that an earlier process wrote while its clock was ahead do not matter.
        assert_eq!(judge(&ClockEvidence { newest: off(9 * DAY), ..witnesses() }), taken(TRUTH));
    }

    #[test]
    fn clocks_that_differ_are_watched_and_then_the_api_is_believed() {
        for ahead in [8 * DAY, -10 * DAY] {
            let apart = ClockEvidence { machine: off(ahead), relay: off(ahead), ..witnesses() };
            assert_eq!(judge(&apart), None, "the machine's clock may soon be set right");
            assert_eq!(judge(&ClockEvidence { steady: SETTLING_TIME - Duration::from_secs(1), ..apart }), None);
            let moment = Duration::from_secs(5);
            assert_eq!(
                judge(&ClockEvidence { steady: SETTLING_TIME, told: moment, ..apart }),
                None,
                "the API stated its time only for a moment"
            );
            let verdict = judge(&ClockEvidence { steady: SETTLING_TIME, ..apart }).unwrap();
            assert_eq!(verdict.now, TRUTH);
            assert_eq!(verdict.uncounted, ahead < 0, "only the API saw these ten days");
            let known = ClockEvidence { known_apart: Some(ahead + 100_000), known_confirmed: true, ..apart };
            assert_eq!(judge(&known), taken(TRUTH), "an earlier process stored the same difference");
        }
    }

    #[test]
    fn an_api_that_contradicts_the_state_is_not_believed_if_the_machine_does_not_contradict_it() {
        let behind = ClockEvidence { api: Some(off(-3 * DAY)), steady: SETTLING_TIME, ..witnesses() };
        assert_eq!(judge(&behind), taken(TRUTH));
        // If the state contradicts both clocks, the state holds instants of a clock that was ahead.
        let both = ClockEvidence { machine: off(-2 * DAY), ..behind };
        assert_eq!(judge(&both), taken(off(-3 * DAY)));
        // Instants that processes wrote before their time was confirmed contradict no clock.
        let ahead = ClockEvidence { machine: off(8 * DAY), newest: off(8 * DAY), steady: SETTLING_TIME, ..witnesses() };
        assert_eq!(judge(&ahead), taken(TRUTH));
    }

    #[test]
    fn without_the_api_the_machine_is_believed_later() {
        let alone = ClockEvidence { api: None, ..witnesses() };
        assert_eq!(judge(&ClockEvidence { steady: SETTLING_TIME_WITHOUT_API - Duration::from_secs(1), ..alone }), None);
        let by_machine = |now| Some(ClockVerdict { now, uncounted: false, by_api: false });
        assert_eq!(judge(&ClockEvidence { steady: SETTLING_TIME_WITHOUT_API, ..alone }), by_machine(TRUTH));
        // The machine's clock has no battery and shows the year 1970, so the relay's time stays as it is.
        let dead = ClockEvidence {
            machine: UnixMs(3_600_000),
            relay: off(-DAY + 1),
            steady: SETTLING_TIME_WITHOUT_API,
            ..alone
        };
        assert_eq!(judge(&dead), by_machine(off(-DAY + 1)));
    }

    #[test]
    fn a_jump_begins_the_watch_again() {
        let mut jump_watch = JumpWatch::default();
        let seconds = |number: u64| Duration::from_secs(number);
        let mut look = |elapsed, machine, api: Option<UnixMs>| {
            let steady = jump_watch.observe(elapsed, machine, api, api.is_some());
            (steady, jump_watch.told())
        };
        assert_eq!(look(0, off(0), None).0, seconds(0));
        assert_eq!(look(10_000, off(10_900), None).0, seconds(10));
        assert_eq!(look(20_000, off(20_000), Some(off(DAY))), (seconds(0), seconds(0)), "the API's first time");
        assert_eq!(look(30_000, off(30_000), None), (seconds(10), seconds(0)), "an answer without a date");
        assert_eq!(look(40_000, off(41_000), Some(off(DAY + 21_000))), (seconds(20), seconds(20)));
        assert_eq!(look(45_000, off(46_000), None), (seconds(25), seconds(20)));
        assert_eq!(look(50_000, off(DAY), Some(off(DAY + 30_000))).0, seconds(0), "the machine's clock jumped");
        assert_eq!(look(60_000, off(DAY + 10_000), Some(off(0))), (seconds(0), seconds(0)), "the API's clock jumped");
        assert_eq!(look(90_000, off(DAY + 40_000), Some(off(30_000))), (seconds(30), seconds(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_jump_is_believed_when_it_was_told_for_long_or_another_clock_vouches_for_it() {
        let clock = crate::time::Clock::starting_at(TRUTH);
        let mut doubt = ClockDoubt::default();
        let mut believes = |ahead: i64, vouched| doubt.believes(off(ahead), TRUTH, vouched, clock.monotonic());
        assert!(believes(3_600_000, false), "the clock is off by no more than an hour");
        for ahead in [DAY, -DAY] {
            assert!(!believes(ahead, false));
            tokio::time::advance(SETTLING_TIME - Duration::from_secs(1)).await;
            assert!(!believes(ahead + 59_000, false));
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(believes(ahead, false), "15 minutes have shown the same jump");
            assert!(!believes(ahead, false), "the watch begins again");
            tokio::time::advance(SETTLING_TIME).await;
            assert!(!believes(2 * ahead, false), "another jump");
            tokio::time::advance(SETTLING_TIME - Duration::from_secs(1)).await;
            assert!(believes(0, false));
            tokio::time::advance(SETTLING_TIME).await;
            assert!(!believes(2 * ahead, false), "a reading in between was plausible");
            assert!(believes(2 * ahead, true), "another clock says the same");
        }
    }

    proptest! {
        /// One clock is right and the other shows any time. The verdict is the time of one of the two. A time span
        /// that only one of the clocks shows does not count: it makes no stored time older.
        #[test]
        fn no_verdict_counts_time_that_only_one_clock_saw(
            wrong in -400 * DAY..400 * DAY,
            api_is_right: bool,
            downtime in 0..30 * DAY,
            known in proptest::option::of(-400 * DAY..400 * DAY),
            steady in 0_u64..2000,
        ) {
            let (machine, api) = if api_is_right { (off(wrong), TRUTH) } else { (TRUTH, off(wrong)) };
            let newest = off(-downtime);
            let verdict = judge(&ClockEvidence {
                relay: machine.max(newest),
                machine,
                api: Some(api),
                newest,
                proven: newest,
                steady: Duration::from_secs(steady),
                told: Duration::from_secs(steady),
                known_apart: known,
                known_confirmed: false,
            });
            if let Some(ClockVerdict { now, uncounted, by_api }) = verdict {
                prop_assert!(by_api && (now == machine || now == api));
                let counted = if uncounted { newest } else { now };
                prop_assert!(counted <= machine.max(newest).after(MAX_AGREEING_DIFFERENCE) , "{now} is later than the machine knows");
                prop_assert!(counted <= api.max(newest).after(MAX_AGREEING_DIFFERENCE) || counted == machine, "{now}");
            }
        }
    }
}
