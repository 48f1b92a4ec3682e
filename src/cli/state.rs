//! What the commands share that work on the state alone. No secret is read for them, and no relay need run.

use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::flags::Flags;
use super::relay::{complain, store_exit};
use crate::config::{self, Sources};
use crate::store::{self, Error, Spool};
use crate::time::Clock;

/// Where the state is, by the configuration.
pub(super) fn directory(flags: &Flags) -> Result<PathBuf, Exit> {
    match config::load_state(&Sources::from_process(flags.overrides())) {
        Ok(state) => Ok(state.options.dir),
        Err(errors) => Err(complain(Exit::Configuration, &errors)),
    }
}

/// Looks at the state, for as long as `read` takes: whatever is to be said is said afterwards. A command that writes to
/// somebody who does not read would otherwise keep SQLite's journal from being emptied, and a relay from starting.
pub(super) fn look<T>(dir: &Path, read: impl FnOnce(&Spool) -> Result<T, CommandRefusal>) -> Result<T, Exit> {
    let done = match store::open_snapshot(dir) {
        Ok(Some(snapshot)) => read(&*snapshot.spool),
        Ok(None) => Err(CommandRefusal { exit: Exit::Failure, said: Absent(dir).to_string() }),
        Err(error) => Err(error.into()),
    };
    done.map_err(CommandRefusal::say)
}

/// How a command ends that cannot do what it was told, and what it says then.
pub(super) struct CommandRefusal {
    pub(super) exit: Exit,
    pub(super) said: String,
}

impl CommandRefusal {
    /// Not while the state is open for reading.
    pub(super) fn say(self) -> Exit {
        complain(self.exit, &self.said)
    }
}

impl From<Error> for CommandRefusal {
    fn from(error: Error) -> Self {
        Self { exit: store_exit(&error), said: error.to_string() }
    }
}

/// The state, for small changes.
pub(super) fn open(flags: &Flags) -> Result<Box<Spool>, Exit> {
    let dir = directory(flags)?;
    match store::open_beside(&dir) {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(complain(Exit::Failure, &Absent(&dir))),
        Err(error) => Err(fails(&error)),
    }
}

/// Tells the relay's time, by what a relay left in the state. What this machine's clock says may be something else.
pub(super) fn relay_clock(spool: &Spool) -> Result<Clock, Error> {
    let (left, runs) = spool.clock_beside()?;
    let clock = Clock::system();
    clock.reckon(left, runs);
    Ok(clock)
}

/// Says what the store says.
pub(super) fn fails(error: &Error) -> Exit {
    complain(store_exit(error), error)
}

/// No relay has run there.
pub(super) struct Absent<'d>(pub(super) &'d Path);

impl std::fmt::Display for Absent<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "there is no state in {}: no relay has run on it yet (--state-dir names another)", self.0.display())
    }
}
