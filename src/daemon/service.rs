//! What systemd is told (`sd_notify(3)`): READY, STATUS, WATCHDOG, STOPPING. Without `$NOTIFY_SOCKET` nothing is.
//!
//! The watchdog is fed by progress: only while every loop has turned lately. A loop turns at least every 5 seconds, also
//! while the API or a receiver is down, so a relay that stands still is restarted, and one that waits is not.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::domain::Shown;

/// A loop that did not turn for so long stands still.
pub(super) const STANDSTILL: Duration = Duration::from_secs(20);

/// How often systemd hears of us, unless it asks for more.
const PULSE: Duration = Duration::from_secs(5);

/// The connection to the service manager.
#[derive(Debug, Default)]
pub(super) struct Service {
    last_status: String,
    watched: bool,
    stood_still: bool,
}

impl Service {
    pub(super) fn new() -> Self {
        Self { watched: sd_notify::watchdog_enabled().is_some(), ..Self::default() }
    }

    /// How often [`Service::pulse`] wants to be called: a third of what the watchdog allows.
    pub(super) fn interval() -> Duration {
        sd_notify::watchdog_enabled().map_or(PULSE, |limit| (limit / 3).min(PULSE)).max(Duration::from_millis(10))
    }

    /// Everything is open and running.
    pub(super) fn ready(&mut self) {
        tell(&[NotifyState::Ready]);
    }

    /// Says how it is going, if that changed, and feeds the watchdog while the slowest loop still turns.
    pub(super) fn pulse(&mut self, status: &str, slowest_turn: Duration) {
        if self.last_status != status {
            // A line break would begin another assignment.
            tell(&[NotifyState::Status(&Shown::line(status).to_string())]);
            status.clone_into(&mut self.last_status);
        }
        let stands_still = slowest_turn > STANDSTILL;
        if stands_still && !self.stood_still {
            tracing::error!(seconds = slowest_turn.as_secs(), "a loop of the relay stands still; is the disk stuck?");
        }
        self.stood_still = stands_still;
        if self.watched && !stands_still {
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&mut self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
