//! The exit codes that docs/commands.md promises.

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command is done, or the relay was stopped as asked.
    Done,
    /// The command failed.
    Failure,
    /// The command line is invalid.
    Usage,
    /// The state is damaged, or was written by a newer version.
    Damaged,
    /// The command may succeed later: the state is in use, or work is left.
    Temporary,
    /// No API key is accepted.
    NoKey,
    /// The configuration is invalid.
    Configuration,
    /// `wait` has found no matching message in time.
    TimedOut,
    /// SIGINT ended a one-shot command.
    Interrupted,
    /// SIGTERM ended a one-shot command.
    Terminated,
}

impl Exit {
    /// Returns the exit code. The code is from `sysexits.h` if that header has a code for the case.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Damaged => 65,
            Self::Temporary => 75,
            Self::NoKey => 77,
            Self::Configuration => 78,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
