//! Pure values and rules: no IO, no async, no clock.

mod code_pattern;
mod coverage;
mod delivery;
pub mod filter;
mod finding;
mod invocation;
mod number_event;
mod poll_change;
mod row;
mod sanitize;
mod sink_name;
mod start;
pub mod surrogates;
mod unix_ms;
mod unread;

pub use code_pattern::{CodePattern, InvalidCodePattern};
pub use coverage::{Anomaly, Coverage, Cursor, Lags, Marks, RowStanding, Walk, WalkId, WalkKind, WalkProgress};
pub use delivery::{DeadReason, DeliveryClass, NumberUse, Outcome, PauseReason};
pub use finding::{CheckVerdict, Finding};
pub use invocation::{Invocation, shell_word};
pub use number_event::is_number_event;
pub use poll_change::{Insert, PollChange};
pub use row::{More, Row, Seq, SpoiledRow};
pub use sanitize::{Sanitized, acts};
pub use sink_name::{InvalidSinkName, SinkName};
pub use start::Start;
pub use unix_ms::{UnixMs, whole_ms};
pub use unread::{Unread, pages, time_for};
