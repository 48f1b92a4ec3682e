//! The status of a relay: the content of `joltsms-relay status`.
//!
//! [`Status`] is the whole content. Each field of [`Status`] is one field of `status --json`, and docs/status.md
//! describes that field. A number that only the running relay knows is a field of the struct in which its owner reports
//! it ([`PollReport`] and the structs beside it, [`SinkStatus`]); the relay writes these structs to a file
//! ([`LiveFile`]), and [`Status`] contains them as they are. [`Status::of`] reads state, budget, role lock and that
//! file, and works without a running relay, too. [`StatusSource`] is for the parts of the running relay itself that show
//! its status. [`problems`] decides what is unhealthy. Nothing in this module changes the state.
//!
//! [`PollReport`]: crate::ingest::PollReport
//! [`SinkStatus`]: crate::delivery::SinkStatus

mod countdown;
mod fields;
mod gather;
mod health;
mod progress;
mod reload_report;
mod source;
mod status_file;
#[cfg(test)]
mod tests;

pub use countdown::{next_attempt, next_poll_in};
pub use fields::{
    BudgetStatus, CoverageStatus, ListedSink, OwnBudget, PollingStatus, ReadingKind, RelayStatus, ReplicaStatus,
    ReplicasStatus, Seconds, SinkSection, StateStatus, Status, StoredSink, WalkStatus,
};
pub use health::{HealthProblem, ProblemKind, is_at_work, problems, readiness_problems, stands_by};
pub use progress::{LoopProgress, STANDSTILL};
pub use reload_report::ReloadReport;
pub use source::{StatusReading, StatusSource, StatusUnreadable};
pub use status_file::{Live, LiveFile, RelayReport};
