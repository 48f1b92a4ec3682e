//! A throw-away PostgreSQL server for the tests of one process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A server that listens on a socket in a directory of its own. It stops, and its directory is removed, when the
/// process that started it ends.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    dir: PathBuf,
    bin: PathBuf,
    /// The control of the server. While this end is open, the server runs.
    control: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _shell: Mutex<Child>,
}

/// The database that tests use if they name no other one.
const DATABASE: &str = "postgres";

/// Starts a server, says where it is, and stops it when the standard input is at its end. Signals to the tests are
/// ignored, so that an interrupted test run leaves no server behind. A server refuses to run as root, so it runs as the
/// user of the package.
const SCRIPT: &str = r#"
set -eu
bin=$1 durable=$2
dir=$(mktemp -d "${TMPDIR:-/tmp}/relay-postgres.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap '' HUP INT TERM
as=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$dir"
    as='setpriv --reuid=postgres --regid=postgres --clear-groups'
fi
cd "$dir"
$as "$bin/initdb" -D "$dir/data" -U relay --auth=trust --no-sync -E UTF8 --locale=C >"$dir/initdb.log" 2>&1 || {
    cat "$dir/initdb.log" >&2; exit 1; }
# One line: pg_ctl hands it to a shell.
settings="-c listen_addresses='' -c unix_socket_directories='$dir' -c max_connections=800"
settings="$settings -c fsync=$durable -c full_page_writes=$durable -c max_wal_size=4GB"
$as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w -o "$settings" start >/dev/null 2>&1 || {
    cat "$dir/data/server.log" >&2; exit 1; }
echo "$dir"
crash() { $as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; }
start() { $as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w -o "$settings" start >/dev/null 2>&1; }
while read -r word; do
    case $word in
        crash) crash ;;
        start) start ;;
        save) rm -rf "$dir/saved" && $as "$bin/pg_basebackup" -h "$dir" -U relay -D "$dir/saved" -c fast >&2 ;;
        restore) rm -rf "$dir/data" && cp -a "$dir/saved" "$dir/data" ;;
    esac
    echo "$word"
done
crash
"#;

impl PostgresServer {
    /// Returns the server of this process. The first call starts the server; `None` if none is installed.
    pub(crate) fn of_this_process() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<PostgresServer>> = OnceLock::new();
        SERVER.get_or_init(|| Some(Self::start(&installed()?, false))).as_ref()
    }

    /// Starts a server for one test, which may stop it; `None` if none is installed.
    pub(crate) fn of_one_test() -> Option<Self> {
        Some(Self::start(&installed()?, false))
    }

    /// Starts a server for a measurement. Unlike the servers of tests, it waits for its disk, as a real server does.
    pub(crate) fn durable() -> Option<Self> {
        Some(Self::start(&installed()?, true))
    }

    fn start(bin: &Path, is_durable: bool) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "postgres"])
            .arg(bin)
            .arg(if is_durable { "on" } else { "off" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut answers = BufReader::new(shell.stdout.take().unwrap());
        answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the PostgreSQL server in {} did not start", bin.display());
        let control = Mutex::new((shell.stdin.take().unwrap(), answers));
        Self { dir: PathBuf::from(line.trim_end()), bin: bin.to_owned(), control, _shell: Mutex::new(shell) }
    }

    /// Ends the server as a crash does: no transaction is ended, and no connection is closed in good order.
    pub(crate) fn crash(&self) {
        self.order("crash");
    }

    /// Starts the server after a crash.
    pub(crate) fn start_again(&self) {
        self.order("start");
    }

    /// Makes a base backup of the server, which runs and may be busy.
    pub(crate) fn save(&self) {
        self.order("save");
    }

    /// Puts the files of the server, which must not run, back to those of the base backup.
    pub(crate) fn restore(&self) {
        self.order("restore");
    }

    fn order(&self, word: &str) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let (orders, answers) = &mut *control;
        writeln!(orders, "{word}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim_end(), word);
    }

    /// Returns the directory of the server's socket.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a statement. Returns the lines of its result, with the columns separated by `|`.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        self.query_in(DATABASE, sql)
    }

    /// Does what [`Self::query`] does, in another database of the server.
    pub(crate) fn query_in(&self, database: &str, sql: &str) -> Vec<String> {
        let done = self.client(database).args(["-c", sql]).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Begins a transaction that sees the database as it is now, and that does nothing until the value is dropped.
    pub(crate) fn hold_transaction(&self) -> HeldTransaction {
        let mut client = self.client(DATABASE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut statements = client.stdin.take().unwrap();
        writeln!(statements, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'begun';").unwrap();
        let mut answer = String::new();
        BufReader::new(client.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer.trim_end(), "begun");
        HeldTransaction { client, statements: Some(statements) }
    }

    fn client(&self, database: &str) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "relay", "-d", database, "-h"]).arg(&self.dir);
        psql
    }

    /// Makes the log of the server show every statement from now on.
    pub(crate) fn log_statements(&self) {
        self.query("ALTER SYSTEM SET log_statement = 'all'");
        self.query("SELECT pg_reload_conf()");
    }

    /// Returns the log of the server.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("data/server.log")).unwrap()).into_owned()
    }

    /// Returns the id of the server's first process, whose children are all others.
    pub(crate) fn process_id(&self) -> u32 {
        let file = std::fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// Returns the address of the server's database.
    pub(crate) fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// Returns the address of another database of the server.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("host={} user=relay dbname={database}", self.dir.display())
    }

    /// Returns the name of a schema that no other test uses.
    pub(crate) fn new_namespace(&self) -> String {
        static GIVEN: Mutex<u32> = Mutex::new(0);
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        *given += 1;
        format!("scratch_{given}")
    }
}

/// A transaction that is open. It ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct HeldTransaction {
    client: Child,
    statements: Option<ChildStdin>,
}

impl Drop for HeldTransaction {
    fn drop(&mut self) {
        self.statements.take();
        drop(self.client.wait());
    }
}

/// Finds the directory with the programs of the newest server that is installed.
pub(crate) fn installed() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = debian
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort_unstable();
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|dir| dir.join("initdb").exists() && dir.join("pg_ctl").exists())
    };
    found.pop().map(|(_, bin)| bin).or_else(in_path)
}
