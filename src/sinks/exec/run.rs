//! Runs a program in a process group of its own.
//!
//! Invariants: the program is always reaped. If a run is given up before the program has ended, no process of the group
//! is left behind.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{FusedFuture as _, join};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::exit::RunEnd;
use crate::files;

/// After the program has ended, the rest of its standard error is read for at most this time. The relay does not wait
/// for the end of the standard error, because a process that the program left behind may keep it open for ever.
const REST_OF_OUTPUT: Duration = Duration::from_millis(200);

/// The longest time that the relay waits for the end of a program that it has killed. A program that waits for a disk
/// may end only later. In that case the relay goes on, and tokio reaps the program later.
const KILLED: Duration = Duration::from_secs(1);

/// The most programs of a sink that are being started at the same time. If the program is on a disk that hangs, each
/// start keeps a thread, and the relay has threads for a few hundred such starts.
pub(super) const MOST_STARTS: usize = 8;

/// Runs the program to its end, for `limit` at most. `starts` has a permit for each program that may be started at the
/// same time. The program gets `input` on its standard input. `command` must
/// have pipes for standard input and standard error, and a process group of its own.
pub(super) async fn run(mut command: Command, input: &[u8], limit: Duration, starts: &Semaphore) -> RunEnd {
    let permit = starts.acquire().await;
    // The call returns only when the system has loaded the program. This may take long if the program is on a disk that
    // hangs.
    let mut child = match files::aside(|| command.spawn()) {
        Ok(child) => child,
        Err(error) => return RunEnd::NotStarted(error),
    };
    drop(permit);
    let mut group = ProcessGroup::led_by(child.id());
    let mut written = 0;
    let feeding = feed(child.stdin.take(), input);
    let draining = drain(child.stderr.take(), &mut written);
    let mut streams = Box::pin(join(feeding, draining).fuse());
    let to_the_end = async {
        loop {
            tokio::select! {
                status = child.wait() => return status,
                // The program may close its streams and go on. So this is not the end: the loop still waits for the end
                // of the program.
                _ = &mut streams, if !streams.is_terminated() => {}
            }
        }
    };
    let ended = timeout(limit, to_the_end).await;
    match ended {
        Ok(Ok(status)) => {
            group.disband();
            if !streams.is_terminated() {
                timeout(REST_OF_OUTPUT, &mut streams).await.ok();
            }
            drop(streams);
            RunEnd::Ended { status, written }
        }
        Ok(Err(error)) => RunEnd::NotStarted(error),
        Err(_) => {
            group.kill();
            timeout(KILLED, child.wait()).await.ok();
            RunEnd::Killed
        }
    }
}

/// Writes the input. A program may close its input without reading all of it. This is no error.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        stdin.write_all(input).await.ok();
    }
}

/// Reads the standard error to its end, throws it away, and counts its bytes.
async fn drain(stderr: Option<ChildStderr>, written: &mut u64) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        *written = written.saturating_add(u64::try_from(read).unwrap_or(0));
    }
}

/// The process group of a program. It is killed when this value is dropped, unless the program has ended.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn led_by(id: Option<u32>) -> Self {
        Self(id.and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    /// Lets `kill` do nothing from now on. The program was reaped, so its id, which is also the id of the group, may
    /// soon belong to another program. The price is that processes which the program left behind are not killed.
    fn disband(&mut self) {
        self.0 = None;
    }

    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // The group may have ended by itself.
            kill_process_group(leader, Signal::KILL).ok();
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[tokio::test]
    async fn a_program_is_started_only_with_a_permit() {
        let starts = Semaphore::new(0);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]).stdin(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let running = run(command, b"", Duration::from_secs(60), &starts);
        tokio::pin!(running);
        assert!(futures_util::poll!(&mut running).is_pending());
        starts.add_permits(1);
        assert!(matches!(running.await, RunEnd::Ended { .. }));
        assert_eq!(starts.available_permits(), 1);
    }
}
