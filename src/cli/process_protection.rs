//! Protects the process and its files before the process reads any key or code.
//!
//! - The umask is 077: only the process's own user may read the files that the process makes, including the files of
//!   the log and of SQLite.
//! - There are no core files, because a core file would contain the keys. But the process stays dumpable
//!   (`PR_SET_DUMPABLE`). Otherwise the operator could not use `/proc/PID/fd`, `strace` and `gdb` on the relay, and
//!   nothing would be gained: a user who may use these tools may also read the key at its source.
//! - A panic prints its place in the source. The text of a panic is printed only if it is a constant in the source
//!   code, because a formatted text may quote the value that could not be handled.

use std::any::Any;
use std::io::Write as _;
use std::panic::PanicHookInfo;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

/// Sets up the protection for the whole process.
pub(super) fn set_up() {
    umask(Mode::RWXG | Mode::RWXO);
    // A process may always lower this limit, so no error is expected. There is no log yet in which an error could be
    // reported.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).ok();
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let what = written_out(panic.payload()).unwrap_or("(not shown: it may quote a message)");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, what, "a part of the program failed unexpectedly: please report it");
    } else {
        // stderr may be closed, so an error of this write is ignored.
        drop(writeln!(std::io::stderr(), "joltsms-relay: internal error, please report it: {place}: {what}"));
    }
}

/// Returns the text of a panic if the text is a constant in the source code.
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
