//! The kinds of changes that a poll makes to the state. The rules of coverage decide which changes follow from a page
//! (`Draft` in `ingest/coverage/mod.rs`), the poller commits them (`ingest/poller/commit.rs`), and the store carries
//! them out in one transaction (`store/sqlite/transactions/coverage.rs` and its counterpart for PostgreSQL).

use super::{Anomaly, DeliveryClass, Lags, Marks, Row, RowStanding, Seq, Walk, WalkId};

/// A row to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    /// The row's sequence number.
    pub seq: Seq,
    /// The row.
    pub row: Row,
    /// Whether the row is for the sinks, and if not, why.
    pub standing: RowStanding,
    /// The gap that holds the row, if one does.
    pub held_by: Option<WalkId>,
}

/// One change of the state. The changes of one page are carried out in order, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollChange {
    /// The first page was read: coverage begins.
    Begin {
        /// The value of `poll.start` at this moment, for people.
        start: String,
    },
    /// Store a row.
    Insert(Box<Insert>),
    /// Create the delivery records of these stored rows, oldest first.
    Release {
        /// The rows; no gap holds them.
        rows: Vec<Seq>,
        /// The lane of their deliveries.
        class: DeliveryClass,
    },
    /// Create the delivery records of all rows that a gap holds, oldest first. The gap no longer holds these rows.
    ReleaseHeld {
        /// The gap.
        walk: WalkId,
        /// The lane of their deliveries.
        class: DeliveryClass,
    },
    /// Store a walk as it is now.
    PutWalk(Box<Walk>),
    /// Remove a walk that has ended.
    RemoveWalk(WalkId),
    /// Store the single values of coverage.
    Advance(Marks),
    /// Store how far the rows' clock is behind or ahead of the API's clock.
    PutLags(Lags),
    /// Count an anomaly.
    Count(Anomaly),
}
