//! The feed of a relay. If several relays share the state, each request first takes a slot of the budget that they
//! share.

use crate::api::Client;
use crate::ingest::LeasedFeed;

/// The feed of a relay.
pub(super) type RelayFeed = LeasedFeed<Client>;
