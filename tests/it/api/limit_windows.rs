//! Tests of limits in windows other than a minute. The relay uses these limits, keeps them, and learns them anew when
//! they change.

use std::time::Duration;

use joltsms_simulator::Switches;

use crate::support::cases::side_by_side;
use crate::support::scene::Scene;

/// A limit: a number of requests, and the window for which it holds.
type Limit = (u32, Duration);

const SECOND: Duration = Duration::from_secs(1);

fn limit(switches: &mut Switches, (requests, window): Limit) {
    (switches.limit, switches.window) = (requests, window);
}

/// Checks that new messages arrive, without a 429.
#[test]
fn a_limit_in_another_window_is_kept_and_delays_little() {
    let cases: [(&str, Limit); 3] = [
        ("2 in a second", (2, SECOND)),
        ("20 in 5 minutes", (20, 300 * SECOND)),
        ("100 in 3 minutes", (100, 180 * SECOND)),
    ];
    side_by_side(&cases, |given| {
        let scene = Scene::with(|switches| limit(switches, *given));
        scene.add_past(3);
        let relay = scene.setup().set("POLL__INTERVAL", "1s").set("API__REQUESTS_PER_MINUTE", "120").start();
        scene.wait_for_polls(1);
        relay.wait_for_log("relaying what comes from now on");
        let id = scene.add();
        assert_eq!(relay.ids(1), [id], "{}", relay.log());
        let refused = scene.handle().requests().iter().filter(|request| request.status == Some(429)).count();
        assert_eq!(refused, 0, "{}", relay.log());
        assert!(!relay.log().contains("other programs"), "{}", relay.log());
    });
}

#[test]
fn a_limit_that_changes_while_it_runs_is_learned() {
    let scene = Scene::with(|switches| limit(switches, (2, SECOND)));
    let relay = scene.setup().set("POLL__INTERVAL", "1s").set("API__REQUESTS_PER_MINUTE", "120").start();
    relay.wait_for_log("relaying what comes from now on");
    scene.wait_for_polls(2);
    for given in [(20, 300 * SECOND), (20, 10 * SECOND), (3, 2 * SECOND)] {
        scene.handle().set_switches(|switches| limit(switches, given));
        let id = scene.add();
        assert_eq!(relay.ids(1), [id], "{given:?}: {}", relay.log());
    }
    let refused = scene.handle().requests().iter().filter(|request| request.status == Some(429)).count();
    assert!(refused <= 2, "{refused}: {}", relay.log());
    assert!(!relay.log().contains("other programs"), "{}", relay.log());
}
