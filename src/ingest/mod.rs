//! Ingest: reading the feed, deciding what on it is new, and storing that.
//!
//! [`coverage`] and the other decisions are pure. [`Poller`] is the loop around them: it asks the API within the budget,
//! looks ids up in the store, lets coverage decide, and commits. It knows no sink: after it released messages it gives a
//! wake-up without content.

mod account;
pub mod coverage;
mod feed;
mod foreign;
mod numbers;
mod options;
mod poller;
mod report;
mod server_clock;

pub use feed::Feed;
pub use options::Options;
pub use poller::{Ending, Mode, Parts, Poller, Trouble};
pub use report::{ApiBudget, CatchUp, Condition, FeedReport, PollReport, StorageReport};
