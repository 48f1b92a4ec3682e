//! Tests of `tail`.

use joltsms_simulator::NewMessage;

use crate::support::relay::process::id_of;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Adds messages until the tail shows one, since nobody can see from outside when the tail has begun.
fn first_line(scene: &Scene, tail: &Relay) -> String {
    wait_until("a reader", || is_registered(scene), || tail.log());
    scene.wait_for_polls(2);
    scene.add();
    tail.line()
}

fn is_registered(scene: &Scene) -> bool {
    std::fs::read_dir(scene.dir().join("state/readers")).is_ok_and(|mut entries| entries.next().is_some())
}

#[test]
fn new_messages_are_shown_as_the_api_sent_them_with_a_relay_and_without() {
    for with_relay in [true, false] {
        let (scene, crm) = (Scene::new(), Receiver::in_background());
        scene.add_past(12);
        let mut relay = with_relay.then(|| scene.setup_from_beginning().sink(&crm.url()).start());
        if let Some(relay) = &relay {
            crm.wait(12, relay);
        }
        let mut tail = scene.setup().args(&["tail", "--json", "--since", "1h"]).start();
        let ids: Vec<String> = (0..12).map(|_| id_of(&tail.line())).collect();
        assert_eq!(ids, scene.ids(), "the retained messages, oldest first");
        let new: Vec<String> = (0..15).map(|_| scene.add()).collect();
        assert_eq!((0..15).map(|_| id_of(&tail.line())).collect::<Vec<_>>(), new, "each once");
        tail.signal("INT");
        assert_eq!(tail.wait().code(), Some(130), "{}", tail.log());
        assert_eq!((tail.rest(), tail.log()), (Vec::new(), String::new()));
        if let Some(relay) = &mut relay {
            assert!(relay.stop().success());
        }
    }
}

#[test]
fn a_text_cannot_steer_the_terminal() {
    let scene = Scene::new();
    let mut relay = scene.setup().set("SINKS__OUT__TYPE", "stdout").start();
    scene.wait_for_polls(2);
    let mut tail = Setup::bare(scene.dir()).args(&["tail"]).start();
    first_line(&scene, &tail);
    scene.handle().add(NewMessage::new().from("+1\u{1b}[31m").body("a\u{1b}]0;title\u{7}b\nc"));
    let line = tail.line();
    assert!(line.contains(r"+1\u001b[31m -> +1") && line.ends_with(r"a\u001b]0;title\u0007b\nc"), "{line}");
    tail.signal("TERM");
    assert_eq!(tail.wait().code(), Some(143), "{}", tail.log());
    assert!(relay.stop().success());
}

/// A closed stdout is told. A null device that the user chose in a shell is not.
#[test]
fn a_closed_stdout_is_told() {
    let scene = Scene::new();
    let mut relay = scene.setup().set("SINKS__OUT__TYPE", "stdout").start();
    scene.wait_for_polls(2);
    let wait = |redirection: &str| {
        let setup = Setup::bare(scene.dir()).args(&["wait", "--timeout", "1s"]);
        setup.behind(&format!(r#""$0" "$@" {redirection}; true"#)).output().2
    };
    let told = "standard output is closed or the null device: what arrives is printed nowhere";
    assert!(wait(">&-").contains(told));
    assert!(!wait(">/dev/null").contains(told));
    assert!(relay.stop().success());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let scene = Scene::new();
    let mut relay = scene.setup().set("SINKS__OUT__TYPE", "stdout").start();
    scene.wait_for_polls(2);
    let setup = Setup::bare(scene.dir()).args(&["tail"]);
    // The shell prints the exit code of the tail, whose reader ends at once.
    let script = r#"{ "$0" "$@"; echo "ended with $?" >&2; } | true"#;
    let (_, printed, log) = setup.behind(script).output();
    assert_eq!((printed.as_str(), log.as_str()), ("", "ended with 0\n"));
    assert!(relay.stop().success());
}

/// A relay that erases texts on delivery keeps them for a moment after it has noticed a reader. This relay is stopped
/// (SIGSTOP), so it notices nobody.
#[test]
fn a_relay_that_does_not_notice_the_reader_is_not_waited_for_for_ever() {
    let (scene, crm) = (Scene::new(), Receiver::in_background());
    scene.add_past(1);
    crm.answer_with(503);
    let setup = || scene.setup_from_beginning().sink(&crm.url()).set("STATE__KEEP_DELIVERED", "0s");
    let mut relay = setup().start();
    crm.wait(1, &relay);
    relay.signal("STOP");
    let mut tail = setup().args(&["tail", "--json", "--since", "1h"]).start();
    assert_eq!(id_of(&tail.line()), scene.ids()[0]);
    tail.signal("TERM");
    assert_eq!(tail.wait().code(), Some(143), "{}", tail.log());
    relay.signal("CONT");
    assert!(relay.stop().success());
}
