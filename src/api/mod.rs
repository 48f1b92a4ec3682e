//! The JoltSMS client: pages, errors and the request budget.

mod options;

pub use options::Options;
