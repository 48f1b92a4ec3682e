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
mod number_details;
mod number_events;
mod receivers;
mod sink_options;
mod stdout;
