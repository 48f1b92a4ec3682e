//! Long runs that a test and a measurement share.

pub(crate) mod fault_storm;
pub(crate) mod isolated_relay;
pub(crate) mod waiters;
