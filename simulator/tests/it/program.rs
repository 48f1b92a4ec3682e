//! Tests of the program: its output, its arguments, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::client::until;

/// A running program, and the one line that the program printed.
struct Program {
    child: Child,
    url: String,
    key: String,
    session: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_joltsms-simulator"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(arguments: &[&str]) -> Program {
    let mut child = command(&["--port", "0"]).args(arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [url, key, session] = [("url=", 0), ("key=", 1), ("session=", 2)]
        .map(|(name, part)| parts[part].strip_prefix(name).unwrap_or_else(|| panic!("{line}")).to_owned());
    Program { child, url, key, session }
}

impl Program {
    /// Sends a GET request to the program over a plain connection. Returns the status and the body.
    fn get(&self, target: &str, token: &str) -> (u16, Value) {
        use std::io::Write;
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(crate::client::DEADLINE)).unwrap();
        let text =
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Ends the program with a signal to its process id. Returns the exit status, and what the program wrote to stderr.
    fn end(mut self, signal: &str) -> (ExitStatus, String) {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program still runs only if a test has failed before it ended the program.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

#[test]
fn it_says_where_it_is_serves_logs_and_ends_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let program = start(&["--messages", "1000", "--numbers", "4"]);
        let (status, page) = program.get("/v1/messages", &program.key);
        assert_eq!((status, &page["meta"]["total"]), (200, &Value::from(1000)));
        assert_eq!(program.get("/v1/numbers", &program.key).1["meta"]["total"], 4);
        assert_eq!(program.get("/v1/api-keys", &program.session).0, 200);
        let (key, session) = (program.key.clone(), program.session.clone());
        let (status, log) = program.end(signal);
        assert!(status.success(), "{log}");
        assert!(log.contains("stopped after 3 requests"), "{log}");
        assert!(log.contains("#1 GET /v1/messages -> 200, 10 rows"), "{log}");
        assert!(!log.contains(&key) && !log.contains(&session));
    }
}

#[test]
fn the_same_seed_gives_the_same_keys() {
    let keys = ["7", "7", "8"].map(|seed| start(&["--seed", seed]).key.clone());
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
    assert_ne!(start(&[]).key, start(&[]).key, "no seed, no repetition");
}

#[test]
fn limits_switches_faults_and_strangers_are_taken_from_the_command_line() {
    let faults = std::env::temp_dir().join(format!("joltsms-simulator-{}.json", std::process::id()));
    std::fs::write(&faults, r#"[{"effects": [{"status": {"status": 503}}], "when": {"skip": 1}}]"#).unwrap();
    let program =
        start(&["--limit", "2", "--window", "1h", "--switch", "pageCap=3", "--faults", faults.to_str().unwrap(), "-q"]);
    std::fs::remove_file(&faults).unwrap();
    let answers = [(); 3].map(|()| program.get("/v1/messages", &program.key));
    assert_eq!(answers.each_ref().map(|(status, _)| *status), [200, 503, 429]);
    assert_eq!(answers[0].1["data"].as_array().unwrap().len(), 3);
    let (_, log) = program.end("-TERM");
    assert!(!log.contains("GET"), "quiet: {log}");

    let program = start(&["--foreign", "6000", "--rate", "600/s"]);
    until(|| program.get("/v1/messages", &program.key).0 == 429);
    let count = || program.get("/_simulator/state", "").1["messages"].as_u64().unwrap();
    let before = count();
    until(|| count() > before + 10);
    assert!(program.end("-TERM").0.success());
}

#[test]
fn what_it_does_not_understand_it_refuses() {
    let run = |arguments: &[&str]| {
        let output = command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run(&["--rate", "30/d"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("30/m"), "{text}");
    let (code, text) = run(&["--switch", "prety=true"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("unknown field `prety`"), "{text}");
    let (code, text) = run(&["--faults", "/nowhere/at/all.json"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("/nowhere/at/all.json"), "{text}");
    let taken = start(&[]);
    let port = taken.url.rsplit(':').next().unwrap().to_owned();
    let (code, text) = run(&["--port", &port]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("port {port}")), "{text}");
}

#[test]
fn help_names_every_option() {
    let output = command(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Examples:"), "{help}");
    for option in
        ["--port", "--seed", "--numbers", "--messages", "--rate", "--window", "--limit", "--switch", "--faults"]
    {
        assert!(help.contains(option), "{option}\n{help}");
    }
}
