//! The values that the paths of the endpoint work with.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::metrics::Metrics;
use crate::status::{LoopProgress, StatusSource};

/// The parts of the relay that the endpoint shows. Clones show the same parts.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The status of the relay.
    pub status: StatusSource,
    /// Whether the loops of the relay turn.
    pub progress: LoopProgress,
    /// The metrics of the relay.
    pub metrics: Metrics,
    /// Where messages arrive.
    pub arrivals: ArrivalSource,
}

/// Where messages arrive.
#[derive(Clone, Debug)]
pub struct ArrivalSource {
    /// The state directory.
    pub dir: PathBuf,
    /// Whether the relay erases each text when every sink has it (`keep_delivered = "0s"`).
    pub erases_at_once: bool,
}

/// The address at which a connection arrived. Every request carries this as an extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivedAt(pub(super) IpAddr);
