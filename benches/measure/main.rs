//! Measurements of the real binary on a simulated API: `cargo bench --bench measure -- NAME…`. [`USAGE`] lists the
//! names.
//!
//! The measurements print figures. They assert only that what must never happen did not happen: a loss, or a 429 that
//! the relay itself caused.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has nothing to say but why")]

mod awaiting;
mod budget;
mod cost;
mod database;
mod faults;
mod kills;
mod latency;
mod ledger;
mod minimal;
mod network;
mod prepared;
mod process;
mod resting;
mod sinks;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support;
mod system_calls;
mod throughput;
mod waiting;

const USAGE: &str = "\
cargo bench --bench measure -- NAME...
  cost        the relay beside two minimal programs, with 10 thousand to a million messages stored (10 minutes)
  database    the state in PostgreSQL beside the state in a file, with a million messages stored (with --features replicas)
  kills       5,000 messages, SIGKILL at 100 random moments: lost, repeated, read again
  budget      3 minutes at the real limit with a backlog and a restart; beside it, another program on the key
  latency     100 messages on an idle account, twice; live messages during a backfill (4 minutes)
  throughput  50,000 waiting messages to one receiver, then to one that answers 503
  faults      10,000 faults of receivers, TLS and the API: descriptors, memory (3 minutes)
  network     dead connections, and minutes without a network, with the default settings (9 minutes; needs root)
  waiting     100,000 messages wait for a receiver that answers 503, in no order and in order (8 minutes)
  wait        how soon `wait` prints a code, in a crowd of messages and with --claim (8 minutes)
  sinks       how many messages a second each type of sinks delivers (5 minutes)
  resting     idle for a minute: memory, processor; start to first request";

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with("--")).collect();
    if names.first().is_some_and(|name| name == minimal::NAME) {
        return minimal::run(&names[1..]);
    }
    if names.is_empty() {
        println!("{USAGE}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for name in names {
        println!("# {name}");
        match name.as_str() {
            "cost" => runtime.block_on(cost::measure()),
            "database" => runtime.block_on(database::measure()),
            "kills" => runtime.block_on(kills::measure()),
            "budget" => runtime.block_on(budget::measure()),
            "latency" => runtime.block_on(latency::measure()),
            "throughput" => runtime.block_on(throughput::measure()),
            "faults" => faults::measure(),
            "network" => network::measure(),
            "waiting" => runtime.block_on(waiting::measure()),
            "wait" => awaiting::measure(),
            "sinks" => runtime.block_on(sinks::measure()),
            "resting" => runtime.block_on(resting::measure()),
            _ => println!("{USAGE}"),
        }
    }
}
