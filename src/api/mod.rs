//! The JoltSMS client: pages, errors and the request budget.
//!
//! Invariants: the client sends each request once, and never repeats it by itself. Results are plain values that
//! contain no URL and no key. Bodies are read up to a cap. The client does not interpret cursors.

pub mod budget;
mod client;
mod error;
mod options;
mod page;
pub mod settings;
mod spoiled_rows;

pub use client::{Client, PAGE_CAP, Response};
pub use error::{Error, KeyRefusal};
pub use options::Options;
pub use page::{Number, NumberPage, PAGE_ROWS, Page, read_message, read_number, set_aside_id};
