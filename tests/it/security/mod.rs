//! Hostile input, secrets, and who may read what the relay writes.

mod erasure;
mod hostile;
mod permissions;
mod secrets;
