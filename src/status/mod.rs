//! The status of a relay: the content of `joltsms-relay status`.
//!
//! [`Status`] is the whole content. Each field of [`Status`] is one field of `status --json`, and docs/status.md
//! describes that field.
//!
//! Some numbers exist only in the memory of the running relay. The component that counts such a number reports it in a
//! struct of its own ([`PollReport`], [`SinkStatus`] and others). The relay writes these structs to a file
//! ([`LiveFile`]), and [`Status`] contains them unchanged.
//!
//! [`Status::of`] is for commands: it reads the state, the budget, the role lock and this file, whether a relay runs or
//! not. [`StatusSource`] is for the parts of the running relay that show its own status. [`problems`] decides what is
//! unhealthy. This module does not change the state.
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
