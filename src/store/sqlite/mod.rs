//! The backend that keeps the state in a SQLite file. No other module of the project uses SQLite.
//!
//! - `connection` holds the opened file, and the two ways to use it: to read, and to write in a transaction.
//! - `file/` deals with the file itself: opening, format, damage, erasure, and its size on the disk.
//! - `transactions/` and `file/space.rs` implement the contract of a backend (`store/backend.rs`). For example,
//!   `transactions/replay.rs` implements the transactions that `store/replay.rs` declares.
//! - `salvage/` saves the messages of a state file, even if the file is damaged.

mod connection;
mod file;
mod salvage;
#[cfg(test)]
mod tests;
mod transactions;

pub(super) use connection::SqliteBackend;
pub use file::size;
pub(super) use file::{open_reader, open_snapshot};
pub use salvage::save;

impl super::Backend for SqliteBackend {}
