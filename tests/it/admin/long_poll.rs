//! Tests of `/api/v1/wait`.

use std::fs;

use joltsms_simulator::NewMessage;

use super::client::{address, get_with_token, with_token};
use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

#[test]
fn the_next_matching_message_is_the_answer_and_204_the_end() {
    let (scene, crm) = (Scene::new(), Receiver::in_background());
    let mut relay = with_token(scene.setup()).sink(&crm.url()).start();
    let address = address(&relay);
    scene.wait_for_polls(2);
    let readers = || fs::read_dir(scene.dir().join("state/readers")).map_or(0, Iterator::count);
    std::thread::scope(|scope| {
        let ask = || get_with_token(address, "/api/v1/wait?from=%2B1800*&timeout=60s&claim=true");
        let asked = [(); 2].map(|()| scope.spawn(ask));
        let mut command = Setup::bare(scene.dir()).args(&["wait", "--from", "+1800*", "--claim"]).start();
        command.wait_for_log("waiting for a message");
        wait_until("three readers", || readers() == 3, || relay.log());
        scene.wait_for_polls(2);
        let message = |id: &str, from: &str| NewMessage::new().id(id).from(from);
        scene.handle().add_many([
            message("x", "+1700"),
            message("a", "+1800"),
            message("b", "+1800"),
            message("c", "+1800"),
        ]);
        let mut found: Vec<String> = asked
            .map(|asked| asked.join().unwrap())
            .iter()
            .map(|answer| {
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.json()["id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert!(command.wait().success(), "{}", command.log());
        found.extend(command.rest().iter().map(|line| crate::support::relay::process::id_of(line)));
        found.sort_unstable();
        assert_eq!(found, ["a", "b", "c"]);
    });
    let late = get_with_token(address, "/api/v1/wait?from=%2B1800*&since=1h&claim=true&timeout=1s");
    assert_eq!((late.status, late.body.as_str()), (204, ""), "each has been claimed: {late:?}");
    let late = get_with_token(address, "/api/v1/wait?from=%2B1800*&since=1h");
    assert_eq!((late.status, &late.json()["id"]), (200, &"a".into()), "the first since then: {late:?}");
    let answer = get_with_token(address, "/api/v1/wait?timeout=1s");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
    wait_until("no reader", || readers() == 0, || relay.log());
    let problem = get_with_token(address, "/api/v1/wait?timeout=1h").assert_problem(400);
    assert_eq!(problem["detail"], "timeout is 1s to 5m; ask again to wait longer");
    super::client::get(address, "/api/v1/wait").assert_problem(401);
    assert!(relay.stop().success());
}

#[test]
fn requests_that_wait_leave_connections_for_others() {
    let scene = Scene::new();
    let mut relay = with_token(scene.setup()).start();
    let address = address(&relay);
    scene.wait_for_polls(2);
    let readers = || fs::read_dir(scene.dir().join("state/readers")).map_or(0, Iterator::count);
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..32).map(|_| scope.spawn(|| get_with_token(address, "/api/v1/wait?timeout=60s"))).collect();
        wait_until("all wait", || readers() == 32, || relay.log());
        get_with_token(address, "/api/v1/wait").assert_problem(503);
        assert_eq!(super::client::get(address, "/healthz").status, 200);
        scene.add();
        assert!(asked.into_iter().all(|asked| asked.join().unwrap().status == 200), "{}", relay.log());
    });
    assert!(relay.stop().success());
}
