//! Tests of the behaviour of the API, and of the relay's reaction.

mod account;
mod api_faults;
mod assumptions;
mod feed_faults;
mod keys;
mod limit_windows;
