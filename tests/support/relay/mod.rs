//! The real program as a child process of the test.

pub(crate) mod process;
pub(crate) mod setup;
pub(crate) mod terminal;

pub(crate) use process::Relay;
pub(crate) use setup::Setup;
