//! What the tests of sinks share that keep a connection to a server.

use crate::support::relay::Relay;
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::waiting::wait_until;

/// Prepares a relay whose only sink is `[sinks.trial]`, with these keys in TOML, and which tries again soon.
pub(super) fn relay_with(scene: &Scene, keys: &str) -> Setup {
    relay_with_sink(scene, "trial", keys)
}

/// Prepares a relay as [`relay_with`] does, whose sink has this name.
pub(super) fn relay_with_sink(scene: &Scene, name: &str, keys: &str) -> Setup {
    let text = format!("[sinks.{name}]\n{keys}\nretry = {{ initial = \"100ms\", max = \"1s\" }}\n");
    let config = scene.file(&text);
    scene.setup_from_beginning().args(&["--config", &config])
}

/// Waits until this many messages are delivered.
pub(super) fn wait_until_delivered(scene: &Scene, count: i64, relay: &Relay) {
    let is_open = |log: &str| log.contains("first run on this state") || log.contains("resuming where the state left");
    wait_until("the state", || is_open(&relay.log()), || relay.log());
    let delivered = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
    wait_until("the deliveries", || delivered() == count, || relay.log());
}
