//! The JoltSMS client: pages, errors and the request budget.
//!
//! Invariants: a request is sent once; what came back is described by plain values, and never by a URL or a key; bodies
//! are read up to a cap; cursors are opaque.

pub mod budget;
mod client;
mod error;
mod options;
mod page;
pub mod settings;
mod spoiled;

pub use client::{Client, PAGE_CAP, Response};
pub use error::{Error, KeyRefusal};
pub use options::Options;
pub use page::{Number, NumberPage, PAGE_ROWS, Page, read_message, read_number, set_aside_id};
