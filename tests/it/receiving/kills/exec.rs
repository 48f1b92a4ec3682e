//! The program of a sink of type `exec`, which has no server that could be killed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Peer, try_kills};

/// The program of a sink of type `exec`, which writes the ids of its messages into a file.
#[derive(Default)]
struct ExecPeer(PathBuf);

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

#[test]
fn exec() {
    try_kills("exec", 200, &mut ExecPeer::default());
}
