//! The implementation of the contract with SQL: each file implements the transactions that the file of the same name in
//! `store/` declares.
//!
//! Several of these files share further parts: `claims` (reading deliveries that wait), `order` (the queues of sinks
//! with `order = "number"`: one or two for each phone number), `release` (making the deliveries of messages that are
//! released), `pauses` (pausing and resuming sinks), `portions` (where a portion of a table ends) and `values` (values
//! of the domain as columns).

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
pub(super) use {
    claims::claims_query,
    delivery::{NEXT_DUE, RETRIES, SETTLE, fresh_query},
    order::FIRSTS,
};
