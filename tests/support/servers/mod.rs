//! Servers that the relay talks to. Each server listens on loopback, or on the address that it is given, until it is
//! dropped.

pub(crate) mod certificates;
pub(crate) mod faulty_receiver;
#[cfg(feature = "sink-kafka")]
pub(crate) mod kafka;
pub(crate) mod mosquitto;
pub(crate) mod name_server;
pub(crate) mod nats;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod rabbitmq;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod reverse_proxy;
pub(crate) mod smtp;
