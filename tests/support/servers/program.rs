//! Other people's programs as servers: started on a free port of loopback, killed, and started again.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::support::waiting::wait_within;

/// The longest start of a server.
const START: Duration = Duration::from_secs(120);

/// A server that is a process group of its own.
pub(crate) struct ServerProgram {
    address: SocketAddr,
    command: Box<dyn Fn() -> Command>,
    log: PathBuf,
    child: Child,
}

impl ServerProgram {
    /// Starts a server, and waits until it takes connections at `address`. Its output goes to a file in `dir`.
    pub(crate) fn start(dir: &Path, address: SocketAddr, command: impl Fn() -> Command + 'static) -> Self {
        let log = dir.join(format!("server-{}.log", address.port()));
        let child = spawn(command(), &log);
        let server = Self { address, command: Box::new(command), log, child };
        server.wait();
        server
    }

    /// Returns the address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what the server has written.
    pub(crate) fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Sends a signal to the server.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills the server with all its processes, and waits until none of them takes connections. (If one did, the next
    /// server would seem to be ready.)
    pub(crate) fn kill(&mut self) {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).unwrap();
        self.child.wait().unwrap();
        let is_gone = || TcpStream::connect(self.address).is_err();
        wait_within(START, "the end of the killed server", is_gone, || self.log());
    }

    /// Starts the server again after a kill. Processes of the killed server that have not ended yet may keep the new server
    /// from starting. Then the new server ends, and is started once more.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn((self.command)(), &self.log);
        let answers = || {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                self.child = spawn((self.command)(), &self.log);
            }
            TcpStream::connect(self.address).is_ok()
        };
        wait_within(START, "the server", answers, || read_log(&self.log));
    }

    fn wait(&self) {
        let answers = || TcpStream::connect(self.address).is_ok();
        wait_within(START, "the server", answers, || self.log());
    }
}

impl Drop for ServerProgram {
    fn drop(&mut self) {
        // A server that was killed by the test is gone already, and its number may be another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

fn read_log(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Returns an address of loopback that no server uses at this moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0).spawn().unwrap()
}
