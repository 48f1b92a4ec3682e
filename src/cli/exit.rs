//! Exit codes, as the README promises them.

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or stopped as asked.
    Done,
    /// Something failed.
    Failure,
    /// The command line makes no sense.
    Usage,
    /// The state is damaged, or written by a newer version.
    Damaged,
    /// It may work later: the state is in use, or work is left.
    Temporary,
    /// No API key is accepted.
    NoKey,
    /// The configuration is invalid.
    Configuration,
    /// SIGINT ended a one-shot command.
    Interrupted,
    /// SIGTERM ended a one-shot command.
    Terminated,
}

impl Exit {
    /// The number, after `sysexits.h` where it has one.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Damaged => 65,
            Self::Temporary => 75,
            Self::NoKey => 77,
            Self::Configuration => 78,
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
