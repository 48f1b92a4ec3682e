//! Tests of `check --online`, which tries everything that the relay needs around it.

use std::net::TcpListener;
use std::path::Path;

use jiff::SignedDuration;

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn check(setup: Setup) -> (i32, String, String) {
    { setup }.args(&["check", "--online"]).output()
}

/// The address of a port of this machine on which nothing listens.
fn nowhere() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/hook")
}

/// The line about a subject, with its verdict in front, and the line with the remedy, if there is one.
fn finding<'o>(output: &'o str, subject: &str) -> (&'o str, &'o str) {
    let mut lines = output.lines().skip_while(|line| line.get(9..).is_none_or(|rest| !rest.starts_with(subject)));
    let line = lines.next().unwrap_or_else(|| panic!("nothing about {subject}:\n{output}"));
    (line, lines.next().filter(|next| next.contains("  fix: ")).unwrap_or_default())
}

#[test]
fn everything_is_tried_and_no_message_is_sent() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let setup = scene.setup().sink(&receiver.url()).set("SINKS__CRM__SIGNING__SCHEME", "standard-webhooks");
    let setup = setup.set("SINKS__CRM__SIGNING__SECRETS", SECRET);
    let (code, output, log) = check(setup.set("SINKS__OUT__TYPE", "stdout"));
    assert_eq!((code, log.as_str()), (0, ""), "{output}");
    for subject in
        ["state ", "disk ", "API: connection", "key ", "clock ", "budget ", "crm: connection", "crm: signature"]
    {
        assert!(finding(&output, subject).0.starts_with("ok "), "{subject}\n{output}");
    }
    assert!(finding(&output, "out ").0.starts_with("- "), "{output}");
    assert!(output.ends_with("\nno fault was found") && !output.contains("fix:"), "{output}");
    assert_eq!((receiver.count(), scene.handle().requests().len()), (0, 1), "{output}");
    assert!(!scene.dir().join("state").exists(), "the check makes no state");
    for secret in [scene.simulator().key(), SECRET.to_owned()] {
        assert!(!output.contains(&secret), "{output}");
    }
}

#[test]
fn each_fault_has_a_fix_and_an_exit_code() {
    type Fault = (fn(&Scene, Setup) -> Setup, &'static str, i32, &'static str);
    let cases: [(&str, Fault); 7] = [
        (
            "a revoked key",
            (
                |scene, setup| {
                    scene.handle().revoke_key("start");
                    setup
                },
                "key ",
                77,
                "make a new key in the dashboard",
            ),
        ),
        (
            "a clock that is wrong",
            (
                |scene, setup| {
                    scene.handle().set_switches(|switches| switches.date_skew = SignedDuration::from_mins(20));
                    setup
                },
                "clock ",
                1,
                "timedatectl set-ntp true",
            ),
        ),
        ("no API", (|_, setup| setup.env("JOLTSMS_API_URL", &nowhere()), "API: connection", 1, "correct api.url")),
        ("no receiver", (|_, setup| setup.sink(&nowhere()), "crm: connection", 1, "start the server at this address")),
        (
            "a name that is none",
            (|_, setup| setup.sink("https://receiver.invalid/hook"), "crm: name", 1, "correct sinks.crm.url"),
        ),
        (
            "a receiver without TLS",
            (
                |scene, setup| setup.sink(&scene.simulator().url().replace("http:", "https:")),
                "crm: connection",
                1,
                "write http:// in sinks.crm.url",
            ),
        ),
        (
            "a file in the way of the state",
            (
                |scene, setup| {
                    let file = scene.file("in the way");
                    setup.set("STATE__DIR", &Path::new(&file).join("state").display().to_string())
                },
                "state ",
                1,
                "choose another state.dir",
            ),
        ),
    ];
    side_by_side(&cases, |(change, subject, exit, fix)| {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        let (code, output, log) = check(change(&scene, scene.setup().sink(&receiver.url())));
        let (line, remedy) = finding(&output, subject);
        assert!(line.starts_with("FAILED ") && remedy.contains(fix), "{output}\n{log}");
        assert_eq!(code, *exit, "{output}");
        assert!(output.ends_with("\n1 fault"), "{output}");
        assert_eq!(receiver.count(), 0);
    });
}

#[test]
fn it_leaves_a_relay_its_budget() {
    let scene = Scene::new();
    let setup = || scene.setup().set("API__REQUESTS_PER_MINUTE", "1").set("POLL__INTERVAL", "200ms");
    let mut relay = setup().start();
    scene.wait_until(|handle| handle.requests().len() == 1);
    wait_until("a state", || scene.dir().join("state/state.db").exists(), || relay.log());
    let (code, output, log) = check(setup());
    assert!(finding(&output, "key ").0.contains("the request budget has no room"), "{output}");
    assert_eq!(code, 75, "{output}\n{log}");
    assert!(finding(&output, "state ").0.ends_with("a relay runs on it"), "{output}");
    assert_eq!(scene.handle().requests().len(), 1);
    relay.kill();
}

#[test]
fn it_goes_with_no_message() {
    let scene = Scene::new();
    let (code, _, log) = scene.setup().args(&["check", "--online", "--message", "m.json"]).output();
    assert!(code == 2 && log.contains("cannot be used with"), "{log}");
}
