//! The state file itself: opening, format, damage, erasure, and the room that the file takes on disk.

pub(super) mod checksum;
pub(super) mod commit_counter;
pub(super) mod erasure;
mod integrity;
mod migration;
mod open;
mod schema;
mod snapshot;
mod space;
pub(super) mod state_files;

pub(super) use snapshot::begin as begin_snapshot;
pub(in crate::store) use snapshot::{open_reader, open_snapshot};
pub use space::size;
