//! What the commands share that work on the state alone. No secret is read for them, and no relay need run.

use std::path::PathBuf;

use super::exit::Exit;
use super::flags::Flags;
use super::relay::{complain, store_exit};
use crate::config::{self, Sources};
use crate::store::{Error, Look, Spool};
use crate::time::Clock;

/// Where the state is, by the configuration.
pub(super) fn directory(flags: &Flags) -> Result<PathBuf, Exit> {
    match config::load_state(&Sources::from_process(flags.overrides())) {
        Ok(state) => Ok(state.options.dir),
        Err(errors) => Err(complain(Exit::Configuration, &errors)),
    }
}

/// The state, to look at.
pub(super) fn look(flags: &Flags) -> Result<Look, Exit> {
    let dir = directory(flags)?;
    opened(Look::at(&dir), &dir)
}

/// The state, for small changes.
pub(super) fn open(flags: &Flags) -> Result<Spool, Exit> {
    let dir = directory(flags)?;
    opened(Spool::open_beside(&dir), &dir)
}

/// Tells the relay's time, by what a relay left in the state. What this machine's clock says may be something else.
pub(super) fn relay_clock(spool: &Spool) -> Result<Clock, Exit> {
    let (left, runs) = spool.clock_beside().map_err(|error| fails(&error))?;
    let clock = Clock::system();
    clock.reckon(left, runs);
    Ok(clock)
}

fn opened<T>(opened: Result<Option<T>, Error>, dir: &std::path::Path) -> Result<T, Exit> {
    match opened {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(complain(Exit::Failure, &Absent(dir))),
        Err(error) => Err(fails(&error)),
    }
}

/// Says what the store says.
pub(super) fn fails(error: &Error) -> Exit {
    complain(store_exit(error), error)
}

/// No relay has run there.
pub(super) struct Absent<'d>(pub(super) &'d std::path::Path);

impl std::fmt::Display for Absent<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "there is no state in {}: no relay has run on it yet (--state-dir names another)", self.0.display())
    }
}
