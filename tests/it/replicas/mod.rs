//! Several relays that share a state in a PostgreSQL database: real processes, and a real server that the test starts.
//!
//! The tests are skipped in a build without the feature `replicas`, and where no server is installed. To repeat the
//! figures of docs/replicas.md: `just replica-figures`.

mod copying;
mod failover;
mod fleet;
mod group;
mod half_open;
mod held_transaction;
mod limit;
mod operation;
mod pooled;
mod trouble;

/// Returns the number of rounds of a test: `few`, or the number in `JOLTSMS_RELAY_REPLICA_ROUNDS`.
fn rounds(few: usize) -> usize {
    number_of("JOLTSMS_RELAY_REPLICA_ROUNDS").unwrap_or(few)
}

/// Returns the number in a variable of the environment, if the variable is set.
fn number_of(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|number| number.parse().unwrap())
}

/// Prints a figure, also for a test that passes.
fn tell(figure: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stderr(), "\n{figure}"));
}
