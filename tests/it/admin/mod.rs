//! Tests of the admin endpoint, of the metrics with what is made for them, and of the heartbeat.

mod client;
mod contrib;
mod guards;
mod heartbeat;
mod limits;
mod long_poll;
mod probes;
mod prometheus;
