//! The simulator in the hands of a test: a handle in the same process, and the same over HTTP.

pub(crate) mod handle;
pub(crate) mod observe;
pub(crate) mod routes;
