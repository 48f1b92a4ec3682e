//! Notifies systemd (`sd_notify(3)`): READY, STATUS, WATCHDOG, STOPPING. Without `$NOTIFY_SOCKET` nothing is sent.
//!
//! The watchdog is fed only while every loop has turned lately. A loop turns at least every 5 seconds, also while the
//! API or a receiver is down. So systemd restarts a relay that is stuck, but not a relay that waits.
//!
//! Invariant: nothing waits for the service manager. A notification that the service manager's socket does not accept
//! is sent again at the next pulse.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::domain::Sanitized;
use crate::time::{Clock, Instant};

/// The time without a turn after which a loop counts as stuck.
pub(super) const STANDSTILL: Duration = Duration::from_secs(20);

/// The time between two pulses, unless the watchdog needs a shorter one.
const PULSE: Duration = Duration::from_secs(5);

/// The delay of a pulse above which the whole process counts as having been suspended.
const SUSPENDED: Duration = Duration::from_secs(5);

/// The connection to the service manager.
#[derive(Debug)]
pub(super) struct Service {
    ready_told: bool,
    last_status: String,
    watched: bool,
    stood_still: bool,
    complained: bool,
    last_pulse: Instant,
    /// The time since which the process is known to run without having been suspended.
    awake_since: Instant,
}

impl Service {
    pub(super) fn new(clock: &Clock) -> Self {
        let now = clock.monotonic();
        Self {
            ready_told: false,
            last_status: String::new(),
            watched: sd_notify::watchdog_enabled().is_some(),
            stood_still: false,
            complained: false,
            last_pulse: now,
            awake_since: now,
        }
    }

    /// Returns the time between two calls of [`Service::pulse`]: a third of the time that the watchdog allows.
    pub(super) fn interval() -> Duration {
        sd_notify::watchdog_enabled().map_or(PULSE, |limit| (limit / 3).min(PULSE)).max(Duration::from_millis(10))
    }

    /// Tells the service manager that the relay runs.
    pub(super) fn ready(&mut self) {
        self.ready_told = self.tell(&[NotifyState::Ready]);
    }

    /// Tells the service manager that the relay reads its configuration again. [`Service::ready`] ends this.
    pub(super) fn reloading(&mut self) {
        // Without the time the service manager could take an earlier READY for the end of this reload.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// Sends the status line if it changed, and feeds the watchdog while the slowest loop still turns.
    pub(super) fn pulse(&mut self, status: &str, longest_stall: Duration, now: Instant) {
        if !self.ready_told {
            self.ready();
        }
        // A line break would begin another assignment of the protocol, so the status is put on one line.
        if self.last_status != status && self.tell(&[NotifyState::Status(&Sanitized::line(status).to_string())]) {
            status.clone_into(&mut self.last_status);
        }
        self.awake_since = awake_since(self.awake_since, now.saturating_duration_since(self.last_pulse), now);
        self.last_pulse = now;
        // No loop could turn while the process was suspended.
        let stands_still = longest_stall.min(now.saturating_duration_since(self.awake_since)) > STANDSTILL;
        if stands_still && !self.stood_still {
            tracing::error!(seconds = longest_stall.as_secs(), "a loop of the relay stands still; is the disk stuck?");
        }
        self.stood_still = stands_still;
        if self.watched && !stands_still {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// Tells the service manager that the relay stops.
    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Sends a notification. Returns `true` if the notification was sent, or if there is no service manager.
    fn tell(&mut self, states: &[NotifyState<'_>]) -> bool {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return true };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        match send(&name, text.as_bytes()) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock && !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(%error, "the service manager cannot be told how the relay is doing ($NOTIFY_SOCKET)");
                }
                false
            }
        }
    }
}

/// Returns since when the process runs without having been suspended (SIGSTOP, a frozen control group). `pulse` is the
/// time since the last pulse: a suspended process makes no pulses.
fn awake_since(before: Instant, pulse: Duration, now: Instant) -> Instant {
    if pulse > PULSE + SUSPENDED { now } else { before }
}

/// Sends one datagram, or fails if the socket has no room.
fn send(name: &OsStr, text: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    connect(&socket, name)?;
    socket.send(text).map(drop)
}

/// Connects to the socket `name`. The name of an abstract socket begins with `@`.
#[cfg(target_os = "linux")]
fn connect(socket: &UnixDatagram, name: &OsStr) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::SocketAddr;

    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => socket.connect(name),
    }
}

#[cfg(not(target_os = "linux"))]
fn connect(socket: &UnixDatagram, name: &OsStr) -> io::Result<()> {
    socket.connect(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    const TURN: Duration = Duration::from_secs(5);

    /// Makes pulses, each after the given wait and with the given time since the slowest loop turned. Returns which
    /// pulses saw a standstill.
    fn standstills(pulses: &[(Duration, Duration)]) -> Vec<bool> {
        let mut now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut service = Service::new(&Clock::starting_at(UnixMs(0)));
        let mut look = |&(wait, longest_stall): &(Duration, Duration)| {
            now += wait;
            service.pulse("polling", longest_stall, now);
            service.stood_still
        };
        pulses.iter().map(&mut look).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_turn_stands_still() {
        let pulses: Vec<_> = (1..=6).map(|count| (TURN, TURN * count)).collect();
        assert_eq!(standstills(&pulses), [false, false, false, false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_suspended_does_not_stand_still() {
        let minute = Duration::from_secs(60);
        let slept = [(minute, minute), (Duration::ZERO, minute), (TURN, Duration::ZERO), (minute, minute + TURN)];
        assert_eq!(standstills(&slept), [false; 4]);
        // A loop that does not turn after the suspension stands still.
        let pulses: Vec<_> =
            (0..=5).map(|count| (if count == 0 { minute } else { TURN }, minute + TURN * count)).collect();
        assert_eq!(standstills(&pulses), [false, false, false, false, false, true]);
    }
}
