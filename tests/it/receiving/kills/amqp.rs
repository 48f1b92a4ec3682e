//! The broker RabbitMQ. A kill is a SIGKILL.

use std::path::Path;

use super::{Peer, try_kills};
use crate::support::servers::rabbitmq::RabbitMq;

/// A queue of RabbitMQ.
#[derive(Default)]
struct AmqpPeer(Option<RabbitMq>);

impl Peer for AmqpPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let broker = self.0.insert(RabbitMq::start(dir));
        broker.channel().make_queue("sms", &[]);
        let url = broker.url("", "");
        format!("type = \"amqp\"\nurl = \"{url}\"\nexchange = \"sms\"\nrouting_key = \"{{{{ message.to }}}}\"")
    }

    fn arrived(&self) -> Vec<String> {
        self.0.as_ref().unwrap().messages("sms").into_iter().map(|message| message.id).collect()
    }

    fn kill_server(&mut self) -> bool {
        self.0.as_mut().unwrap().kill_and_start_again();
        true
    }
}

#[test]
fn amqp() {
    if RabbitMq::is_installed() {
        try_kills("amqp", 200, &mut AmqpPeer::default());
    }
}
