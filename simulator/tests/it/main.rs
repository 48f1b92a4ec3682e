//! The simulator over real HTTP: every documented behaviour, every switch, every fault.

mod api;
mod client;
mod keys;
mod limit;
