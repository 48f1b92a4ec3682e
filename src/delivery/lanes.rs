//! Decides which lane gets the next free worker. Pure.
//!
//! Invariants:
//! - With two workers or more, live messages wait neither for a backfill nor for retries.
//! - A lane in which messages wait never starves, however busy the other lanes are.

/// The three lanes of a sink, in the order in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Live messages that were never attempted.
    Live,
    /// Messages whose last attempt failed or was refused, and which are due again.
    Retry,
    /// Messages of a backfill that were never attempted.
    Backfill,
}

/// One value for each lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerLane<T> {
    pub(super) live: T,
    pub(super) retry: T,
    pub(super) backfill: T,
}

impl<T> PerLane<T> {
    pub(super) fn get_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Retry => &mut self.retry,
            Lane::Backfill => &mut self.backfill,
        }
    }
}

/// Which lanes got the last workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LastServed {
    /// Whether the live lane got the last worker.
    is_live: bool,
    /// Whether the retry lane got a worker more recently than the backfill lane.
    is_retry: bool,
}

impl LastServed {
    /// Notes that a worker was given to `lane`.
    pub(super) fn note(&mut self, lane: Lane) {
        self.is_live = lane == Lane::Live;
        if lane != Lane::Live {
            self.is_retry = lane == Lane::Retry;
        }
    }
}

/// How the lanes share the attempts that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneSharing {
    /// Each lane gets a share of the workers: [`next`].
    ByWorkers,
    /// The receiver limits how many attempts begin, so the lanes take turns: [`next_in_turn`].
    InTurn,
    /// The last attempt after a silence was refused, so messages that were never attempted go first:
    /// [`next_new_first`].
    NewFirst,
}

/// Returns the lane that gets the next worker; `None`: no lane gets a worker now. Live messages go first, then retries,
/// then the backfill, with these exceptions:
/// - With one worker, live messages take turns with the other two lanes.
/// - With two workers, one is reserved for live messages. The other one is reserved for retries and the backfill while
///   messages wait in these lanes.
/// - With more workers, one is reserved for live messages. One more is reserved for retries, and one for the backfill,
///   while messages wait in that lane.
///
/// With one or two workers, retries and the backfill share one worker, and take turns.
pub(super) fn next(
    waiting: PerLane<bool>,
    under_way: PerLane<usize>,
    workers: usize,
    last: LastServed,
) -> Option<Lane> {
    let rest_under_way = under_way.retry + under_way.backfill;
    let free = workers.saturating_sub(under_way.live + rest_under_way);
    if free == 0 {
        return None;
    }
    let rest = match (waiting.retry, waiting.backfill) {
        (true, true) if last.is_retry => Some(Lane::Backfill),
        (true, _) => Some(Lane::Retry),
        (false, true) => Some(Lane::Backfill),
        (false, false) => None,
    };
    if workers == 1 {
        return match rest {
            Some(rest) if !waiting.live || last.is_live => Some(rest),
            _ => waiting.live.then_some(Lane::Live),
        };
    }
    let kept_for_live = usize::from(under_way.live == 0);
    if workers == 2 {
        let kept_for_rest = usize::from(rest.is_some() && rest_under_way == 0);
        if waiting.live && free > kept_for_rest {
            return Some(Lane::Live);
        }
        return rest.filter(|_| free > kept_for_live);
    }
    let kept_for_retry = usize::from(waiting.retry && under_way.retry == 0);
    let kept_for_backfill = usize::from(waiting.backfill && under_way.backfill == 0);
    if waiting.live && free > kept_for_retry + kept_for_backfill {
        Some(Lane::Live)
    } else if waiting.retry && free > kept_for_live + kept_for_backfill {
        Some(Lane::Retry)
    } else if waiting.backfill && free > kept_for_live + kept_for_retry {
        Some(Lane::Backfill)
    } else {
        None
    }
}

/// Returns the lane that gets the next worker while the receiver limits how many attempts begin. Then workers are
/// always free, so the number of workers does not divide the attempts among the lanes. Instead all lanes in which
/// messages wait take turns, as with one worker. Workers stay reserved as in [`next`].
pub(super) fn next_in_turn(
    waiting: PerLane<bool>,
    under_way: PerLane<usize>,
    workers: usize,
    last: LastServed,
) -> Option<Lane> {
    let retry = waiting.retry && !(last.is_retry && waiting.backfill);
    let others = PerLane { live: waiting.live && !last.is_live, retry, ..waiting };
    next(others, under_way, workers, last).or_else(|| next(waiting, under_way, workers, last))
}

