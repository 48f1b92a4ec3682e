//! joltsms-relay hands every SMS that a JoltSMS account receives, at least once and unchanged, to the sinks that its
//! configuration names.
//!
//! Data flows one way:
//!
//! ```text
//! JoltSMS API -> api -> ingest -> store -> delivery -> formats -> sinks -> receivers
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`domain`] | pure values and rules: messages, coverage state, outcomes |
//! | [`time`] | the clocks, and how long to back off |
//! | [`files`] | files of the state directory: never through a link, and for its owner |
//! | [`secret`] | values that never show themselves |
//! | [`settings`] | how keys of the configuration are declared and read |
//! | [`http`] | what both ends of the relay share of HTTP |
//! | [`humanize`] | numbers, sizes and time spans for people |
//! | [`metrics`] | every metric, and the handles that count |
//! | [`codes`] | one-time codes in messages |
//! | [`template`] | texts with placeholders for parts of a message |
//! | [`api`] | the JoltSMS client, its errors and the request budget |
//! | [`store`] | every SQL statement; one function a transaction |
//! | [`ingest`] | what is new, and the poller that carries it out |
//! | [`formats`] | message -> payload |
//! | [`sinks`] | payload -> the world |
//! | [`delivery`] | claim -> format -> send -> settle, for each sink |
//! | [`status`] | what `joltsms-relay status` shows |
//! | [`operator`] | what operators do: pause, resume, retry, drop, replay |
//! | [`arrivals`] | new messages, for commands that wait for them |
//! | [`admin`] | the HTTP endpoint for probes, metrics and people |
//! | [`heartbeat`] | tells a monitoring service that the relay works |
//! | [`config`] | as written -> resolved |
//! | [`daemon`] | build, run, drain |
//! | [`cli`] | the commands |
//!
//! ARCHITECTURE.md holds the import rules and the invariants.

pub mod admin;
pub mod api;
pub mod arrivals;
pub mod cli;
pub mod codes;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod domain;
pub mod files;
pub mod formats;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod heartbeat;
pub mod http;
pub mod humanize;
pub mod ingest;
pub mod metrics;
pub mod operator;
pub mod secret;
pub mod settings;
pub mod sinks;
pub mod status;
pub mod store;
pub mod template;
pub mod time;
