//! Messages and numbers: what the account holds, in which order, and how it is found.

pub(crate) mod cursor;
pub(crate) mod list;
pub(crate) mod message;
pub(crate) mod number;
pub(crate) mod ranked;
pub(crate) mod search;
pub(crate) mod traffic;
