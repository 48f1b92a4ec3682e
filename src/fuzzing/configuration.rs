//! Fuzzes the configuration: a file and an environment with any content.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::bytes::Bytes;
use crate::config::{Overrides, Sources, load, load_state};
use crate::secret::Environment;

/// This text is a part of the secret to which references in the configuration lead. No output may show it.
const MARKER: &str = "hunter2-7f3a";

/// A directory that only this process uses, in memory if possible.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = base.join(format!("joltsms-relay-fuzzing-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a directory");
        folder
    })
}

/// Reads a configuration. The input begins with lines, each of which ends with a zero byte. The first two lines become
/// parts of the secret. The lines after them are environment variables (`NAME=value`), up to a line without `=`. The
/// rest of the input is the configuration file. Neither warnings nor errors may contain control characters or the
/// secret.
pub fn configuration(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let secret = format!("{}{MARKER}{}", text(bytes.line()), text(bytes.line()));
    let home = folder().join(format!("{:?}", std::thread::current().id()));
    let directory = home.join(".config/joltsms-relay");
    fs::create_dir_all(&directory).expect("a directory");
    let mut env: Environment = [
        ("HOME".into(), home.clone().into()),
        ("CREDENTIALS_DIRECTORY".into(), directory.clone().into()),
        ("JOLTSMS_API_KEY".into(), "jolt_sk_0123456789abcdef0123456789abcdef".into()),
        ("X".into(), secret.clone().replace('\0', "").into()),
    ]
    .into();
    fs::write(directory.join("x"), &secret).expect("a file");
    loop {
        let line = text(bytes.line());
        let Some((name, value)) = line.split_once('=') else { break };
        // A value that does not come from a reference may be shown, so a line with the marker is left out.
        // `JOLTSMS_RELAY_CONFIG` is left out because it would name another file than the one from the input.
        if name.starts_with("JOLTSMS_") && name != "JOLTSMS_RELAY_CONFIG" && !line.contains(MARKER) {
            env.insert(name.into(), value.into());
        }
    }
    let file = bytes.rest();
    if file.windows(MARKER.len()).any(|part| part == MARKER.as_bytes()) {
        return;
    }
    fs::write(directory.join("config.toml"), file).expect("a file");
    let sources = Sources { env, flags: Overrides::default(), etc: home.join("etc") };
    let said = match load(&sources) {
        Ok(config) => {
            assert!(!config.sinks.is_empty() && !config.api.keys.is_empty(), "accepted without a sink or a key");
            let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
            // A host may be shown, because an operator must see which receiver is meant.
            let in_host = |url: &str| url.split('/').nth(2).is_some_and(|host| host.contains(MARKER));
            let debugged = format!("{:?} {:?}", config.api.keys, config.sinks);
            assert!(in_host(&secret) || !debugged.contains(MARKER), "{debugged}");
            warnings.join("\n")
        }
        Err(errors) => {
            assert!(!errors.problems().is_empty(), "refused without an error");
            let debugged = format!("{errors:?}");
            assert!(!debugged.contains(MARKER), "{debugged}");
            errors.to_string()
        }
    };
    assert!(!said.contains(MARKER), "{said}");
    assert!(!said.contains(|next: char| next.is_control() && next != '\n'), "{said:?}");
    drop(load_state(&sources));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
