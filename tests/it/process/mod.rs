//! Tests of the relay as a process: clocks, the service manager, the log.

mod clocks;
mod container;
mod service;
mod unread_log;
