//! A test of long running: messages come all the time, and every few seconds something goes wrong. At the end every sink
//! must have every message, and memory, open descriptors, threads and the state must be as large as they were early on.
//!
//! Two relays run side by side, each on a simulated account of its own. One relay is also killed and restarted. The
//! other is one process from the beginning to the end, so that a leak would show.
//!
//! The variable `JOLTSMS_RELAY_ENDURANCE` says for how many seconds the relays run, `JOLTSMS_RELAY_BINARY` names the
//! program if it is not the one that cargo has built, and `JOLTSMS_RELAY_SEED` changes what happens. If a relay fails, its
//! log is kept in the directory for temporary files, as `endurance-…`.

mod fault;
mod judge;
mod run;
mod samples;

use std::time::Duration;

use run::{Processes, Run};

/// The number of seconds that `cargo test` takes for this test.
const SECONDS: u64 = 20;

#[test]
fn nothing_is_lost_and_nothing_grows_while_something_goes_wrong_every_few_seconds() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let length = Duration::from_secs(number("JOLTSMS_RELAY_ENDURANCE").unwrap_or(SECONDS));
    let seed = number("JOLTSMS_RELAY_SEED").unwrap_or(0);
    std::thread::scope(|scope| {
        for processes in [Processes::Many, Processes::One] {
            scope.spawn(move || {
                let mut run = Run::begin(seed, processes);
                run.go_on_for(length);
                run.let_all_be_well();
                let figures = judge::judge(&run);
                println!("{figures}");
                figures.assert_good(length);
            });
        }
    });
}
