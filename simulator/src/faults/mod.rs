//! Faults: the effects, the rules that choose requests for them, and the connection on which an answer can be cut.

pub(crate) mod effect;
pub(crate) mod rule;
pub(crate) mod wire;
