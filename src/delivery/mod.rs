//! For each sink: claim -> format -> send -> settle.

mod options;

pub use options::{Options, Retry};
