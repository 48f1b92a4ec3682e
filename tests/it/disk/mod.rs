//! Tests of the state on the disk.

mod open_readers;
mod state;
mod state_files;
mod state_size;
mod storage;
