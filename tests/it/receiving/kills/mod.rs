//! Kills the relay and its receivers while messages are sent, for each type of sinks: nothing is lost, and no more
//! messages are repeated than were in flight.
//!
//! A type of sinks needs a file here, with a [`Peer`] and a test that calls [`try_kills`]. `cargo test` tries few
//! messages. For 1,000 messages of each type, with a line for each type that says what was seen:
//!
//! ```sh
//! JOLTSMS_RELAY_KILL_MESSAGES=1000 cargo test --test it kills:: -- --nocapture --test-threads 1
//! ```

#[cfg(feature = "sink-amqp")]
mod amqp;
#[cfg(feature = "sink-exec")]
mod exec;
#[cfg(feature = "sink-file")]
mod file;
mod http_stub;
#[cfg(feature = "sink-kafka")]
mod kafka;
#[cfg(feature = "sink-mqtt")]
mod mqtt;
#[cfg(feature = "sink-nats")]
mod nats;
#[cfg(feature = "sink-postgres")]
mod postgres;
#[cfg(feature = "sink-smtp")]
mod smtp;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::support::scene::Scene;
use crate::support::waiting::wait_within;

/// The variable that says how many messages are sent.
const MESSAGES: &str = "JOLTSMS_RELAY_KILL_MESSAGES";

/// How often the relay is killed.
const RELAY_KILLS: usize = 10;

/// How often the server is killed, if there is one.
const SERVER_KILLS: usize = 5;

/// The most deliveries under way at once: the default of `concurrency`.
pub(super) const IN_FLIGHT: usize = 8;

/// The longest wait for one step of a trial. A server of the machine may need seconds to begin again.
const STEP: Duration = Duration::from_secs(120);

/// The receiving side of a type of sinks.
pub(super) trait Peer {
    /// Returns the keys of the sink, in TOML. `dir` is the directory of the test.
    fn keys(&mut self, dir: &Path) -> String;

    /// Returns further tables of the configuration, in TOML.
    fn further_tables(&self) -> String {
        String::new()
    }

    /// Returns the ids of the messages that arrived so far, in any order. A message that arrived twice is there twice.
    fn arrived(&self) -> Vec<String>;

    /// Kills the server and starts it again. Returns `false` if there is no server.
    fn kill_server(&mut self) -> bool {
        false
    }

    /// Returns the most messages that one kill may repeat.
    fn repeats_of_a_kill(&self) -> usize {
        IN_FLIGHT
    }
}

/// Sends messages to the peer, `usual` of them unless a variable asks for another number, and kills the relay and the
/// server again and again.
pub(super) fn try_kills(name: &str, usual: usize, peer: &mut dyn Peer) {
    let messages = std::env::var(MESSAGES).ok().map_or(usual, |count| count.parse().unwrap());
    let scene = Scene::new();
    scene.add_past(messages.try_into().unwrap());
    let keys = peer.keys(scene.dir());
    let retry = "retry = { initial = \"100ms\", max = \"1s\" }";
    let config = scene.file(&format!("[sinks.trial]\n{keys}\n{retry}\n{}", peer.further_tables()));
    let setup = scene.setup_from_beginning().env("PATH", "/usr/bin:/bin").env("TRIAL_TOKEN", "123:TRIAL");
    let mut setup = setup.args(&["--config", &config]);
    let mut relay = setup.start();
    let (mut relay_kills, mut server_kills, mut in_the_middle) = (0, 0, 0);
    let steps = RELAY_KILLS + SERVER_KILLS;
    for step in 1..=steps {
        let enough = messages * step / (steps + 1);
        wait_within(STEP, "some messages", || peer.arrived().len() >= enough, || relay.log());
        let is_server_s_turn = step.is_multiple_of(steps / SERVER_KILLS);
        if is_server_s_turn && peer.kill_server() {
            server_kills += 1;
        } else if relay_kills < RELAY_KILLS {
            relay.kill();
            relay = setup.start();
            relay_kills += 1;
        }
        in_the_middle = if peer.arrived().len() < messages { relay_kills + server_kills } else { in_the_middle };
    }
    let is_open = |log: &str| log.contains("first run on this state") || log.contains("resuming where the state left");
    wait_within(STEP, "the state", || is_open(&relay.log()), || relay.log());
    let delivered = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
    wait_within(STEP, "the deliveries", || usize::try_from(delivered()).unwrap() == messages, || relay.log());
    assert_eq!(relay.stop().code(), Some(0));
    let arrived = peer.arrived();
    let once: BTreeSet<&String> = arrived.iter().collect();
    let sent = scene.ids();
    assert_eq!(once, sent.iter().collect(), "lost");
    let (repeats, kills) = (arrived.len() - once.len(), relay_kills + server_kills);
    tell(&format!(
        "{name}: {messages} messages, {relay_kills} kills of the relay, {server_kills} of the server, {in_the_middle} of \
         them in the middle: 0 lost, {repeats} repeated"
    ));
    let most = kills * peer.repeats_of_a_kill();
    assert!(repeats <= most, "{repeats} repeats; at most {most} were in flight");
}

#[expect(clippy::print_stderr, reason = "the figures of a trial")]
fn tell(figures: &str) {
    eprintln!("{figures}");
}
