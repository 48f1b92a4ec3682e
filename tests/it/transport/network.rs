//! Tests in which the network between the relay and its ends really fails: packets are lost, swallowed, answered with
//! resets, or late. No message is lost, a message that comes twice was tried twice, no loop runs hot, and the relay
//! recovers by itself.

use joltsms_relay::delivery::log_sentences::{NOTHING_GETS_THROUGH, SINK_FAILS};
use std::time::Duration;

use crate::support::cases::side_by_side;
use crate::support::machine::network_namespace::Direction;
use crate::support::relay::{Relay, Setup};
use crate::support::scenarios::isolated_relay::{End, Network};
use crate::support::waiting::{DEADLINE, wait_until, wait_within};

/// The longest wait for a recovery, which takes long on a bad network and a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A fault of the network, and the reasons with which the log may report the fault.
#[derive(Clone, Copy)]
struct Fault {
    strike: fn(&Network, End),
    said: &'static [&'static str],
}

const UNHEARD: &[&str] = &["no answer within 3s", "no connection within 3s"];
const RESET: &[&str] = &["connection reset by the other side", "connection refused", "connection closed before"];
const UNPLUGGED: &[&str] =
    &["network unreachable", "host unreachable", "no answer within 3s", "no connection within 3s"];

fn faults() -> [(&'static str, Fault); 5] {
    let swallowed = |strike| Fault { strike, said: UNHEARD };
    [
        ("requests vanish", swallowed(|network, end| network.namespace.swallow(network.port(end), Direction::Out))),
        ("answers vanish", swallowed(|network, end| network.namespace.swallow(network.port(end), Direction::In))),
        (
            "everything vanishes",
            swallowed(|network, end| network.namespace.swallow(network.port(end), Direction::Both)),
        ),
        (
            "everything is reset",
            Fault { strike: |network, end| network.namespace.reset(network.port(end)), said: RESET },
        ),
        ("the cable is out", Fault { strike: |network, _| network.namespace.plug(false), said: UNPLUGGED }),
    ]
}

fn in_a_hurry(setup: Setup) -> Setup {
    setup
        .set("API__TIMEOUT", "3s")
        .set("API__CONNECT_TIMEOUT", "3s")
        .set("SINKS__CRM__TIMEOUT", "3s")
        .set("SINKS__CRM__CONNECT_TIMEOUT", "3s")
        .set("LOG__LEVEL", "debug")
}

/// Checks that the log has one warning of this kind, with one of these reasons.
fn is_said_once(relay: &Relay, warning: &str, said: &[&str]) {
    let log = relay.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(warning)).collect();
    assert!(lines.len() == 1 && said.iter().any(|words| lines[0].contains(words)), "{log}");
}

