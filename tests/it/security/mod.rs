//! Tests of hostile input, of secrets, and of the users who may read what the relay writes.

mod erasure;
mod hostile;
mod permissions;
mod secrets;
