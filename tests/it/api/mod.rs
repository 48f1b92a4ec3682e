//! How the API behaves, and how the relay reacts.

mod account;
mod api_faults;
mod assumptions;
mod feed_faults;
mod keys;
mod limit_windows;
