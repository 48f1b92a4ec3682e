//! Tests of the whole program: the real binary reads a simulated API over real HTTP, with real files and real kills.
//! There are also tests of the repository itself: import rules, documents, packaging.
//!
//! To run one module, give its name: `cargo test --test it receivers::`.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the measurements")]
mod support;

mod admin;
mod api;
mod cli;
mod complaints;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod crash_points;
mod disk;
mod documents;
mod endurance;
mod events_table;
mod house;
mod layering;
mod main_job;
mod packaging;
mod process;
mod receiving;
mod replicas;
mod security;
mod shell_blocks;
mod soak;
mod transport;