fn ends(mut relay: Relay) {
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

#[test]
fn the_way_to_the_api_fails() {
    side_by_side(&faults(), |Fault { strike, said }| {
        let Some(network) = Network::new() else { return };
        network.scene.add_past(3);
        let relay = in_a_hurry(network.setup()).start();
        network.is_complete(&relay, DEADLINE);
        strike(&network, End::Api);
        relay.wait_for_log("the API cannot be polled; trying again until it can kind=\"transport\" error=");
        network.scene.add();
        relay.wait_for_log("failures=3");
        // Each wait is longer than the wait before: 1, 2, 4 seconds, each up to a tenth longer.
        let log = relay.log();
        let waits = log.split("wait_s=").skip(1).filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
        let waits: Vec<f64> = waits.collect();
        assert!(waits.windows(2).all(|pair| pair[1] > 1.5 * pair[0]) && waits[0] > 1.5, "{waits:?}: {log}");
        network.namespace.free();
        assert_eq!(network.is_complete(&relay, DEADLINE), 0, "repeated");
        relay.wait_for_log("the API can be polled again");
        let warnings = relay.log().matches("the API cannot be polled").count();
        assert!((1..=2).contains(&warnings), "once for each reason: {}", relay.log());
        assert!(said.iter().any(|words| relay.log().contains(words)), "{}", relay.log());
        ends(relay);
    });
}

#[test]
fn the_way_to_a_receiver_fails() {
    side_by_side(&faults(), |Fault { strike, said }| {
        let Some(network) = Network::new() else { return };
        network.scene.add_past(3);
        let relay = in_a_hurry(network.setup()).start();
        network.is_complete(&relay, DEADLINE);
        network.namespace.free();
        // Both connections are still open.
        strike(&network, End::Receiver);
        (0..5).for_each(|_| drop(network.scene.add()));
        let warning = format!("{SINK_FAILS} sink.name=\"crm\"");
        // While the cable is out, no message comes.
        if said == &UNPLUGGED {
            relay.wait_for_log("the API cannot be polled");
        } else {
            relay.wait_for_log(&warning);
            relay.wait_for_log(NOTHING_GETS_THROUGH);
            is_said_once(&relay, &warning, said);
        }
        network.namespace.free();
        let again = network.is_complete(&relay, DEADLINE);
        println!("{again} repeats of 8 messages");
        ends(relay);
    });
}

/// A connection that is dead while the relay believes that it is open.
struct Dead {
    network: fn() -> Option<Network>,
    end: End,
    timeout: &'static str,
    said: &'static str,
}

#[test]
fn a_connection_that_died_silently_is_found_within_the_timeout() {
    const NO_ANSWER: &str = "no answer within 3s";
    const NO_PING: &str = "the connection is dead: the other side does not even confirm what it gets";
    let (http_1, http_2): (fn() -> _, fn() -> _) = (Network::new, Network::with_http2);
    let dead = |network, end, timeout, said| Dead { network, end, timeout, said };
    let cases = [
        ("API over HTTP/1.1", dead(http_1, End::Api, "3s", NO_ANSWER)),
        ("API over HTTP/2", dead(http_2, End::Api, "3s", NO_ANSWER)),
        ("patient API over HTTP/2", dead(http_2, End::Api, "30s", NO_PING)),
        ("receiver over HTTP/1.1", dead(http_1, End::Receiver, "3s", NO_ANSWER)),
        ("receiver over HTTP/2", dead(http_2, End::Receiver, "3s", NO_ANSWER)),
        ("patient receiver over HTTP/2", dead(http_2, End::Receiver, "30s", NO_PING)),
    ];
    side_by_side(&cases, |Dead { network, end, timeout, said }| {
        let Some(network) = network() else { return };
        let setup = in_a_hurry(network.setup()).set("API__TIMEOUT", timeout).set("SINKS__CRM__TIMEOUT", timeout);
        let relay = { setup }.start();
        network.scene.add();
        network.is_complete(&relay, DEADLINE);
        // A message shortly before keeps a connection open.
        network.scene.add();
        network.is_complete(&relay, DEADLINE);
        wait_until("a kept connection", || network.namespace.swallow_open(network.port(*end)) > 0, || relay.log());
        let said = match end {
            End::Api => format!("the API cannot be polled; trying again until it can kind=\"transport\" error={said}"),
            End::Receiver => {
                format!("{SINK_FAILS} sink.name=\"crm\" reason=\"{said}\"")
            }
        };
        network.scene.add();
        let is_said = || relay.log().contains(&said);
        let noticed = wait_within(DEADLINE, "what is said of it", is_said, || relay.log());
        // Only the old connection is dead, so the relay must open another connection.
        let arrived = || network.receiver.count() >= 3;
        let recovered = wait_within(DEADLINE, "the message", arrived, || relay.log());
        network.is_complete(&relay, DEADLINE);
        println!("{end:?}, {timeout}: noticed after {noticed:.1?}, delivered {recovered:.1?} later");
        ends(relay);
    });
}

#[test]
fn a_quarter_of_all_packets_is_lost() {
    let Some(network) = Network::new() else { return };
    network.scene.add_past(30);
    network.namespace.lose(25);
    let relay = network.setup().set("API__TIMEOUT", "5s").set("SINKS__CRM__TIMEOUT", "5s").start();
    wait_until("its first request", || network.api.accepted() > 0, || relay.log());
    (0..10).for_each(|_| drop(network.scene.add()));
    let again = network.is_complete(&relay, PATIENCE);
    println!("{again} repeats of 40 messages, {} segments sent again", network.namespace.sent_again());
    assert!(network.namespace.sent_again() > 0, "nothing was lost");
    network.namespace.free();
    network.scene.add();
    network.is_complete(&relay, PATIENCE);
    ends(relay);
}

#[test]
fn a_slow_link_is_waited_for() {
    let Some(network) = Network::new() else { return };
    network.scene.add_past(25);
    network.namespace.slow("64kbit");
    let relay = network.setup().set("POLL__INTERVAL", "2s").start();
    assert_eq!(network.is_complete(&relay, PATIENCE), 0, "repeated");
    network.namespace.free();
    network.scene.add();
    assert_eq!(network.is_complete(&relay, DEADLINE), 0, "repeated");
    assert!(!relay.log().contains("WARN"), "{}", relay.log());
    ends(relay);
}
