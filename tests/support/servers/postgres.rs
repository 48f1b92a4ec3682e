//! A PostgreSQL server of a test, which can be killed and started again. Its database survives that.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::{ServerProgram, free_address};
use crate::support::postgres::installed;
use crate::support::prerequisites::{all_there, missing_programs, program};
use crate::support::waiting::wait_for_value;

/// A server with one user, `relay`, who may do everything and has the password `hunter2-right` if passwords are asked for.
pub(crate) struct PostgresDatabase {
    server: ServerProgram,
    address: SocketAddr,
    query: PathBuf,
}

impl PostgresDatabase {
    /// Whether the server is installed. If not, the test is reported as skipped.
    pub(crate) fn is_installed() -> bool {
        let mut missing = missing_programs(&["psql"]);
        if installed().is_none() {
            missing.push("postgresql".to_owned());
        }
        all_there(&missing)
    }

    /// Starts a server that lets everybody on this machine in without a password.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, "trust", &[])
    }

    /// Starts a server that asks for a password by this method, with further settings.
    pub(crate) fn start_with(dir: &Path, method: &str, settings: &[String]) -> Self {
        let programs = installed().unwrap();
        let data = dir.join("postgres");
        let password = dir.join("password-of-relay");
        std::fs::write(&password, "hunter2-right\n").unwrap();
        std::fs::create_dir(&data).unwrap();
        if is_root() {
            // The server refuses to run as root, so it runs as the user of the package.
            for path in [dir, &data, &password] {
                assert!(Command::new("chown").arg("postgres").arg(path).status().unwrap().success());
            }
        }
        let initdb = unprivileged(&programs.join("initdb"))
            .args(["-U", "relay", "-E", "UTF8", "--locale=C", "--no-sync", "-A", method])
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
        let address = free_address();
        // Only the server's process is killed, so what it has written is there. Without flushes it is back at once also on
        // a slow disk.
        let mut arguments: Vec<String> =
            ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
                .map(str::to_owned)
                .into();
        arguments.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), setting.clone()]));
        let server = ServerProgram::start(dir, address, move || {
            let mut command = unprivileged(&programs.join("postgres"));
            command.arg("-D").arg(&data).arg("-p").arg(address.port().to_string()).args(&arguments);
            command
        });
        let database = Self { server, address, query: program("psql").unwrap() };
        // The server takes connections a moment before it lets anybody in.
        database.query("SELECT 1");
        database
    }

    /// Gives the file of a private key to the user of the server, who takes no key that others may read.
    pub(crate) fn give_key(path: &str) {
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            assert!(Command::new("chown").args(["postgres", path]).status().unwrap().success());
        }
    }

    /// Returns the address, without a password.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://relay@{}/postgres", self.address)
    }

    /// Runs a statement, and returns a line for each row. Waits while the server is not ready.
    pub(crate) fn query(&self, statement: &str) -> String {
        let ask = || {
            let mut command = Command::new(&self.query);
            command.env("PGPASSWORD", "hunter2-right").args(["-At", "-v", "ON_ERROR_STOP=1", "-c", statement]);
            let output = command.arg(self.url()).output().unwrap();
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        };
        wait_for_value("the database", ask, || self.server.log())
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the server again.
    pub(crate) fn start_again(&mut self) {
        self.server.start_again();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that does not run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}
