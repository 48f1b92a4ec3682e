//! The contract of a backend, implemented with SQL. Each file implements the transactions that the file of the same
//! name in `store/` declares.
//!
//! The other files are used by several of these:
//!
//! - `claims` reads deliveries that wait.
//! - `order` reads and fills the queues of sinks with `order = "number"`: one or two queues for each phone number.
//! - `release` makes the deliveries of messages that are released.
//! - `fallback` hands dead letters over to other sinks.
//! - `pauses` pauses and resumes sinks.
//! - `portions` finds the end of a portion of a table.
//! - `values` converts values of the domain to columns, and back.

mod account;
mod claims;
mod copying;
mod coverage;
mod delivery;
mod expiry;
mod fallback;
mod numbers;
mod operator;
mod order;
mod pauses;
mod portions;
mod registration;
mod relay_time;
mod release;
mod replay;
mod retention;
mod values;
mod views;

#[cfg(test)]
pub(super) use order::FIRSTS;
