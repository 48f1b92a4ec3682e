//! Faults: what can go wrong, on which requests, and how far an answer gets on the wire.

pub(crate) mod effect;
pub(crate) mod rule;
pub(crate) mod wire;
