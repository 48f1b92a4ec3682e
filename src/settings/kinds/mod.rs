//! The kinds of keys: the functions with which a component says which values a key takes. Each function has the
//! declaration of the kind, and the code that reads a value of this kind.
//!
//! A value that is wrong is reported, and the default takes its place. So one pass finds all errors.

mod texts;
mod values;

pub use texts::{map, path, required_path, secret, secrets, sink_name, text, texts};
pub use values::{
    boolean, choice, duration, duration_or, exit_statuses, http_statuses, integer, number, one_choice, one_of,
    optional_boolean, size, start,
};
