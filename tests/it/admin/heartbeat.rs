//! Tests of the heartbeat to a monitoring service.

use joltsms_simulator::{Effect, Rule};

use crate::support::relay::Setup;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

const FAILS: &str = "the heartbeat cannot be sent; trying again every interval";
const WORKS_AGAIN: &str = "the heartbeat can be sent again";

fn with_heartbeat(setup: Setup, monitoring: &Receiver) -> Setup {
    setup
        .set("HEARTBEAT__URL", &format!("http://{}/secret-check-id", monitoring.address()))
        .set("HEARTBEAT__INTERVAL", "1s")
}

#[test]
fn it_is_sent_while_the_relay_works_and_only_then() {
    let scene = Scene::new();
    let (monitoring, receiver) = (Receiver::in_background(), Receiver::in_background());
    let fault = scene.handle().add_fault(Rule::always(Effect::status(502)));
    let relay = with_heartbeat(scene.setup_from_beginning().sink(&receiver.url()), &monitoring).start();
    scene.wait_for_fault(fault, 2);
    assert_eq!(monitoring.count(), 0, "the API was not read yet");
    scene.handle().remove_fault(fault);
    monitoring.wait(2, &relay);
    let sent = monitoring.received();
    assert!(sent[0].body.is_empty() && sent[0].headers["user-agent"].to_str().unwrap().starts_with("joltsms-relay/"));
    receiver.answer_with(410);
    scene.add();
    relay.wait_for_log("410");
    // The status that decides may be some seconds old.
    let (mut before, mut same) = (monitoring.count(), 0);
    let is_silent = || {
        let polls = scene.handle().requests().len();
        scene.wait_until(|handle| handle.requests().len() >= polls + 8);
        same = if monitoring.count() == before { same + 1 } else { 0 };
        before = monitoring.count();
        same == 3
    };
    wait_until("silence, while polling goes on", is_silent, || relay.log());
    assert_eq!(Setup::bare(scene.dir()).args(&["sinks", "resume", "crm"]).output().0, 0);
    receiver.answer_with(200);
    monitoring.wait(before + 1, &relay);
    assert!(!relay.log().contains("secret-check-id"), "{}", relay.log());
    ends_with_nothing_more(relay);
}

#[test]
fn a_monitoring_service_that_fails_is_told_once_and_holds_up_nothing() {
    let scene = Scene::new();
    let monitoring = Receiver::in_background();
    monitoring.answer_with(404);
    let relay = with_heartbeat(scene.setup_from_beginning(), &monitoring).start();
    monitoring.wait(3, &relay);
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    relay.wait_for_log("error=\"the monitoring service answers 404\"");
    monitoring.answer_with(200);
    relay.wait_for_log(WORKS_AGAIN);
    assert_eq!(relay.log().matches(FAILS).count(), 1, "{}", relay.log());
    assert!(!relay.log().contains("secret-check-id"), "{}", relay.log());
    ends_with_nothing_more(relay);
}
