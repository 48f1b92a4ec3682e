//! Measures `wait`: how soon it prints a code, whether it prints the right one, and what it costs of the budget.

use std::time::Duration;

use crate::process::load;
use crate::support::scenarios::waiters::{Idle, in_a_crowd, on_an_idle_account, runs, summary, with_claims};

pub(crate) fn measure() {
    println!("load of the machine: {}", load());
    let fast = Idle { relay_alone: Some(Duration::from_secs(60)), waits: Duration::from_secs(1) };
    for (name, idle) in [
        ("fast polls, with a relay", fast),
        ("fast polls, no relay", Idle { relay_alone: None, ..fast }),
        ("fast polls used up, with a relay", Idle { waits: Duration::from_secs(30), ..fast }),
    ] {
        println!("{name}: {}", summary(&runs(20, 20, |run| on_an_idle_account(run, idle))));
    }
    println!("200 messages in 10 s: {}", summary(&runs(100, 10, in_a_crowd)));
    println!("ten waiters with --claim: {}", summary(&runs(20, 2, with_claims)));
    println!("load of the machine: {}", load());
}
