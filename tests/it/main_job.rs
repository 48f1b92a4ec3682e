//! Tests that messages from the API reach stdout and HTTP receivers.

use std::collections::BTreeSet;
use std::time::Duration;

use joltsms_simulator::{NewMessage, Options, Simulator};

use crate::support::relay::Setup;
use crate::support::servers::receiver::{Received, Receiver};
use crate::support::waiting::DEADLINE;

async fn simulator() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_start_arrives_on_stdout_unchanged_and_once() {
    let simulator = simulator().await;
    let handle = simulator.handle();
    handle.add_history(30, Duration::from_secs(3000));
    let dir = tempfile::tempdir().unwrap();
    let mut relay = Setup::new(&simulator, dir.path()).start();
    relay.wait_for_log("older_messages=30");
    let id = handle.add(NewMessage::new().from("SHOPLY").body("482913 is your code").code("482913"));
    let row = handle.row(&id).unwrap();
    assert_eq!(relay.line(), row.json);
    assert!(relay.stop().success());
    assert_eq!(relay.rest(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_arrives_at_a_receiver_complete_and_in_order() {
    let simulator = simulator().await;
    let handle = simulator.handle();
    handle.add_history(73, Duration::from_secs(86_400));
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(&simulator, dir.path())
        .sink(&receiver.url())
        .set("SINKS__CRM__CONCURRENCY", "1")
        .set("POLL__START", "beginning");
    let mut relay = setup.start();
    receiver.wait_for(73, DEADLINE).await;
    assert!(relay.stop().success());
    let received = receiver.received();
    let mut expected: Vec<_> = handle.rows();
    expected.reverse();
    let bodies: Vec<&[u8]> = received.iter().map(|request| &*request.body).collect();
    let rows: Vec<&[u8]> = expected.iter().map(|row| row.json.as_bytes()).collect();
    assert_eq!(bodies, rows, "byte for byte, oldest first");
    for (request, row) in received.iter().zip(&expected) {
        assert_eq!(request.webhook_id(), row.id);
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["content-length"], row.json.len().to_string());
        assert!(request.headers["user-agent"].to_str().unwrap().starts_with("joltsms-relay/"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_it_is_killed_again_and_again() {
    let simulator = simulator().await;
    let handle = simulator.handle();
    handle.add_history(300, Duration::from_secs(86_400));
    let receiver = Receiver::start().await;
    receiver.answer(|_| (200, Duration::from_millis(5)));
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(&simulator, dir.path())
        .sink(&receiver.url())
        .set("SINKS__CRM__CONCURRENCY", "4")
        .set("API__REQUESTS_PER_MINUTE", "1000000")
        .set("POLL__START", "beginning");
    simulator.handle().set_switches(|switches| switches.limit = 1_000_000);
    let mut kills = 0;
    for goal in [1, 40, 90, 150, 220, 290] {
        let mut relay = setup.start();
        receiver.wait_for(goal, DEADLINE).await;
        relay.kill();
        kills += 1;
        handle.add(NewMessage::new());
    }
    let mut relay = setup.start();
    let ids: BTreeSet<String> = handle.rows().into_iter().map(|row| row.id).collect();
    let seen = || receiver.received().iter().map(Received::message_id).collect::<BTreeSet<_>>();
    crate::support::waiting::wait_until("every message", || seen() == ids, || relay.log());
    assert!(relay.stop().success());
    let repeats = receiver.received().len() - ids.len();
    assert!(repeats <= kills * 4, "{repeats} repeats after {kills} kills at concurrency 4");
}
