//! Servers that the relay talks to. Each server listens on loopback, or on the address that it is given, until it is
//! dropped.

pub(crate) mod certificates;
pub(crate) mod faulty_receiver;
#[cfg(feature = "sink-kafka")]
pub(crate) mod kafka;
#[cfg(feature = "sink-mqtt")]
pub(crate) mod mosquitto;
pub(crate) mod name_server;
#[cfg(feature = "sink-nats")]
pub(crate) mod nats;
#[cfg(feature = "sink-postgres")]
pub(crate) mod postgres;
#[cfg(any(
    feature = "sink-amqp",
    feature = "sink-mqtt",
    feature = "sink-nats",
    feature = "sink-postgres",
    feature = "sink-smtp"
))]
pub(crate) mod program;
#[cfg(feature = "sink-amqp")]
pub(crate) mod rabbitmq;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod reverse_proxy;
#[cfg(feature = "sink-smtp")]
pub(crate) mod smtp;
