//! The backend that keeps the state in a SQLite file: the only place of the project that knows SQL.
//!
//! - `connection` is the opened file, with the two ways to use it: reading, and one write transaction.
//! - `file/` is about the file itself: opening, format, damage, erasing, room on the disk.
//! - `transactions/` keeps the contract: for each file of `store/` that declares transactions, the file of the same
//!   name.
//! - `salvage/` saves what a file holds, however damaged it is.

mod connection;
mod file;
mod salvage;
#[cfg(test)]
mod tests;
mod transactions;

pub(super) use connection::SqliteBackend;
pub(super) use file::open_snapshot;
pub use file::size;
pub use salvage::save;

impl super::Backend for SqliteBackend {}
