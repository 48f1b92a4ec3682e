//! Tests of host names that cannot be resolved. The log reports the failure, nothing is lost, and the relay recovers
//! without a restart. The relay runs in a network namespace whose name server belongs to the test.

use joltsms_relay::delivery::log_sentences::{SINK_FAILS, SINK_WORKS_AGAIN};

use crate::support::cases::side_by_side;
use crate::support::relay::{Relay, Setup};
use crate::support::scenarios::isolated_relay::Network;
use crate::support::scene::ends_with_nothing_more;
use crate::support::servers::name_server::{NameServer, Say};
use crate::support::servers::reverse_proxy::Manner;
use crate::support::waiting::{DEADLINE, wait_until};

/// Returns a relay that soon gives up attempts to connect.
fn setup(network: &Network, api: Option<&str>, hooks: Option<&str>) -> Setup {
    network.setup_named(api, hooks).set("API__CONNECT_TIMEOUT", "2s").set("SINKS__CRM__CONNECT_TIMEOUT", "2s")
}

/// Checks that every message has arrived once.
fn is_complete(network: &Network, relay: &Relay) {
    assert_eq!(network.is_complete(relay, DEADLINE), 0, "repeated; the log:\n{}", relay.log());
}

struct Case {
    say: Say,
    said: &'static str,
}

fn cases() -> [(&'static str, Case); 4] {
    [
        (
            "no such name",
            Case { say: Say::NoSuchName, said: "cannot resolve the host name: Name or service not known" },
        ),
        (
            "the name server fails",
            Case { say: Say::Failure, said: "cannot resolve the host name: Temporary failure in name resolution" },
        ),
        ("no answer", Case { say: Say::Silence, said: "cannot resolve the host name: no name server answers" }),
        ("garbage", Case { say: Say::Garbage, said: "cannot resolve the host name: no name server answers" }),
    ]
}

#[test]
fn the_api_s_name_is_asked_for_again_until_it_is_known() {
    side_by_side(&cases(), |Case { say, said }| {
        let Some(network) = Network::new() else { return };
        let names = NameServer::start(network.namespace.host(), *say);
        network.namespace.resolve_at(&[network.namespace.host()], "");
        network.scene.add_past(3);
        let mut relay = setup(&network, Some("api.test"), None).start();
        relay.wait_for_log(&format!(
            "the API cannot be polled; trying again until it can kind=\"transport\" error={said}"
        ));
        let known = Say::Address(network.namespace.host());
        names.set(known);
        relay.wait_for_log("the API can be polled again");
        is_complete(&network, &relay);
        // The relay needs the name once more while it runs, since the open connection ends.
        names.set(*say);
        network.api.set(Manner::Pass);
        relay.wait_for_log_times(said, 2);
        network.scene.add();
        names.set(known);
        relay.wait_for_log_times("the API can be polled again", 2);
        is_complete(&network, &relay);
        let warnings = relay.log().matches("WARN").count();
        // The end of the open connection may cause a second warning.
        assert!((2..=3).contains(&warnings), "said once each: {}", relay.log());
        assert_eq!(relay.log().matches(said).count(), 2, "{}", relay.log());
        assert_eq!(relay.stop().code(), Some(0));
    });
}

#[test]
fn a_receiver_s_name_is_asked_for_again_until_it_is_known() {
    side_by_side(&cases(), |Case { say, said }| {
        let Some(network) = Network::new() else { return };
        let names = NameServer::start(network.namespace.host(), *say);
        network.namespace.resolve_at(&[network.namespace.host()], "");
        network.scene.add_past(3);
        let mut relay = setup(&network, None, Some("hooks.test")).start();
        relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"crm\" reason=\"{said}\""));
        names.set(Say::Address(network.namespace.host()));
        relay.wait_for_log(&format!("{SINK_WORKS_AGAIN} sink.name=\"crm\""));
        is_complete(&network, &relay);
        assert_eq!(relay.log().matches("WARN").count(), 1, "said once: {}", relay.log());
        assert_eq!(relay.stop().code(), Some(0));
    });
}

/// The system's resolver asks the second server after five seconds, which is longer than the relay gives an attempt to
/// connect.
#[test]
fn a_dead_first_name_server_makes_it_slow_and_not_deaf() {
    let Some(network) = Network::new() else { return };
    let dead = network.namespace.other_host();
    let _silent = NameServer::start(dead, Say::Silence);
    let _names = NameServer::start(network.namespace.host(), Say::Address(network.namespace.host()));
    network.namespace.resolve_at(&[dead, network.namespace.host()], "");
    network.scene.add_past(3);
    let mut relay = setup(&network, Some("api.test"), Some("hooks.test")).start();
    is_complete(&network, &relay);
    relay.wait_for_log("cannot resolve the host name: no name server answers");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_stop_does_not_wait_for_a_name_server() {
    let Some(network) = Network::new() else { return };
    let names = NameServer::start(network.namespace.host(), Say::Silence);
    // A lookup of one name takes two minutes, which is longer than any test waits.
    network.namespace.resolve_at(&[network.namespace.host()], "options timeout:30 attempts:4");
    let relay = setup(&network, Some("api.test"), None).start();
    wait_until("a question", || names.asked() > 0, || relay.log());
    ends_with_nothing_more(relay);
}
