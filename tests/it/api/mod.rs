//! What the API does, and what the relay makes of it.

mod account;
mod api_faults;
mod assumptions;
mod feed_faults;
mod keys;
mod limit_windows;
