//! The server of NATS, whose stream drops repeats. A kill is a SIGKILL.

use std::path::Path;

use super::{Peer, try_kills};
use crate::support::servers::nats::{NatsServer, StreamMessage};

/// A stream of NATS, which drops repeats.
#[derive(Default)]
struct NatsPeer(Option<NatsServer>);

impl Peer for NatsPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let server = self.0.insert(NatsServer::start_with_stream(dir));
        format!("type = \"nats\"\nurl = \"{}\"\nsubject = \"sms.{{{{ message.to }}}}\"", server.url("nats", ""))
    }

    fn arrived(&self) -> Vec<String> {
        self.0.as_ref().unwrap().messages().iter().map(StreamMessage::id).collect()
    }

    fn kill_server(&mut self) -> bool {
        self.0.as_mut().unwrap().kill_and_start_again();
        true
    }

    fn repeats_of_a_kill(&self) -> usize {
        0
    }
}

#[test]
fn nats() {
    if NatsServer::is_installed() {
        try_kills("nats", 200, &mut NatsPeer::default());
    }
}
