//! Tests of deliveries: what receivers get, and what follows from their answers.

mod chat_services;
mod exec_sink;
mod fallback;
mod file_sink;
mod filters;
mod formats;
mod interop;
mod kills;
mod mask_codes;
#[cfg(feature = "sink-mqtt")]
mod mqtt_sink;
mod number_details;
mod number_events;
#[cfg(feature = "sink-postgres")]
mod postgres_sink;
mod receivers;
mod sink_options;
#[cfg(feature = "sink-smtp")]
mod smtp_sink;
mod stdout;
