//! The whole program: the real binary against a simulated API, over real HTTP, with real files and real kills.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the measurements")]
mod support;

mod account;
mod api_faults;
mod assumptions;
mod broken;
mod clocks;
mod commands;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod crash_points;
mod dead_letters;
mod dns;
mod documents;
mod events_table;
mod exhaustion;
mod feed_faults;
mod filters;
mod flow;
mod formats;
mod hostile;
mod house;
mod init;
mod interop;
mod keys;
mod layering;
mod main_job;
mod network;
mod number_details;
mod open_readers;
mod over_time;
mod packaging;
mod peers;
mod preview;
mod privacy;
mod private;
mod proxies;
mod receivers;
mod replay;
mod secrets;
mod service;
mod sinks;
mod soak;
mod state;
mod state_files;
mod status;
mod stdout;
mod storage;
mod tls;
mod trace;
mod unread_log;
mod windows;
