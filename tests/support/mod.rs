//! What the tests of the whole program and the measurements share: the real binary, a receiver, and a scene of both.

pub(crate) mod cases;
pub(crate) mod certificates;
pub(crate) mod disk;
pub(crate) mod exhaustion;
pub(crate) mod faulty;
pub(crate) mod front;
pub(crate) mod name_server;
pub(crate) mod namespace;
pub(crate) mod needs;
pub(crate) mod network;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod terminal;

use std::time::Duration;

/// Nothing in a test takes so long unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
