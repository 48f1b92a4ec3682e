//! What the API answers: routes, lists, refusals, and what faults do to an answer.

pub(crate) mod damage;
pub(crate) mod exchange;
pub(crate) mod lists;
pub(crate) mod refusals;
pub(crate) mod routes;
