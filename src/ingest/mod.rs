//! What is new, and the poller that carries it out.

pub mod coverage;
mod options;

pub use options::Options;
