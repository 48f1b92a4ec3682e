//! Which clock is believed, at the start of a process and when a clock jumps. Pure.
//!
//! The relay's time begins as the best guess of this machine: its clock may be days off until somebody sets it right. The
//! answers of the API say what time it is elsewhere. Invariants:
//!
//! - Where both agree, that is the time.
//! - Where they differ, nothing is believed before they have differed by the same amount for a while: a clock that is about
//!   to be set right is waited for. Then the API is believed, unless the state holds later instants than the API knows of,
//!   from a process that had the time confirmed, and the machine's clock does not contradict them.
//! - Time that only one of the two clocks saw pass is not counted against what is stored.
//! - Where the API is not heard at all, the machine's clock is believed after it has run for a longer while without a jump.
//! - A clock that suddenly reads something far from what was expected is not believed at once: see [`ClockDoubt`].

use std::time::Duration;

use super::Instant;
use crate::domain::{UnixMs, whole_ms};

/// Clocks that differ by no more than this agree.
pub(super) const AGREED: Duration = Duration::from_secs(5 * 60);

/// A reading that is further than this from what was expected is doubted.
const PLAUSIBLE: Duration = Duration::from_secs(3600);

/// Two clocks that differ by the same amount for this long are both running, and one of them is simply wrong.
pub(super) const SETTLED: Duration = Duration::from_secs(15 * 60);

/// The answers that say so must lie at least this far apart: what the API told for a moment is not the time.
const TOLD: Duration = Duration::from_secs(5 * 60);

/// Without the API, the machine's clock is believed after it has run this long without a jump.
pub(super) const ALONE: Duration = Duration::from_secs(3600);

/// A correction that is smaller than this is not worth one.
pub(super) const TRIFLE: Duration = Duration::from_secs(2);

/// What the clocks say at one moment, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Witnesses {
    /// The relay's time so far.
    pub(super) relay: UnixMs,
    /// The machine's clock.
    pub(super) machine: UnixMs,
    /// The API's clock; `None`: it was not heard in this process.
    pub(super) api: Option<UnixMs>,
    /// The newest instant that the state held when this process began.
    pub(super) newest: UnixMs,
    /// The newest of these from a process that knew the time from the API.
    pub(super) proven: UnixMs,
    /// For how long neither of the clocks has jumped.
    pub(super) steady: Duration,
    /// How much time lies between the first and the last answer of the API since then.
    pub(super) told: Duration,
    /// By how many milliseconds an earlier process found the machine's clock ahead of the API's.
    pub(super) known_apart: Option<i64>,
    /// Whether that process knew the time from the API.
    pub(super) known_confirmed: bool,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockVerdict {
    /// The relay's time from now on.
    pub(super) now: UnixMs,
    /// Whether a step ahead is to count for nothing that is stored: only one of the clocks saw that time pass.
    pub(super) uncounted: bool,
    /// Whether the API has said so.
    pub(super) by_api: bool,
}

/// Decides; `None`: nobody knows yet.
pub(super) fn judge(witnesses: &Witnesses) -> Option<ClockVerdict> {
    let Witnesses { relay, machine, api, newest, proven, steady, told, known_apart, known_confirmed } = *witnesses;
    let Some(api) = api else {
        // A machine that counts from 1970, or from its last shutdown, knows less than the state.
        let now = if machine > newest { machine } else { relay };
        return (steady >= ALONE).then_some(ClockVerdict { now, uncounted: false, by_api: false });
    };
    if agree(machine, api) {
        return Some(ClockVerdict { now: machine, uncounted: false, by_api: true });
    }
    let ahead = machine.0.saturating_sub(api.0);
    let is_known = known_apart.is_some_and(|known| agree(UnixMs(known), UnixMs(ahead)));
    if !is_known && (steady < SETTLED || told < TOLD) {
        return None;
    }
    let contradicted = |clock: UnixMs| clock.after(AGREED) < proven;
    if contradicted(api) && !contradicted(machine) {
        return Some(ClockVerdict { now: machine, uncounted: false, by_api: true });
    }
    let uncounted = api > machine && !(is_known && known_confirmed);
    Some(ClockVerdict { now: api, uncounted, by_api: true })
}

/// How far two instants are from each other.
pub(super) fn apart(one: UnixMs, other: UnixMs) -> Duration {
    one.since(other).max(other.since(one))
}

/// Whether two clocks agree: they differ by 5 minutes at most.
pub fn agree(one: UnixMs, other: UnixMs) -> bool {
    apart(one, other) <= AGREED
}

/// Whether a clock reads about what was expected: they differ by an hour at most.
pub fn is_plausible(told: UnixMs, expected: UnixMs) -> bool {
    apart(told, expected) <= PLAUSIBLE
}

