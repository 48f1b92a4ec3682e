//! The limit of requests to the API holds across relays.

use std::time::Duration;

use super::group::{Group, PATIENCE};
use super::{number_of, rounds, tell};
use crate::support::waiting::{now, wait_within};

/// How long a relay may wait for its turn: for a failover, and for requests of relays before it that count for a minute.
const WINDOWS: Duration = Duration::from_secs(180);

/// How the active relay is killed again and again while it asks as often as it may.
pub(super) struct Plan {
    relays: usize,
    /// How many requests are allowed in any 60 seconds.
    limit: u32,
    kills: usize,
    /// The time between two kills; `None`: each relay is killed after some requests.
    between: Option<Duration>,
}

impl Plan {
    /// Returns the plan of the minutes in `JOLTSMS_RELAY_REPLICA_MINUTES` at the limit of the real API, or a short one.
    pub(super) fn chosen() -> Self {
        match number_of("JOLTSMS_RELAY_REPLICA_MINUTES") {
            Some(minutes) => Self { relays: 3, limit: 120, kills: minutes * 4, between: Some(Duration::from_secs(15)) },
            None => Self { relays: 2, limit: 30, kills: rounds(3), between: None },
        }
    }

    /// Makes the group whose API has the limit of the plan.
    pub(super) fn group(&self) -> Option<Group> {
        let limit = self.limit;
        let group = Group::with(|switches| switches.limit = limit)?;
        Some(group.set("API__REQUESTS_PER_MINUTE", &limit.to_string()).set("POLL__INTERVAL", "200ms"))
    }
}

/// Kills the active relay again and again. Checks that no 60 seconds have more requests than the limit, wherever they
/// begin.
pub(super) fn hold_the_limit(mut group: Group, plan: &Plan) {
    group.start_several(plan.relays);
    let began = now();
    let mut next_kill = began;
    for _ in 0..plan.kills {
        let active = group.wait_for_active();
        group.scene.add();
        match plan.between {
            Some(between) => {
                next_kill += between;
                wait_within(between + PATIENCE, "the next kill", || now() >= next_kill, || group.logs());
            }
            None => {
                group.wait_for_all_within(WINDOWS);
                let asked = || group.scene.handle().requests().len();
                let enough = asked() + 6;
                wait_within(WINDOWS, "requests", || asked() >= enough, || group.logs());
            }
        }
        // Another relay may have become the active one meanwhile.
        let active = group.active().unwrap_or(active);
        group.kill(active);
        group.start();
    }
    let lasted = began.elapsed();
    group.wait_for_all_within(WINDOWS);
    let requests = group.scene.handle().requests();
    let refused = requests.iter().filter(|request| request.status == Some(429)).count();
    let times: Vec<Duration> = requests.iter().map(|request| request.at).collect();
    let within =
        |first: usize| times[first..].iter().take_while(|at| **at < times[first] + Duration::from_secs(60)).count();
    let most = (0..times.len()).map(within).max().unwrap();
    let Plan { relays, limit, kills, .. } = plan;
    tell(&format!(
        "{relays} relays, {kills} kills in {lasted:.0?}, limit {limit}: {} requests, at most {most} of them in any 60 s, \
         {refused} answers 429; {} messages, 0 lost, {} repeated",
        requests.len(),
        group.scene.ids().len(),
        group.repeats()
    ));
    assert!(most <= usize::try_from(*limit).unwrap() && refused == 0, "{most} in a minute, {refused} refused");
}

#[test]
fn the_request_limit_holds_across_relays() {
    let plan = Plan::chosen();
    let Some(group) = plan.group() else { return };
    hold_the_limit(group, &plan);
}
