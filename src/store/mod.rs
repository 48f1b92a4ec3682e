//! The spool: every SQL statement of the project, one function a transaction.

mod options;

pub use options::{Keep, Options};
