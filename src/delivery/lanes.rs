//! Whose turn it is when a worker is free. Pure.
//!
//! Invariants: live messages never wait for a backfill, nor for retries, as long as there are two workers; no lane that
//! has something waiting starves, however busy the others are.

/// The three queues of a sink, in the order in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Live messages that were never attempted.
    Live,
    /// Failed and refused deliveries that are due.
    Retry,
    /// Messages of a catch-up that were never attempted.
    Backfill,
}

/// Something for each lane.
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

/// The last lane that got a worker beside live, and whether live was the very last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Last {
    live: bool,
    retry: bool,
}

impl Last {
    pub(super) fn note(&mut self, lane: Lane) {
        self.live = lane == Lane::Live;
        if lane != Lane::Live {
            self.retry = lane == Lane::Retry;
        }
    }
}

/// The lane that gets the next worker, if one does: live first, then retries, then backfill, with these exceptions.
/// - One worker: live and the rest take turns where both wait.
/// - Two: one is kept for live, the other for the rest.
/// - More: one is kept for live, one for retries and one for backfill, the latter two only while something waits there.
///
/// Within the rest of one or two workers, retries and backfill take turns.
pub(super) fn next(waiting: PerLane<bool>, under_way: PerLane<usize>, workers: usize, last: Last) -> Option<Lane> {
    let rest_under_way = under_way.retry + under_way.backfill;
    let free = workers.saturating_sub(under_way.live + rest_under_way);
    if free == 0 {
        return None;
    }
    let rest = match (waiting.retry, waiting.backfill) {
        (true, true) if last.retry => Some(Lane::Backfill),
        (true, _) => Some(Lane::Retry),
        (false, true) => Some(Lane::Backfill),
        (false, false) => None,
    };
    if workers == 1 {
        return match rest {
            Some(rest) if !waiting.live || last.live => Some(rest),
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

/// The same where the receiver limits how many begin, so that there are always free workers: all lanes that have something
/// waiting take turns, as with one worker, within what workers allow.
pub(super) fn next_in_turn(
    waiting: PerLane<bool>,
    under_way: PerLane<usize>,
    workers: usize,
    last: Last,
) -> Option<Lane> {
    let retry = waiting.retry && !(last.retry && waiting.backfill);
    let others = PerLane { live: waiting.live && !last.live, retry, ..waiting };
    next(others, under_way, workers, last).or_else(|| next(waiting, under_way, workers, last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: PerLane<bool> = PerLane { live: true, retry: true, backfill: true };
    const IDLE: PerLane<usize> = PerLane { live: 0, retry: 0, backfill: 0 };

    /// Hands out workers until nobody gets one.
    fn filled(waiting: PerLane<bool>, workers: usize) -> PerLane<usize> {
        let (mut under_way, mut last) = (IDLE, Last::default());
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
        let mut last = Last::default();
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
    fn whoever_begins_rarely_takes_turns_too() {
        for workers in [1, 2, 8] {
            let mut last = Last::default();
            let turns: Vec<Lane> = (0..6)
                .map(|_| {
                    let lane = next_in_turn(ALL, IDLE, workers, last).unwrap();
                    last.note(lane);
                    lane
                })
                .collect();
            assert_eq!(turns, [Lane::Live, Lane::Retry, Lane::Live, Lane::Backfill, Lane::Live, Lane::Retry]);
        }
        let last = Last { live: true, retry: false };
        assert_eq!(next_in_turn(PerLane { live: true, ..PerLane::default() }, IDLE, 8, last), Some(Lane::Live));
        // The worker that is kept for live stays free.
        let full = PerLane { live: 0, retry: 0, backfill: 7 };
        let waiting = PerLane { live: false, retry: false, backfill: true };
        assert_eq!(next_in_turn(waiting, full, 8, last), None);
    }

    proptest! {
        /// Workers end in any order, lanes fill and empty at will: whoever waits all the time is served again and again.
        #[test]
        fn nobody_starves(
            workers in 1_usize..6,
            steps in prop::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 400),
            patient in 0_usize..3,
        ) {
            let (mut under_way, mut last) = (Vec::new(), Last::default());
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
                prop_assert!(!under_way.is_empty(), "somebody waits and nobody works");
                if patient == Lane::Live && workers > 1 {
                    prop_assert!(under_way.contains(&Lane::Live), "live waits although there are two workers");
                }
                // The oldest of them ends at the latest after so many turns.
                under_way.remove(usize::from(which) % under_way.len().min(2));
                prop_assert!(unserved < 12 * workers + 12, "{:?} starves", patient);
            }
        }
    }
}
