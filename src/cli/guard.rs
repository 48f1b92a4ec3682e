//! What a process that holds keys and codes does before anything else.
//!
//! - Whatever it writes, files of the log and of SQLite included, only its own user may read: umask 077.
//! - No core file: it would hold the keys. `PR_SET_DUMPABLE` is left alone, since it would also take `/proc/PID/fd`,
//!   `strace` and `gdb` from the operator, and whoever may use those on us may read the key where we read it.
//! - A panic tells where it happened. Its text is told only where it was written in the source: one that was put together
//!   may quote what could not be handled.

use std::any::Any;
use std::io::Write as _;
use std::panic::PanicHookInfo;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

/// Sets this up for the whole process.
pub(super) fn set_up() {
    umask(Mode::RWXG | Mode::RWXO);
    // Lowering it is always allowed; where it were not, there would be nobody to tell yet.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).ok();
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let what = written_out(panic.payload()).unwrap_or("(not shown: it may quote a message)");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, what, "a part of the program failed in a way that it should not: please report it");
    } else {
        // Nobody may be listening.
        drop(writeln!(std::io::stderr(), "joltsms-relay: internal error, please report it: {place}: {what}"));
    }
}

/// The text of a panic, if it stands in the source as it is.
fn written_out(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_panic_repeats_nothing_that_it_was_given() {
        let code = String::from("my code is é 123456");
        let texts = [
            (catch_unwind(|| drop(code[..12].to_owned())), None),
            (catch_unwind(|| assert_eq!("é123456".parse::<u8>().unwrap(), 1)), None),
            (catch_unwind(|| panic!("{code}")), None),
            (catch_unwind(|| panic!("an empty list")), Some("an empty list")),
        ];
        for (caught, expected) in texts {
            assert_eq!(written_out(&*caught.unwrap_err()), expected);
        }
    }
}
