//! A mail server. A kill is a SIGKILL.

use std::path::Path;

use super::{Peer, try_kills};
use crate::support::servers::smtp::MailServer;

/// A mail server.
#[derive(Default)]
struct MailPeer(Option<MailServer>);

impl Peer for MailPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let server = self.0.insert(MailServer::start(dir, &[]));
        let address = server.address();
        format!("type = \"smtp\"\nurl = \"smtp://{address}\"\nfrom = \"sms@example.com\"\nto = \"ops@example.com\"")
    }

    fn arrived(&self) -> Vec<String> {
        let id = |mail: serde_json::Value| {
            let id = mail["id"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
            id.strip_suffix("@example.com").unwrap().to_owned()
        };
        self.0.as_ref().unwrap().received().into_iter().map(id).collect()
    }

    fn kill_server(&mut self) -> bool {
        let server = self.0.as_mut().unwrap();
        server.kill();
        server.start_again();
        true
    }
}

#[test]
fn smtp() {
    if MailServer::is_installed() {
        try_kills("smtp", 200, &mut MailPeer::default());
    }
}
