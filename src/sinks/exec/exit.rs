//! Decides what the end of a program means. Pure.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use crate::settings::show_duration;
use crate::sinks::Attempt;

/// How a run of a program ended.
#[derive(Debug)]
pub(super) enum RunEnd {
    /// The program could not be started.
    NotStarted(io::Error),
    /// The program ended.
    Ended {
        status: ExitStatus,
        /// How many bytes the program wrote to its standard error.
        written: u64,
    },
    /// The program did not end in time, and was killed with its process group.
    Killed,
}

/// Decides what the end of a program means. `reject`: the exit statuses that say that the program never wants this
/// message. `timeout`: the longest time that the program was allowed to run.
pub(super) fn attempt(end: RunEnd, reject: &[u16], timeout: Duration) -> Attempt {
    let failed = |answer: String| Attempt::Failed { status: None, retry_after: None, answer };
    match end {
        RunEnd::NotStarted(error) => failed(format!("the program cannot be started: {error}")),
        RunEnd::Killed => {
            let timeout = show_duration(timeout);
            failed(format!("no end within {timeout}: the program and its process group were killed"))
        }
        RunEnd::Ended { status, .. } if status.success() => Attempt::Accepted { status: None },
        RunEnd::Ended { status, written } => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "an unknown end".to_owned(),
            };
            let answer = match written {
                0 => how,
                1 => format!("{how}, 1 byte on standard error"),
                bytes => format!("{how}, {bytes} bytes on standard error"),
            };
            let is_rejected = status.code().is_some_and(|code| reject.iter().any(|reject| i32::from(*reject) == code));
            if is_rejected { Attempt::Rejected { status: None, answer } } else { failed(answer) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_end_of_a_program_means() {
        let failed = |answer: &str| Attempt::Failed { status: None, retry_after: None, answer: answer.to_owned() };
        let rejected = |answer: &str| Attempt::Rejected { status: None, answer: answer.to_owned() };
        for (raw, written, expected) in [
            (0, 0, Attempt::Accepted { status: None }),
            (0, 9, Attempt::Accepted { status: None }),
            (1 << 8, 0, failed("exit status 1")),
            (75 << 8, 1, failed("exit status 75, 1 byte on standard error")),
            (65 << 8, 0, rejected("exit status 65")),
            (66 << 8, 20, rejected("exit status 66, 20 bytes on standard error")),
            (127 << 8, 0, failed("exit status 127")),
            (9, 0, failed("killed by signal 9")),
            (65, 0, failed("killed by signal 65")),
        ] {
            let end = RunEnd::Ended { status: ExitStatus::from_raw(raw), written };
            assert_eq!(attempt(end, &[65, 66], Duration::from_secs(20)), expected, "{raw}");
        }
        assert_eq!(
            attempt(RunEnd::Killed, &[], Duration::from_secs(20)),
            failed("no end within 20s: the program and its process group were killed")
        );
        let Attempt::Failed { answer, .. } =
            attempt(RunEnd::NotStarted(io::ErrorKind::PermissionDenied.into()), &[], Duration::ZERO)
        else {
            panic!()
        };
        assert_eq!(answer, "the program cannot be started: permission denied");
    }
}
