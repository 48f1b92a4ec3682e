//! A JoltSMS API on loopback: stateful, over real HTTP, as documented, with a switch for everything that the
//! documentation leaves open and a fault for everything that can go wrong.
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
//! Invariants: it listens on 127.0.0.1 only; it knows nothing of any program that talks to it; everything it makes up
//! is drawn from [`Options::seed`].

mod api;
mod body;
mod clock;
mod control;
mod cursor;
mod damage;
mod exchange;
mod fault;
mod feed;
mod handle;
mod identity;
mod key;
mod limit;
mod lists;
mod message;
mod number;
mod observe;
mod page;
mod ranked;
mod request_log;
mod rule;
mod script;
mod search;
mod server;
mod shared;
mod simulator;
mod state;
mod switches;
mod traffic;
mod wire;

pub use clock::{Clock, parse_duration};
pub use fault::{BadRow, Effect, Ending, ErrorBody, Malformed, Place, RateHeaders, WrongType};
pub use handle::Handle;
pub use key::{CreatedKey, Key, TooManyKeys};
pub use message::{NewMessage, Row};
pub use number::{NewNumber, Number};
pub use observe::TimedOut;
pub use request_log::{Counters, LoggedRequest};
pub use rule::{Rule, When};
pub use simulator::{Options, Simulator};
pub use switches::{
    CursorKind, CursorText, Ids, LimitScope, LimitText, Missing, ResetRounding, Since, SortBy, Switches, Ties,
    UnknownNumber, WindowKind,
};
pub use traffic::Traffic;
