//! The admin endpoint: an HTTP server for probes, for Prometheus and for people. It is off unless `admin.listen` is
//! set.
//!
//! `/healthz`, `/readyz` and `/metrics` are for everybody who can reach the address. The other paths exist only if a
//! token is configured. They need the token or the cookie of a login; only the login itself and the files of the page
//! need neither. `/api/v1/wait` answers when a message comes, and `/api/v1/events` is a stream; the other paths answer
//! at once.
//!
//! | part | what it does |
//! |---|---|
//! | `settings` | the keys of `[admin]` |
//! | `server` | accepts connections, and limits their number, their time and the size of their requests |
//! | `write_limit` | cuts off a client that does not read |
//! | `guard` | decides by Host, Origin and token whether a request may be answered. Pure |
//! | `session` | the cookie that a login sets. Pure |
//! | `parameters` | the parameters of a request; `message_list` reads the messages that they select |
//! | `state_access` | reads and changes the state on disk |
//! | `sinks_in_effect` | the sinks of the configuration in effect; `test_message` sends a test message to one of them |
//! | `watcher`, `history` | watch the relay for the streams of events, and keep the last hour, minute by minute |
//! | `page/` | the status page: its values, templates, styles and script |
//! | `router` | the list of all paths, and the checks that every request passes |
//! | `routes/` | one file for each path |
//!
//! A new path is a file in `routes/` and a line in `router`.
//!
//! Invariants:
//! - The endpoint never holds up the relay. The server has tasks of its own. It reads the state through
//!   [`StatusSource`](crate::status::StatusSource) and [`StateAccess`], and changes it with the same transactions as
//!   commands do. Each request to `/api/v1/wait` has a reader of its own, as the command `wait` has.
//! - With `admin.read_only` nothing is changed.
//! - A request is refused if its `Host` is a name that the relay does not know. Otherwise any web page could read the
//!   endpoint: the owner of the page only has to let the page's host name lead to this address (DNS rebinding).
//! - Every error is `application/problem+json`. The only exception is a wrong token at the login: then the login page
//!   is shown again, with the mistake.

mod gauges;
mod guard;
mod history;
mod message_list;
mod notices;
mod page;
mod parameters;
mod problem_document;
mod request_parts;
mod router;
mod routes;
mod server;
mod session;
mod settings;
mod sinks_in_effect;
mod state;
mod state_access;
mod test_message;
mod watcher;
mod write_limit;

pub use server::{AdminServer, CannotListen};
pub use settings::{Options, Settings};
pub use sinks_in_effect::{SinkInEffect, SinksInEffect};
pub use state::{AdminState, ArrivalSource};
pub use state_access::StateAccess;
