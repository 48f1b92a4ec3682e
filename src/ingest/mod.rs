//! Ingest: reading the feed, deciding which of its rows are new, and storing these rows.
//!
//! [`coverage`] and the other decisions are pure. [`Poller`] is the loop around them: it asks the API within the
//! budget, looks up ids in the store, lets coverage decide, and commits. The poller does not depend on sinks: after it
//! has released messages, it only wakes delivery up.

mod account;
pub mod coverage;
mod events;
mod feed;
mod foreign_requests;
mod leased_feed;
mod number_list;
mod poller;
mod report;
mod server_clock;
mod settings;
mod waiting_readers;

pub use events::{EventSettings, NumberUses};
pub use feed::{Feed, NumberPageFuture, PageFuture};
pub use leased_feed::{LeasedFeed, RequestSlots};
pub use poller::{Ending, Mode, Parts, PollError, PollSettings, Poller, PollerControl};
pub use report::{ApiBudget, CatchUp, Condition, FeedReport, PollReport, StorageReport};
pub use settings::Options;
pub use waiting_readers::WaitingReaders;
