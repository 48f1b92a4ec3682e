//! The simulator over real HTTP: every documented behaviour, every switch, every fault.

mod api;
mod client;
mod faults;
mod keys;
mod limit;
mod switches;