/// Returns the lane of the next attempt if the last attempt after a silence was refused. Messages that were never
/// attempted go first, because the receiver may refuse a refused message for ever. This attempt does not count as a
/// turn of its lane.
pub(super) fn next_new_first(
    waiting: PerLane<bool>,
    under_way: PerLane<usize>,
    workers: usize,
    last: LastServed,
) -> Option<Lane> {
    let new = PerLane { retry: false, ..waiting };
    next_in_turn(new, under_way, workers, last).or_else(|| next_in_turn(waiting, under_way, workers, last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: PerLane<bool> = PerLane { live: true, retry: true, backfill: true };
    const IDLE: PerLane<usize> = PerLane { live: 0, retry: 0, backfill: 0 };

    /// Gives workers to lanes until no lane gets one.
    fn filled(waiting: PerLane<bool>, workers: usize) -> PerLane<usize> {
        let (mut under_way, mut last) = (IDLE, LastServed::default());
        while let Some(lane) = next(waiting, under_way, workers, last) {
            *under_way.get_mut(lane) += 1;
            last.note(lane);
        }
        under_way
    }

    #[test]
    fn how_workers_are_shared_out() {
        let some = |live, retry, backfill| PerLane { live, retry, backfill };
        for (waiting, workers, live, retry, backfill) in [
            (ALL, 8, 6, 1, 1),
            (ALL, 3, 1, 1, 1),
            (ALL, 2, 1, 1, 0),
            (ALL, 1, 1, 0, 0),
            (some(true, false, false), 8, 8, 0, 0),
            (some(true, false, true), 8, 7, 0, 1),
            (some(true, true, false), 8, 7, 1, 0),
            (some(false, true, true), 8, 0, 6, 1),
            (some(false, true, false), 8, 0, 7, 0),
            (some(false, false, true), 8, 0, 0, 7),
            (some(false, false, true), 2, 0, 0, 1),
            (some(true, false, false), 2, 2, 0, 0),
            (some(false, false, true), 1, 0, 0, 1),
            (some(false, false, false), 8, 0, 0, 0),
        ] {
            assert_eq!(filled(waiting, workers), PerLane { live, retry, backfill }, "{waiting:?} {workers}");
        }
    }

    #[test]
    fn one_worker_takes_turns() {
        let mut last = LastServed::default();
        let turns: Vec<Lane> = (0..6)
            .map(|_| {
                let lane = next(ALL, IDLE, 1, last).unwrap();
                last.note(lane);
                lane
            })
            .collect();
        assert_eq!(turns, [Lane::Live, Lane::Retry, Lane::Live, Lane::Backfill, Lane::Live, Lane::Retry]);
    }

    #[test]
    fn lanes_take_turns_while_the_receiver_sets_the_pace() {
        for workers in [1, 2, 8] {
            let mut last = LastServed::default();
            let turns: Vec<Lane> = (0..6)
                .map(|_| {
                    let lane = next_in_turn(ALL, IDLE, workers, last).unwrap();
                    last.note(lane);
                    lane
                })
                .collect();
            assert_eq!(turns, [Lane::Live, Lane::Retry, Lane::Live, Lane::Backfill, Lane::Live, Lane::Retry]);
        }
        let last = LastServed { is_live: true, is_retry: false };
        assert_eq!(next_in_turn(PerLane { live: true, ..PerLane::default() }, IDLE, 8, last), Some(Lane::Live));
        // The worker that is reserved for live messages stays free.
        let full = PerLane { live: 0, retry: 0, backfill: 7 };
        let waiting = PerLane { live: false, retry: false, backfill: true };
        assert_eq!(next_in_turn(waiting, full, 8, last), None);
    }

    #[test]
    fn after_a_refused_trial_messages_that_were_never_attempted_go_first() {
        let last = LastServed { is_live: true, is_retry: false };
        let some = |live, retry, backfill| PerLane { live, retry, backfill };
        for (waiting, expected) in [
            (ALL, Some(Lane::Backfill)),
            (some(true, true, false), Some(Lane::Live)),
            (some(false, true, true), Some(Lane::Backfill)),
            (some(false, true, false), Some(Lane::Retry)),
            (some(false, false, false), None),
        ] {
            for workers in [1, 2, 8] {
                assert_eq!(next_new_first(waiting, IDLE, workers, last), expected, "{waiting:?} {workers}");
            }
        }
    }

    proptest! {
        /// Deliveries end in any order, and lanes fill and empty at random. A lane in which a message waits all the
        /// time is served again and again.
        #[test]
        fn no_lane_starves(
            workers in 1_usize..6,
            steps in prop::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 400),
            patient in 0_usize..3,
        ) {
            let (mut under_way, mut last) = (Vec::new(), LastServed::default());
            let mut unserved = 0;
            for (which, one, other) in steps {
                let mut waiting = PerLane { live: one, retry: other, backfill: one != other };
                let patient = [Lane::Live, Lane::Retry, Lane::Backfill][patient];
                *waiting.get_mut(patient) = true;
                unserved += 1;
                loop {
                    let mut counts = IDLE;
                    under_way.iter().for_each(|&lane| *counts.get_mut(lane) += 1);
                    let Some(lane) = next(waiting, counts, workers, last) else { break };
                    last.note(lane);
                    under_way.push(lane);
                    if lane == patient {
                        unserved = 0;
                    }
                }
                prop_assert!(!under_way.is_empty(), "a message waits, and no worker works");
                if patient == Lane::Live && workers > 1 {
                    prop_assert!(under_way.contains(&Lane::Live), "no worker sends a live message");
                }
                // One of the two oldest deliveries ends in each turn.
                under_way.remove(usize::from(which) % under_way.len().min(2));
                prop_assert!(unserved < 12 * workers + 12, "{:?} starves", patient);
            }
        }
    }
}
