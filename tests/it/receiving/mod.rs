//! Tests of deliveries: what receivers get, and what follows from their answers.

#[cfg(feature = "sink-amqp")]
mod amqp_sink;
mod chat_services;
mod codes;
#[cfg(feature = "sink-exec")]
mod exec_sink;
mod fallback;
#[cfg(feature = "sink-file")]
mod file_sink;
mod filters;
mod formats;
mod interop;
#[cfg(feature = "sink-kafka")]
mod kafka_sink;
mod kills;
mod mask_codes;
#[cfg(feature = "sink-mqtt")]
mod mqtt_sink;
#[cfg(feature = "sink-nats")]
mod nats_sink;
mod number_details;
mod number_events;
#[cfg(feature = "sink-postgres")]
mod postgres_sink;
mod receivers;
#[cfg(any(feature = "sink-amqp", feature = "sink-kafka", feature = "sink-mqtt", feature = "sink-nats"))]
mod server_sinks;
mod sink_options;
#[cfg(feature = "sink-smtp")]
mod smtp_sink;
mod stdout;
