//! Notifies systemd (`sd_notify(3)`): READY, STATUS, RELOADING, STOPPING. Without `$NOTIFY_SOCKET` nothing is sent.
//!
//! Invariant: the relay never waits for the service manager. READY and STATUS are sent again if the service manager's
//! socket did not accept them.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;

use sd_notify::NotifyState;

use crate::domain::Sanitized;

/// The connection to the service manager.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// The name of the service manager's socket; `None`: no service manager listens.
    socket: Option<OsString>,
    /// Whether READY must still be sent, because the last try failed.
    ready_owed: bool,
    last_status: String,
    complained: bool,
}

impl Service {
    /// Makes the connection to the service manager that `$NOTIFY_SOCKET` names.
    pub(super) fn from_environment() -> Self {
        Self { socket: socket_name(), ..Self::default() }
    }

    /// Returns whether a service manager started this process and listens to it.
    pub(super) fn is_managed(&self) -> bool {
        self.socket.is_some()
    }

    /// Tells the service manager that the relay runs, and sends the status line. Called when the relay has started, and
    /// at the end of each reload, whether the new configuration is in use or was refused.
    ///
    /// READY and STATUS are one notification. READY ends `systemctl reload`, and an operator who looks at the status
    /// right after that must see the new status.
    pub(super) fn ready(&mut self, status: &str) {
        let line = Sanitized::line(status).to_string();
        self.ready_owed = !self.tell(&[NotifyState::Ready, NotifyState::Status(&line)]);
        if !self.ready_owed {
            self.last_status = line;
        }
    }

    /// Returns whether the service manager knows that the relay runs.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready_owed
    }

    /// Tells the service manager that a reload begins. [`Service::ready`] must follow.
    ///
    /// The notification contains the time by the machine's monotonic clock. With `Type=notify-reload`, systemd takes
    /// the notification for the answer to its SIGHUP only if this time is not before the signal.
    pub(super) fn reloading(&mut self) {
        let status = "reloading the configuration";
        let Ok(time) = NotifyState::monotonic_usec_now() else { return };
        self.ready_owed = false;
        self.tell(&[NotifyState::Reloading, time, NotifyState::Status(status)]);
        status.clone_into(&mut self.last_status);
    }

    /// Sends the status line if it has changed. If READY could not be sent before, sends READY now.
    pub(super) fn show(&mut self, status: &str) {
        if self.ready_owed {
            return self.ready(status);
        }
        // A line break would begin another assignment of the protocol, so the status is put on one line.
        let line = Sanitized::line(status).to_string();
        if self.last_status != line && self.tell(&[NotifyState::Status(&line)]) {
            self.last_status = line;
        }
    }

    /// Tells the service manager that the relay stops.
    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Sends a notification. Returns `true` if the notification was sent, or if there is no service manager.
    fn tell(&mut self, states: &[NotifyState<'_>]) -> bool {
        let Some(socket) = &self.socket else { return true };
        match send_to(socket, states) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock && !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(%error, "the relay cannot report to the service manager ($NOTIFY_SOCKET)");
                }
                false
            }
        }
    }
}

/// Sends a notification, if there is a service manager.
///
/// # Errors
/// [`ErrorKind::WouldBlock`] if the manager's socket has no room; another error if there is no such socket.
pub(super) fn send(states: &[NotifyState<'_>]) -> io::Result<()> {
    socket_name().map_or(Ok(()), |name| send_to(&name, states))
}

fn send_to(name: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    connect(&socket, name)?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A socket that stands in for systemd's, and the service that notifies it.
    fn manager(dir: &tempfile::TempDir) -> (UnixDatagram, Service) {
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        (socket, Service { socket: Some(path.into_os_string()), ..Service::default() })
    }

    /// Returns the assignments of the next notification. The notification was sent before this call, so the call does
    /// not wait.
    fn notified(socket: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    fn monotonic_now() -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
    }

    #[test]
    fn a_reload_tells_when_it_began_and_is_followed_by_ready() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, mut service) = manager(&dir);
        service.ready("starting");
        assert_eq!(notified(&socket), ["READY=1", "STATUS=starting"]);
        service.show("polling");
        assert_eq!(notified(&socket), ["STATUS=polling"]);
        let signalled = monotonic_now();
        service.reloading();
        let told = notified(&socket);
        assert_eq!((told[0].as_str(), told[2].as_str()), ("RELOADING=1", "STATUS=reloading the configuration"));
        // systemd takes this notification for the answer to its signal only if the time is not before the signal.
        let began: u64 = told[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!((signalled.as_micros()..=monotonic_now().as_micros()).contains(&u128::from(began)), "{told:?}");
        // The status is sent again, although it is the same status as before the reload.
        service.ready("polling");
        assert_eq!(notified(&socket), ["READY=1", "STATUS=polling"]);
        service.show("polling");
        assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock, "nothing has changed");
    }

    #[test]
    fn ready_is_sent_again_until_the_manager_accepts_it() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, mut service) = manager(&dir);
        let stuffing = UnixDatagram::unbound().unwrap();
        stuffing.set_nonblocking(true).unwrap();
        let path = dir.path().join("notify");
        while stuffing.send_to(b"x", &path).is_ok() {}
        service.ready("starting");
        assert!(!service.is_ready());
        while socket.recv(&mut [0; 16]).is_ok() {}
        service.show("polling");
        assert!(service.is_ready());
        assert_eq!(notified(&socket), ["READY=1", "STATUS=polling"]);
    }

    #[test]
    fn without_a_manager_nothing_is_sent_and_nothing_is_owed() {
        let mut service = Service::default();
        service.reloading();
        service.ready("polling");
        assert!(service.is_ready() && !service.is_managed());
    }
}
