//! Tests of the relay as a process: clocks, the service manager, the log.

mod clocks;
mod container;
mod reload;
mod service;
mod unread_log;
