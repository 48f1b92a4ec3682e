//! Tests of the admin endpoint, of the metrics with what is made for them, and of the heartbeat.

mod browser;
pub(crate) mod client;
mod contrib;
mod events;
mod guards;
mod heartbeat;
mod limits;
mod long_poll;
mod page;
mod probes;
mod prometheus;
