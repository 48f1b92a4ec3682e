//! The id by which the state knows a sink.

/// The id of a sink. A sink keeps it under any name, and no other sink ever gets it. Ids begin with 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);
