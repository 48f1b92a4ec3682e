//! Tests of the simulator over real HTTP: every documented behaviour, every switch, every fault.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

mod api;
mod client;
mod control;
mod faults;
mod keys;
mod limit;
mod page;
mod program;
mod readme;
mod search;
mod sharing;
mod switches;
mod traffic;
mod vendor_client;
