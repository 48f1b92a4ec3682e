//! The simulated account at one moment: keys, limit, log, fault rules, and the state that holds them.

pub(crate) mod billing;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod limit;
pub(crate) mod outage;
pub(crate) mod request_log;
pub(crate) mod script;
pub(crate) mod shared;
pub(crate) mod state;
