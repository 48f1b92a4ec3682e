//! The answers of the API: routes, lists, refusals, and the damage that faults do to an answer.

pub(crate) mod billing;
pub(crate) mod damage;
pub(crate) mod edits;
pub(crate) mod exchange;
pub(crate) mod lists;
pub(crate) mod refusals;
pub(crate) mod routes;