/// Whether a clock of the API is believed that reads something far from what was expected.
///
/// One wrong answer may come again for some seconds. So a reading that is not plausible is believed only if another clock
/// vouches for it, or if the same jump was told for 15 minutes without an answer in between that was as expected.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockDoubt(Option<ToldJump>);

#[derive(Clone, Copy, Debug)]
struct ToldJump {
    /// How many milliseconds it leads ahead of what was expected.
    ahead: i64,
    since: Instant,
}

impl ClockDoubt {
    /// Takes in that the clock read `told` at `at`, where `expected` was expected. `vouched` says that another clock, which
    /// is independent of this one, reads the same. Returns whether `told` is believed.
    pub fn believes(&mut self, told: UnixMs, expected: UnixMs, vouched: bool, at: Instant) -> bool {
        if vouched || is_plausible(told, expected) {
            self.0 = None;
            return true;
        }
        let ahead = told.0.saturating_sub(expected.0);
        let same = self.0.filter(|jump| jump.ahead.abs_diff(ahead) <= whole_ms(JUMP).unsigned_abs());
        let jump = *self.0.insert(same.unwrap_or(ToldJump { ahead, since: at }));
        let is_settled = at.saturating_duration_since(jump.since) >= SETTLED;
        if is_settled {
            self.0 = None;
        }
        is_settled
    }
}

/// For how long two clocks have run without a jump.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steadiness(Option<ClockPace>);

/// How the clocks stood to elapsed time when the watch began.
#[derive(Clone, Copy, Debug)]
struct ClockPace {
    machine: i64,
    api: Option<i64>,
    since: i64,
    /// When the API was last heard.
    heard: i64,
}

/// A clock that is off by more than this from where it should be has jumped. A `Date` has whole seconds and may have been
/// on its way for long.
const JUMP: Duration = Duration::from_secs(60);

impl Steadiness {
    /// Takes in what the clocks say at `elapsed` milliseconds of a clock that never jumps; returns for how long that was as
    /// expected. `heard` says that the API has told it just now, while otherwise its clock is carried on.
    pub(super) fn look(&mut self, elapsed: i64, machine: UnixMs, api: Option<UnixMs>, heard: bool) -> Duration {
        let offset = |clock: UnixMs| clock.0.saturating_sub(elapsed);
        let (machine, api) = (offset(machine), api.map(offset));
        let jump = whole_ms(JUMP);
        let pace = self.0.filter(|pace| {
            let same_api = pace.api.zip(api).is_none_or(|(was, is)| was.abs_diff(is) <= jump.unsigned_abs());
            // The API that is heard for the first time begins the watch over both.
            same_api && pace.machine.abs_diff(machine) <= jump.unsigned_abs() && (pace.api.is_some() || api.is_none())
        });
        let mut pace = pace.unwrap_or(ClockPace { machine, api, since: elapsed, heard: elapsed });
        if heard {
            pace.heard = elapsed;
        }
        self.0 = Some(pace);
        span(pace.since, elapsed)
    }

    /// How much time lies between the first and the last answer of the API since the last jump.
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

