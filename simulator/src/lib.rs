//! A JoltSMS API on loopback: stateful, over real HTTP, as documented. It has a switch for everything that the
//! documentation leaves open, and a fault for everything that can go wrong.
//!
//! ```
//! use joltsms_simulator::{NewMessage, Options, Simulator};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let simulator = Simulator::start(Options::default()).await?;
//! let handle = simulator.handle();
//! handle.add(NewMessage::new().from("SHOPLY").body("482913 is your code").code("482913"));
//! // Point the program under test at `simulator.url()` with `simulator.key()`, then look at what it did:
//! assert_eq!(handle.requests().len(), 0);
//! simulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: the simulator listens on 127.0.0.1 only. It knows nothing of the programs that talk to it. Everything
//! that it makes up is drawn from [`Options::seed`].
//!
//! The modules: `http` (requests and answers as values), `feed` (messages and numbers), `faults`, `account` (the state,
//! keys, the limit), `api` (the answers), `control` (the handle, and its methods over HTTP), `switches` (what can be
//! changed), `page` (the web page), `clock`; `server` and `simulator` put them together. No files import each other in
//! a circle.

mod account;
mod api;
mod clock;
mod control;
mod faults;
mod feed;
mod http;
mod page;
mod server;
mod simulator;
mod switches;

pub use account::keys::{CreatedKey, Key, TooManyKeys};
pub use account::request_log::{Counters, LoggedRequest};
pub use clock::{Clock, parse_duration};
pub use control::handle::Handle;
pub use control::observe::TimedOut;
pub use control::play::Budget;
pub use faults::effect::{BadRow, Effect, Ending, ErrorBody, Malformed, Place, RateHeaders, WrongType};
pub use faults::rule::{Rule, When};
pub use feed::message::{NewMessage, Row};
pub use feed::number::{NewNumber, Number};
pub use feed::sms::Sms;
pub use feed::traffic::Traffic;
pub use simulator::{Options, Simulator};
pub use switches::{
    CursorKind, CursorText, Ids, LimitScope, LimitText, Missing, Rent, ResetRounding, Since, SortBy, Switches, Ties,
    UnknownNumber, WindowKind,
};
