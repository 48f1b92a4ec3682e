//! The broker mosquitto with a subscriber. A kill is a SIGKILL.

use std::path::Path;

use super::{Peer, try_kills};
use crate::support::servers::mosquitto::Mosquitto;

/// An MQTT broker with a subscriber.
#[derive(Default)]
struct MqttPeer(Option<Mosquitto>);

impl Peer for MqttPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let mut broker = Mosquitto::start(dir, "allow_anonymous true");
        broker.subscribe();
        let keys = format!("type = \"mqtt\"\nurl = \"{}\"\ntopic = \"sms/{{{{ message.to }}}}\"", broker.url());
        self.0 = Some(broker);
        keys
    }

    fn arrived(&self) -> Vec<String> {
        let received = self.0.as_ref().unwrap().received();
        let id = |properties: String| properties.strip_prefix("webhook-id:").unwrap().to_owned();
        received.into_iter().map(|(_, properties, _)| id(properties)).collect()
    }

    fn kill_server(&mut self) -> bool {
        let broker = self.0.as_mut().unwrap();
        broker.kill();
        broker.start_again();
        true
    }
}

#[test]
fn mqtt() {
    if Mosquitto::is_installed() {
        try_kills("mqtt", 200, &mut MqttPeer::default());
    }
}