    fn witnesses() -> Witnesses {
        Witnesses {
            relay: TRUTH,
            machine: TRUTH,
            api: Some(TRUTH),
            newest: off(-DAY),
            proven: off(-DAY),
            steady: Duration::ZERO,
            told: SETTLED,
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
        // It started eight days ahead and was set right since.
        assert_eq!(judge(&Witnesses { relay: off(8 * DAY), ..witnesses() }), taken(TRUTH));
        // It began at the time of its last shutdown and was set right since: the time that it was off has passed.
        assert_eq!(judge(&Witnesses { relay: off(-10 * DAY), newest: off(-10 * DAY), ..witnesses() }), taken(TRUTH));
        assert_eq!(judge(&Witnesses { machine: off(299_000), ..witnesses() }), taken(off(299_000)));
        // What an earlier process wrote while its clock was ahead does not matter.
        assert_eq!(judge(&Witnesses { newest: off(9 * DAY), ..witnesses() }), taken(TRUTH));
    }

    #[test]
    fn clocks_that_differ_are_watched_and_then_the_api_is_believed() {
        for ahead in [8 * DAY, -10 * DAY] {
            let apart = Witnesses { machine: off(ahead), relay: off(ahead), ..witnesses() };
            assert_eq!(judge(&apart), None, "it may be set right any moment");
            assert_eq!(judge(&Witnesses { steady: SETTLED - Duration::from_secs(1), ..apart }), None);
            let moment = Duration::from_secs(5);
            assert_eq!(judge(&Witnesses { steady: SETTLED, told: moment, ..apart }), None, "told for a moment");
            let verdict = judge(&Witnesses { steady: SETTLED, ..apart }).unwrap();
            assert_eq!(verdict.now, TRUTH);
            assert_eq!(verdict.uncounted, ahead < 0, "only the API saw these ten days");
            let known = Witnesses { known_apart: Some(ahead + 100_000), known_confirmed: true, ..apart };
            assert_eq!(judge(&known), taken(TRUTH), "it is as it always was");
        }
    }

    #[test]
    fn an_api_that_contradicts_the_state_is_not_believed_over_a_machine_that_does_not() {
        let behind = Witnesses { api: Some(off(-3 * DAY)), steady: SETTLED, ..witnesses() };
        assert_eq!(judge(&behind), taken(TRUTH));
        // Where both do, the state holds instants of a clock that was ahead.
        let both = Witnesses { machine: off(-2 * DAY), ..behind };
        assert_eq!(judge(&both), taken(off(-3 * DAY)));
        // Instants that processes wrote before anybody confirmed the time contradict nobody.
        let ahead = Witnesses { machine: off(8 * DAY), newest: off(8 * DAY), steady: SETTLED, ..witnesses() };
        assert_eq!(judge(&ahead), taken(TRUTH));
    }

    #[test]
    fn without_the_api_the_machine_is_believed_later() {
        let alone = Witnesses { api: None, ..witnesses() };
        assert_eq!(judge(&Witnesses { steady: ALONE - Duration::from_secs(1), ..alone }), None);
        let by_machine = |now| Some(ClockVerdict { now, uncounted: false, by_api: false });
        assert_eq!(judge(&Witnesses { steady: ALONE, ..alone }), by_machine(TRUTH));
        // A clock without a battery: the state knows better.
        let dead = Witnesses { machine: UnixMs(3_600_000), relay: off(-DAY + 1), steady: ALONE, ..alone };
        assert_eq!(judge(&dead), by_machine(off(-DAY + 1)));
    }

    #[test]
    fn a_jump_begins_the_watch_again() {
        let mut steadiness = Steadiness::default();
        let seconds = |number: u64| Duration::from_secs(number);
        let mut look = |elapsed, machine, api: Option<UnixMs>| {
            let steady = steadiness.look(elapsed, machine, api, api.is_some());
            (steady, steadiness.told())
        };
        assert_eq!(look(0, off(0), None).0, seconds(0));
        assert_eq!(look(10_000, off(10_900), None).0, seconds(10));
        assert_eq!(look(20_000, off(20_000), Some(off(DAY))), (seconds(0), seconds(0)), "the API is heard");
        assert_eq!(look(30_000, off(30_000), None), (seconds(10), seconds(0)), "an answer without a date");
        assert_eq!(look(40_000, off(41_000), Some(off(DAY + 21_000))), (seconds(20), seconds(20)));
        assert_eq!(look(45_000, off(46_000), None), (seconds(25), seconds(20)));
        assert_eq!(look(50_000, off(DAY), Some(off(DAY + 30_000))).0, seconds(0), "the machine's jumped");
        assert_eq!(look(60_000, off(DAY + 10_000), Some(off(0))), (seconds(0), seconds(0)), "the API's jumped");
        assert_eq!(look(90_000, off(DAY + 40_000), Some(off(30_000))), (seconds(30), seconds(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_jump_is_believed_when_it_was_told_for_long_or_another_clock_vouches_for_it() {
        let clock = crate::time::Clock::starting_at(TRUTH);
        let mut doubt = ClockDoubt::default();
        let mut believes = |ahead: i64, vouched| doubt.believes(off(ahead), TRUTH, vouched, clock.monotonic());
        assert!(believes(3_600_000, false), "within an hour");
        for ahead in [DAY, -DAY] {
            assert!(!believes(ahead, false));
            tokio::time::advance(SETTLED - Duration::from_secs(1)).await;
            assert!(!believes(ahead + 59_000, false));
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(believes(ahead, false), "for 15 minutes");
            assert!(!believes(ahead, false), "the watch begins again");
            tokio::time::advance(SETTLED).await;
            assert!(!believes(2 * ahead, false), "another jump");
            tokio::time::advance(SETTLED - Duration::from_secs(1)).await;
            assert!(believes(0, false));
            tokio::time::advance(SETTLED).await;
            assert!(!believes(2 * ahead, false), "an answer in between was as expected");
            assert!(believes(2 * ahead, true), "another clock says the same");
        }
    }

    proptest! {
        /// One clock is right and the other is anywhere: the time that is taken is one of both, and never later than both;
        /// if only one of them saw time pass, that is not counted.
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
            let verdict = judge(&Witnesses {
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
                prop_assert!(counted <= machine.max(newest).after(AGREED) , "{now} is later than the machine knows");
                prop_assert!(counted <= api.max(newest).after(AGREED) || counted == machine, "{now}");
            }
        }
    }
}
