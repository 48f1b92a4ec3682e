//! Payload -> the world.
//!
//! Invariants: an attempt is made once, whatever comes of it: trying again is delivery's business. How it ended is data.
//! What an attempt says for people holds no secret and nothing of the message, receivers' answers included: those may
//! repeat it.

pub(crate) mod classify;
pub mod http;
pub mod signing;
pub mod stdout;
pub(crate) mod webhook_id;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::pin::Pin;
use std::time::Duration;

/// What leaves for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The message's id: the same at every attempt.
    pub id: String,
    /// The body's media type.
    pub content_type: Cow<'static, str>,
    /// The bytes; for a sink of lines one line, without its end.
    pub body: Vec<u8>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Accepted {
        /// The HTTP status, where there is one.
        status: Option<u16>,
    },
    /// The receiver does not have it, or nobody knows.
    Failed {
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// How long the receiver asks us to wait.
        retry_after: Option<Duration>,
        /// What went wrong, for people.
        answer: String,
    },
    /// The receiver does not take it, and never will.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// What it said, for people.
        answer: String,
    },
    /// The receiver says that it is gone for good (410).
    Gone {
        /// What it said, for people.
        answer: String,
    },
    /// Nobody reads any more, and nobody will: nothing was attempted.
    Closed,
}

/// An attempt under way. Dropping it gives it up, which does not mean that the receiver does not get it.
pub type Attempting = Pin<Box<dyn Future<Output = Attempt> + Send>>;

/// Somewhere that messages go.
pub trait Sink: Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Begins an attempt. Where the world has an order (a stream), it is the order of these calls, not of the polls.
    fn begin(&self, outgoing: Outgoing) -> Attempting;
}
