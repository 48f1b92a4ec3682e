//! What both ends of the relay share of HTTP.
//!
//! Invariants: no request is repeated or redirected behind its caller's back; no body is read without a cap; no text
//! made here holds a URL.

pub mod body;
pub mod client;
pub mod date;
pub mod failure;
pub mod retry_after;

#[cfg(test)]
pub(crate) mod raw_server;
#[cfg(test)]
mod tests;
