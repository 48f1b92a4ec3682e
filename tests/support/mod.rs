//! What the tests of the whole program and the measurements share: the real binary, and a receiver.

pub(crate) mod receiver;
pub(crate) mod relay;

use std::time::Duration;

/// Nothing in a test takes so long unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
