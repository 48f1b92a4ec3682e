//! The messages and numbers of the account, their orders, and how they are found.

pub(crate) mod cursor;
pub(crate) mod list;
pub(crate) mod message;
pub(crate) mod number;
pub(crate) mod ranked;
pub(crate) mod search;
pub(crate) mod sms;
pub(crate) mod traffic;
