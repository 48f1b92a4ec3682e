//! joltsms-relay delivers every SMS that a JoltSMS account receives, at least once and unchanged, to the sinks of its
//! configuration.
//!
//! Data flows one way:
//!
//! ```text
//! JoltSMS API -> api -> ingest -> store -> delivery -> formats -> sinks -> receivers
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`domain`] | pure values and rules: messages, coverage state, outcomes |
//! | [`time`] | the clocks, and the waits of back-offs |
//! | [`files`] | opens the files of the state, of the log and of sinks; refuses a symbolic link in place of a file |
//! | [`secret`] | secrets, which are never printed |
//! | [`settings`] | how keys of the configuration are declared and read |
//! | [`http`] | the HTTP code that the API client and the sinks share |
//! | [`humanize`] | numbers, sizes and time spans for people |
//! | [`metrics`] | every metric, and the handles that count |
//! | [`codes`] | one-time codes in messages |
//! | [`template`] | texts with placeholders for parts of a message |
//! | [`api`] | the JoltSMS client, its errors and the request budget |
//! | [`store`] | the state, and its SQL statements; each transaction is one function |
//! | [`ingest`] | the decision which messages are new, and the poller |
//! | [`formats`] | turn a message into a payload |
//! | [`sinks`] | send a payload to a receiver |
//! | [`delivery`] | claims, formats, sends and settles the deliveries of each sink |
//! | [`status`] | what `joltsms-relay status` shows |
//! | [`operator`] | what operators do: pause, resume, retry, drop, replay |
//! | [`arrivals`] | new messages, for commands that wait for them |
//! | [`admin`] | the HTTP endpoint for probes, metrics and people |
//! | [`heartbeat`] | tells a monitoring service that the relay works |
//! | [`config`] | the sections of the configuration, and how they are resolved |
//! | [`daemon`] | builds the relay, runs it, and stops it |
//! | [`cli`] | the commands |
//!
//! ARCHITECTURE.md has the import rules and the invariants.

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
