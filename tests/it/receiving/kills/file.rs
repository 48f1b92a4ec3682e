//! The file of a sink of type `file`, which has no server that could be killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Peer, try_kills};
use crate::support::servers::receiver::{Receiver, Reply};

/// The file of a sink of type `file`.
#[derive(Default)]
struct FilePeer(PathBuf);

impl Peer for FilePeer {
    fn keys(&mut self, dir: &Path) -> String {
        self.0 = dir.join("sms.jsonl");
        format!("type = \"file\"\npath = \"{}\"", self.0.display())
    }

    fn arrived(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        // A line that a kill has torn is no message.
        let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        whole.map(|message| message["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The file of a sink of type `file` that gets only what an http sink hands over.
struct FallbackPeer {
    rejecting: Receiver,
    file: FilePeer,
}

impl FallbackPeer {
    fn new() -> Self {
        let rejecting = Receiver::in_background();
        rejecting.reply(|_| Reply { delay: Duration::from_millis(20), ..Reply::status(422) });
        Self { rejecting, file: FilePeer::default() }
    }
}

impl Peer for FallbackPeer {
    fn keys(&mut self, dir: &Path) -> String {
        self.file.0 = dir.join("sms.jsonl");
        format!("type = \"http\"\nurl = \"{}\"\nreject_status = [422]\nfallback = \"ops\"", self.rejecting.url())
    }

    fn further_tables(&self) -> String {
        let path = self.file.0.display();
        format!("[sinks.ops]\ntype = \"file\"\npath = \"{path}\"\nfilter = {{ from = \"nobody\" }}\n")
    }

    fn arrived(&self) -> Vec<String> {
        self.file.arrived()
    }
}

#[test]
fn file() {
    try_kills("file", 1000, &mut FilePeer::default());
}

#[test]
fn fallback() {
    try_kills("fallback", 200, &mut FallbackPeer::new());
}
