//! Notifies systemd (`sd_notify(3)`): READY, STATUS, RELOADING, STOPPING. Without `$NOTIFY_SOCKET` nothing is sent.
//!
//! Invariant: nothing waits for the service manager. READY and STATUS are sent again if the service manager's socket
//! did not accept them.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;

use sd_notify::NotifyState;

use crate::domain::Sanitized;

/// The connection to the service manager.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Whether READY could not be sent yet.
    ready_owed: bool,
    last_status: String,
    complained: bool,
}

impl Service {
    /// Returns whether a service manager started this process and listens to it.
    pub(super) fn is_managed() -> bool {
        socket_name().is_some()
    }

    /// Tells the service manager that the relay runs: at the start, and at the end of each reload, whether the new
    /// configuration is in use or was refused.
    pub(super) fn ready(&mut self) {
        self.ready_owed = !self.tell(&[NotifyState::Ready]);
    }

    /// Returns whether the service manager knows that the relay runs.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready_owed
    }

    /// Tells the service manager that a reload begins. [`Service::ready`] must follow.
    ///
    /// The time by the machine's monotonic clock is part of the notification: with `Type=notify-reload` systemd takes
    /// the notification as the answer to its SIGHUP only if the time is later than the signal.
    pub(super) fn reloading(&mut self) {
        let status = "reloading the configuration";
        let Ok(time) = NotifyState::monotonic_usec_now() else { return };
        self.ready_owed = false;
        self.tell(&[NotifyState::Reloading, time, NotifyState::Status(status)]);
        status.clone_into(&mut self.last_status);
    }

    /// Sends the status line, if it changed, and what could not be sent before.
    pub(super) fn show(&mut self, status: &str) {
        if self.ready_owed {
            self.ready();
        }
        // A line break would begin another assignment of the protocol, so the status is put on one line.
        if self.last_status != status && self.tell(&[NotifyState::Status(&Sanitized::line(status).to_string())]) {
            status.clone_into(&mut self.last_status);
        }
    }

    /// Tells the service manager that the relay stops.
    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Sends a notification. Returns `true` if the notification was sent, or if there is no service manager.
    fn tell(&mut self, states: &[NotifyState<'_>]) -> bool {
        match send(states) {
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

/// Sends a notification, if there is a service manager.
///
/// # Errors
/// [`ErrorKind::WouldBlock`] if the manager's socket has no room; others if there is no such socket.
pub(super) fn send(states: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(name) = socket_name() else { return Ok(()) };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    connect(&socket, &name)?;
    socket.send(text.as_bytes()).map(drop)
}

/// Returns the name of the service manager's socket; `None`: no service manager listens.
fn socket_name() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())
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
