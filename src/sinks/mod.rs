//! Payload -> the world.

pub mod http;
