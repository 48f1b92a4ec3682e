//! Measures a network that fails, with the settings that users have: when the relay notices the fault, and when it
//! notices the end of the fault.

use joltsms_relay::delivery::log_sentences::{SINK_FAILS, SINK_WORKS_AGAIN};
use std::time::Duration;

use crate::support::machine::network_namespace::Direction;
use crate::support::scenarios::isolated_relay::{End, Network};
use crate::support::waiting::wait_within;

const LIMIT: Duration = Duration::from_secs(300);

/// How long the network is away.
const AWAY: Duration = Duration::from_secs(180);

const API: &str = "the API cannot be polled; trying again until it can";

pub(crate) fn measure() {
    dead_connections();
    away();
}

/// Measures one kept connection whose packets are swallowed, while new connections work.
fn dead_connections() {
    for (protocol, network) in [("HTTP/1.1", Network::new as fn() -> _), ("HTTP/2", Network::with_http2)] {
        for (end, said) in [(End::Api, API), (End::Receiver, SINK_FAILS)] {
            let Some(network) = network() else { return };
            let relay = as_users_have_it(&network).start();
            for _ in 0..2 {
                network.scene.add();
                network.is_complete(&relay, LIMIT);
            }
            let open = || network.namespace.swallow_open(network.port(end)) > 0;
            wait_within(LIMIT, "a kept connection", open, || relay.log());
            network.scene.add();
            let noticed = wait_within(LIMIT, "what is said of it", || relay.log().contains(said), || relay.log());
            let arrived = || network.receiver.count() >= 3;
            let delivered = wait_within(LIMIT, "the message", arrived, || relay.log());
            println!(
                "{end:?}, {protocol}: dead connection noticed after {noticed:.1?}, delivered {delivered:.1?} later"
            );
        }
    }
}

/// Measures a network that swallows all packets for minutes, while messages come.
fn away() {
    let Some(network) = Network::new() else { return };
    let mut relay = as_users_have_it(&network).start();
    network.scene.add();
    network.is_complete(&relay, LIMIT);
    network.namespace.swallow(network.api.port(), Direction::Both);
    let noticed = wait_within(LIMIT, "what is said of it", || relay.log().contains(API), || relay.log());
    println!("API swallowed: noticed after {noticed:.1?}");
    let asked = network.scene.handle().requests().len();
    for _ in 0..AWAY.as_secs() / 10 {
        network.scene.add();
        std::thread::park_timeout(Duration::from_secs(10));
    }
    assert_eq!(network.scene.handle().requests().len(), asked);
    network.namespace.free();
    let again = || relay.log().contains("the API can be polled again");
    let recovered = wait_within(LIMIT, "the API again", again, || relay.log());
    let repeats = network.is_complete(&relay, LIMIT);
    println!("API away for {AWAY:?}: polled again {recovered:.1?} after it was back; lost 0, repeats {repeats}");

    network.namespace.swallow(network.hooks.port(), Direction::Both);
    network.scene.add();
    let noticed = wait_within(LIMIT, "what is said of it", || relay.log().contains(SINK_FAILS), || relay.log());
    println!("receiver swallowed: noticed after {noticed:.1?}");
    let (connections, before) = (network.hooks.accepted(), network.receiver.count());
    for _ in 0..AWAY.as_secs() / 10 {
        network.scene.add();
        std::thread::park_timeout(Duration::from_secs(10));
    }
    assert_eq!((network.hooks.accepted(), network.receiver.count()), (connections, before));
    network.namespace.free();
    let again = || relay.log().contains(SINK_WORKS_AGAIN);
    let recovered = wait_within(LIMIT, "the receiver again", again, || relay.log());
    let repeats = network.is_complete(&relay, LIMIT);
    println!("receiver away for {AWAY:?}: works again {recovered:.1?} after it was back; lost 0, repeats {repeats}");
    relay.stop();
}

/// Returns a relay with the poll interval and the retry schedule that users have by default, instead of the tests'
/// short ones.
fn as_users_have_it(network: &Network) -> crate::support::relay::Setup {
    network
        .setup()
        .set("POLL__INTERVAL", "1s")
        .set("SINKS__CRM__RETRY__INITIAL", "5s")
        .set("SINKS__CRM__RETRY__FACTOR", "3")
}
