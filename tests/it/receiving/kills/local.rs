//! Peers without a server that could be killed: a file, a program, and the fallback of a sink that rejects everything.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Peer;
use crate::support::servers::receiver::{Receiver, Reply};

/// The file of a sink of type `file`.
#[derive(Default)]
pub(super) struct FilePeer(PathBuf);

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

/// The program of a sink of type `exec`, which writes the ids of its messages into a file.
#[derive(Default)]
pub(super) struct ExecPeer(PathBuf);

impl Peer for ExecPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let program = dir.join("on-sms");
        self.0 = dir.join("ids");
        let script = "cat > /dev/null; echo \"$JOLTSMS_MESSAGE_ID\" >> \"$IDS\"";
        fs::write(&program, format!("#!/bin/sh\nIDS='{}'\n{script}\n", self.0.display())).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        format!("type = \"exec\"\ncommand = [\"{}\"]\nconcurrency = 4", program.display())
    }

    fn arrived(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn repeats_of_a_kill(&self) -> usize {
        4
    }
}

/// The file of a sink of type `file` that gets only what an http sink hands over.
pub(super) struct FallbackPeer {
    rejecting: Receiver,
    file: FilePeer,
}

impl FallbackPeer {
    pub(super) fn new() -> Self {
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
