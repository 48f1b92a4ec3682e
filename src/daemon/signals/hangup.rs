//! Decides what SIGHUP means. A service manager sends SIGHUP to ask for a reload. The kernel sends SIGHUP when the
//! terminal of the process is closed.

use std::fs::{self, File};
use std::io::{IsTerminal as _, stderr, stdin, stdout};

/// The circumstances at the start that decide what SIGHUP means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether there is a configuration file, which could be read again.
    pub has_file: bool,
    /// Whether messages go to a terminal on stdout, and nowhere else.
    pub only_terminal: bool,
    /// Whether the process was started with SIGHUP ignored, for example by `nohup`.
    pub shielded: bool,
}

/// What the relay does at SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The relay ends.
    End,
    /// The relay should read the configuration again.
    Reload,
    /// A terminal was closed, and the relay goes on without the terminal.
    TerminalGone,
    /// The relay does nothing.
    Nothing,
}

impl Surroundings {
    /// Decides what SIGHUP means. `terminal_gone` says whether a terminal that the process had at its start is closed
    /// now.
    pub(super) fn hangup(self, terminal_gone: bool) -> Meaning {
        let Self { has_file, only_terminal, shielded } = self;
        match (terminal_gone, has_file, shielded) {
            (true, ..) if only_terminal => Meaning::End,
            (true, true, _) | (true, false, true) => Meaning::TerminalGone,
            (false, true, _) => Meaning::Reload,
            (false, false, true) => Meaning::Nothing,
            (_, false, false) => Meaning::End,
        }
    }
}

/// Whether this process was started with SIGHUP ignored. The result is always `false` if there is no `/proc`.
pub fn ignores_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, 1)
}

/// Whether `/proc/PID/status` says that `signal` is ignored: bit `signal - 1` of the hexadecimal number after
/// `SigIgn:`.
fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The terminals that this process had at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terminals {
    /// Whether standard input, output and error were terminals, and whether there was a controlling terminal.
    streams: [bool; 4],
}

impl Terminals {
    pub(super) fn now() -> Self {
        let controlling = File::open("/dev/tty").is_ok();
        Self { streams: [stdin().is_terminal(), stdout().is_terminal(), stderr().is_terminal(), controlling] }
    }

    /// Whether a terminal that the process had at its start is closed now. The kernel closes a terminal before it sends
    /// SIGHUP.
    pub(super) fn are_gone(self) -> bool {
        let now = Self::now();
        self.streams.into_iter().zip(now.streams).any(|(before, now)| before && !now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hangup_means() {
        use Meaning::{End, Nothing, Reload, TerminalGone};
        let of = |has_file, only_terminal, shielded| Surroundings { has_file, only_terminal, shielded };
        for (surroundings, with_terminal, without) in [
            (of(false, false, false), End, End),
            (of(false, true, false), End, End),
            (of(true, false, false), Reload, TerminalGone),
            (of(true, true, false), Reload, End),
            (of(false, false, true), Nothing, TerminalGone),
            (of(false, true, true), Nothing, End),
            (of(true, false, true), Reload, TerminalGone),
            (of(true, true, true), Reload, End),
        ] {
            let meanings = (surroundings.hangup(false), surroundings.hangup(true));
            assert_eq!(meanings, (with_terminal, without), "{surroundings:?}");
        }
    }

    #[test]
    fn signals_that_are_ignored_are_read_from_a_mask() {
        let status = "Name:\trelay\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert!(ignores(status, 1) && ignores(status, 13));
        assert!(!ignores(status, 2) && !ignores("", 1) && !ignores("SigIgn:\tx", 1));
    }
}
