//! The feed of a relay, which takes a slot of a lease for each request if relays share the state.

use crate::api::Client;
use crate::ingest::LeasedFeed;

/// The feed of a relay.
pub(super) type RelayFeed = LeasedFeed<Client>;
