//! Starts the simulator, prints its address, logs requests, and stops the simulator.

use std::io::{self, Write};
use std::time::Duration;

use joltsms_simulator::{Handle, LoggedRequest, Rule, Simulator};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;

/// Runs until SIGINT or SIGTERM.
pub(crate) async fn run(arguments: Arguments) -> Result<(), String> {
    let options = arguments.options().map_err(|error| format!("--switch: {error}"))?;
    let rules: Vec<Rule> = match &arguments.faults {
        None => Vec::new(),
        Some(file) => {
            let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?
        }
    };
    let stopping = |kind| signal(kind).map_err(|error| format!("signals cannot be caught: {error}"));
    let (mut interrupt, mut terminate) = (stopping(SignalKind::interrupt())?, stopping(SignalKind::terminate())?);
    let (port, seed) = (options.port, options.seed);
    let simulator = Simulator::start(options).await.map_err(|error| format!("port {port}: {error}"))?;
    let handle = simulator.handle();
    handle.add_faults(rules);
    handle.set_foreign_client(arguments.foreign);

    let (url, key, session) = (simulator.url(), simulator.key(), simulator.session());
    // If stdout is closed, the simulator still runs: its user may know the port and the seed already.
    drop(writeln!(io::stdout(), "url={url} key={key} session={session}").and_then(|()| io::stdout().flush()));
    log(&format!(
        "listening on {url}, seed {seed}, {} messages; web page: {url}/, control API: {url}/_simulator",
        handle.message_count()
    ));
    let mut logged = Logged { last: 0, quiet: arguments.quiet };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = logged.follow(&handle) => {}
    }
    simulator.shutdown().await;
    logged.catch_up(&handle);
    log(&format!("stopped after {} requests", handle.counters().requests));
    Ok(())
}

/// The log on stderr, and which requests it has reported so far.
struct Logged {
    last: u64,
    quiet: bool,
}

impl Logged {
    async fn follow(&mut self, handle: &Handle) {
        loop {
            let last = self.last;
            let more = |handle: &Handle| !handle.requests_after(last).is_empty();
            // Every wait needs a limit. After an hour the wait begins again.
            if handle.wait_until(Duration::from_secs(3600), more).await.is_ok() {
                self.catch_up(handle);
            }
        }
    }

    fn catch_up(&mut self, handle: &Handle) {
        for request in handle.requests_after(self.last) {
            self.last = request.number;
            if !self.quiet {
                log(&line(&request));
            }
        }
    }
}

/// Formats a line of the log: `2025-06-15T12:00:00.000Z #12 GET /v1/messages?limit=10 -> 200, 10 rows, 3021 bytes`
fn line(request: &LoggedRequest) -> String {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let status = request.status.map_or("no answer".to_owned(), |status| status.to_string());
    let fault = request.fault.map_or(String::new(), |rule| format!(", fault {rule}"));
    let LoggedRequest { number, wall, method, path, rows, bytes, .. } = request;
    format!("{wall:.3} #{number} {method} {path}{query} -> {status}, {rows} rows, {bytes} bytes{fault}")
}

/// Writes a line to the log. If stderr is closed, the line is lost.
fn log(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}
