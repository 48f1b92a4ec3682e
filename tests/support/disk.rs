//! Disks that fail: small file systems, and system calls that come back with an error.
//!
//! Both need root, the second strace. Where they cannot be had the test says so and ends, except under `CI=true`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::needs::skip;
use super::relay::{Relay, wait_until};

/// A file system of the test's own; it ends with this.
#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
}

/// System calls of a relay that fail for as long as this lives.
#[derive(Debug)]
pub(crate) struct Faults {
    strace: Child,
}

impl Disk {
    /// A file system in memory below `at`, with options such as `size=8m`.
    pub(crate) fn mount(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("mode=0700,{options}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "joltsms-test"]).arg(at), "a mount")?;
        Some(Self { at: at.to_owned() })
    }

    /// Mounts it again, with other options.
    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.at), "a remount").unwrap();
    }

    /// Fills it up, but for `left` bytes.
    pub(crate) fn fill(&self, left: usize) {
        let mut ballast = fs::File::create(self.at.join("ballast")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![b'x'; size]).is_ok() {}
        }
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length.saturating_sub(u64::try_from(left).unwrap())).unwrap();
    }

    /// Fills it up with files, so that no other can be made.
    pub(crate) fn fill_with_files(&self) {
        fs::create_dir(self.at.join("files")).unwrap();
        let mut number = 0;
        while fs::File::create(self.at.join(format!("files/{number}"))).is_ok() {
            number += 1;
        }
    }

    /// Removes what it was filled with.
    pub(crate) fn free(&self) {
        drop(fs::remove_file(self.at.join("ballast")));
        drop(fs::remove_dir_all(self.at.join("files")));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

impl Faults {
    /// From now on these calls of the relay, on these files, fail with this error, such as `EIO`.
    pub(crate) fn begin(relay: &Relay, calls: &str, files: &[PathBuf], error: &str) -> Option<Self> {
        Self::inject(relay, calls, files, &format!("error={error}"))
    }

    /// From now on these calls of the relay, on these files, do not return for ten minutes.
    pub(crate) fn hang(relay: &Relay, calls: &str, files: &[PathBuf]) -> Option<Self> {
        Self::inject(relay, calls, files, "delay_enter=600000000")
    }

    fn inject(relay: &Relay, calls: &str, files: &[PathBuf], fault: &str) -> Option<Self> {
        if !has_strace() {
            return None;
        }
        let id = relay.id();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{fault}"), "-p", &id.to_string()]);
        for file in files {
            command.arg("-P").arg(file);
        }
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let faults = Self { strace };
        let traced = || {
            let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
            let mut statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
            statuses.all(|status| status.is_ok_and(|status| !status.contains("TracerPid:\t0\n")))
        };
        wait_until("strace", traced, || relay.log());
        Some(faults)
    }

    /// The relay goes on undisturbed.
    pub(crate) fn end(mut self) {
        let asked = Command::new("kill").args(["-s", "INT", &self.strace.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.strace.wait().unwrap();
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

/// What goes before a program for its calls on these files to fail; `None` without strace.
pub(crate) fn failing(calls: &str, files: &[PathBuf], error: &str) -> Option<Vec<String>> {
    if !has_strace() {
        return None;
    }
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned).to_vec();
    words.extend(["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={calls}:error={error}")]);
    for file in files {
        words.extend(["-P".to_owned(), file.display().to_string()]);
    }
    Some(words)
}

/// What goes before a program for it to run as another user; `None` if that cannot be.
pub(crate) fn as_nobody() -> Option<Vec<String>> {
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    run(Command::new(words[0]).args(&words[1..]).arg("true"), "another user")?;
    Some(words.map(str::to_owned).to_vec())
}

fn has_strace() -> bool {
    run(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]), "strace").is_some()
}

fn run(command: &mut Command, what: &str) -> Option<()> {
    let output = command.stdin(Stdio::null()).output();
    let why = match output {
        Ok(output) if output.status.success() => return Some(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    skip(&format!("{what} cannot be had here: {why}"));
    None
}
