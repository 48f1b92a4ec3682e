//! Control of the simulator by a test: a handle in the same process, and an API over HTTP with the same functions.

pub(crate) mod handle;
pub(crate) mod observe;
pub(crate) mod play;
pub(crate) mod routes;
