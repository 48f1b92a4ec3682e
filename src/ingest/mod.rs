//! What is new, and the poller that carries it out.

mod options;

pub use options::Options;
