//! What goes wrong.

use std::collections::VecDeque;

use crate::support::random::Random;

/// One thing that goes wrong, or that somebody changes. A fault that lasts ends when the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL, and a start.
    Kill,
    /// SIGTERM, and a start.
    Restart,
    /// SIGHUP with a changed configuration.
    Reload,
    /// SIGHUP with a configuration that is invalid.
    InvalidReload,
    /// A new API key stands in its file, and the old key is revoked.
    NewApiKey,
    /// A new token of a sink stands in its file.
    NewToken,
    /// The file of the file sink is moved away, as logrotate does.
    FileMovedAway,
    /// The receiver resets all connections.
    ReceiverDown,
    /// The receiver answers 503.
    ReceiverFails,
    /// The receiver answers 429 with `Retry-After`.
    ReceiverLimits,
    /// The receiver does not answer.
    ReceiverHangs,
    /// The program of the exec sink ends with exit status 75.
    ProgramFails,
    /// The API's host refuses connections.
    ApiDown,
    /// The API answers 500.
    ApiFails,
    /// The API answers 429 with `Retry-After`.
    ApiLimits,
    /// The API does not answer.
    ApiHangs,
    /// The API answers after two seconds.
    ApiSlow,
}

/// The faults that end the process.
const OF_THE_PROCESS: [Fault; 4] = [Fault::Kill, Fault::Kill, Fault::Kill, Fault::Restart];

/// The faults that the process goes through.
const AROUND_THE_PROCESS: [Fault; 15] = [
    Fault::Reload,
    Fault::InvalidReload,
    Fault::NewApiKey,
    Fault::NewToken,
    Fault::FileMovedAway,
    Fault::ReceiverDown,
    Fault::ReceiverFails,
    Fault::ReceiverLimits,
    Fault::ReceiverHangs,
    Fault::ProgramFails,
    Fault::ApiDown,
    Fault::ApiFails,
    Fault::ApiLimits,
    Fault::ApiHangs,
    Fault::ApiSlow,
];

/// The faults in the order in which they happen: each of them once in a random order, then all of them again in another
/// order, without an end.
pub(super) struct FaultOrder {
    all: Vec<Fault>,
    coming: VecDeque<Fault>,
}

impl FaultOrder {
    /// Makes an order. `with_ends` says whether faults that end the process are among the faults.
    pub(super) fn new(with_ends: bool) -> Self {
        let ends: &[Fault] = if with_ends { &OF_THE_PROCESS } else { &[] };
        Self { all: [ends, &AROUND_THE_PROCESS].concat(), coming: VecDeque::new() }
    }

    /// Returns the next fault.
    pub(super) fn next(&mut self, random: &mut Random) -> Fault {
        if self.coming.is_empty() {
            let mut left = self.all.clone();
            while !left.is_empty() {
                let place = usize::try_from(random.below(left.len() as u64)).unwrap();
                self.coming.push_back(left.swap_remove(place));
            }
        }
        self.coming.pop_front().unwrap()
    }
}
