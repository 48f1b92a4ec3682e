//! Runs the commands of README.md and of the documents in `docs/`: every block of the language `sh`.
//!
//! A block is run as it stands, in a folder with a configuration, a message, a state and a backup of the state. A word
//! after `sh` changes that:
//!
//! - `relay`: a relay runs on the state meanwhile;
//! - `lines`: each line is a command of its own that may run for ever; it is stopped once a message has arrived;
//! - `test=MODULE::TEST`: this test shows what the block does;
//! - `needs=WORD`: the block is not run, because of one of [`REASONS`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use joltsms_simulator::NewMessage;

use crate::events_table::source;
use crate::support::prerequisites::{all_there, missing_programs};
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Why a block cannot be run by this test, and what shows the block's commands instead.
const REASONS: [(&str, &str); 6] = [
    ("checkout", "builds the repository: `.ci/run demo` and `.ci/run tests`"),
    ("docker", "a real Docker: tests/packaging/image.sh"),
    ("minutes", "takes minutes: done by hand, with the figures in the document"),
    ("root", "installs a package: tests/packaging/deb.sh"),
    ("systemd", "a real systemd: tests/packaging/systemd.sh"),
    ("admin", "the admin endpoint: the tests in tests/it/admin"),
];

/// A block of shell commands in a document.
struct ShellBlock {
    /// The document and the line in which the block begins.
    place: String,
    /// The word after the language, or "".
    word: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let folders = ["docs", "docs/internals", "docs/sinks"].map(|name| root().join(name));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    all.push(root().join("README.md"));
    all.sort();
    all
}

fn shell_blocks() -> Vec<ShellBlock> {
    let mut found: Vec<ShellBlock> = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let mut is_open = false;
        let mut is_shell = false;
        for (at, line) in text.lines().enumerate() {
            if let Some(info) = line.strip_prefix("```") {
                is_open = !is_open;
                let (language, word) = info.split_once(' ').unwrap_or((info, ""));
                is_shell = is_open && language == "sh";
                if is_shell {
                    let place = format!("{name}:{}", at + 1);
                    found.push(ShellBlock { place, word: word.to_owned(), text: String::new() });
                }
            } else if is_shell {
                let block = found.last_mut().unwrap();
                block.text += line;
                block.text.push('\n');
            }
        }
    }
    found
}

/// Everything that the blocks use: an account, a receiver, a state in its usual place, and files.
struct Workplace {
    scene: Scene,
    receiver: Receiver,
}

impl Workplace {
    fn new() -> Self {
        let place = Self { scene: Scene::new(), receiver: Receiver::in_background() };
        place.message();
        for name in ["shop", "desk"] {
            let text = format!(
                "[api]\nkey = {{ env = \"JOLTSMS_API_KEY\" }}\n[state]\ndir = \"state-{name}\"\n\
                 [sinks.{name}]\ntype = \"http\"\nurl = \"{}\"\n",
                place.receiver.url()
            );
            fs::write(place.scene.dir().join(format!("{name}.toml")), text).unwrap();
        }
        let script = "JOLTSMS_RELAY_POLL__START=beginning joltsms-relay once --quiet > messages.jsonl\n\
                      head -n 1 messages.jsonl > message.json\ncp -a .local/state/joltsms-relay relay-backup\n";
        let (succeeds, said) = place.run(script);
        assert!(succeeds, "{said}");
        place
    }

    /// Adds a message with a code.
    fn message(&self) {
        self.scene.handle().add(NewMessage::new().body("482913 is your code").code("482913"));
    }

    fn shell(&self, script: &str) -> Command {
        let script = script.replace("http://127.0.0.1:8080/sms", &self.receiver.url());
        let script = script.replace("jolt_sk_…", &self.scene.simulator().key());
        let script = script.replace("/var/tmp/", &format!("{}/", self.scene.dir().display()));
        let bin = Path::new(env!("CARGO_BIN_EXE_joltsms-relay")).parent().unwrap().display();
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &script]).env_clear().current_dir(self.scene.dir());
        command.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()));
        command.env("HOME", self.scene.dir()).env("SLACK_WEBHOOK_URL", self.receiver.url());
        command.env("JOLTSMS_API_URL", self.scene.simulator().url());
        command.env("JOLTSMS_API_KEY", self.scene.simulator().key()).stdin(Stdio::null());
        command
    }

    /// Runs a script to its end. Returns whether the script succeeds, and what it wrote.
    fn run(&self, script: &str) -> (bool, String) {
        let output = self.shell(script).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    }

    /// Runs a command until it ends, or until it has handed on a message. A message arrives after each of its
    /// requests.
    fn run_until_a_message(&self, place: &str, line: &str) {
        let (out, log) = (self.scene.dir().join("out"), self.scene.dir().join("log"));
        let lines = self.scene.dir().join("messages.jsonl");
        let size = |path: &Path| fs::metadata(path).map_or(0, |data| data.len());
        let (received, written) = (self.receiver.count(), size(&lines));
        let mut command = self.shell(line);
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&log).unwrap()).process_group(0);
        let mut child = command.spawn().unwrap();
        let requests = || self.scene.handle().requests().len();
        let mut seen = requests();
        let mut ended = None;
        let arrived = || {
            if requests() > seen {
                seen = requests();
                self.message();
            }
            ended = child.try_wait().unwrap();
            ended.is_some() || self.receiver.count() > received || size(&lines) > written || size(&out) > 0
        };
        wait_until(&format!("a message of {place}: {line}"), arrived, || fs::read_to_string(&log).unwrap());
        if ended.is_none() {
            let group = format!("-{}", child.id());
            assert!(Command::new("kill").args(["-TERM", "--", &group]).status().unwrap().success());
            child.wait().unwrap();
        }
        let said = fs::read_to_string(&log).unwrap();
        assert!(ended.is_none_or(|status| status.success()), "{place}: {line}\n{said}");
    }

    /// Starts a relay on the state in its usual place, and waits until the relay is healthy.
    fn start_relay(&self) -> Relay {
        let mut setup = Setup::new(self.scene.simulator(), self.scene.dir());
        let state = self.scene.dir().join(".local/state/joltsms-relay").display().to_string();
        setup = setup.set("STATE__DIR", &state);
        let relay = setup.start();
        let is_healthy = || self.run("joltsms-relay status --check").0;
        wait_until("a healthy relay", is_healthy, || relay.log());
        relay
    }

    fn run_block(&self, ShellBlock { place, word, text }: &ShellBlock) {
        match word.as_str() {
            "lines" => {
                let joined = text.replace("\\\n", " ");
                joined.lines().for_each(|line| self.run_until_a_message(place, line));
            }
            "" | "relay" => {
                let relay = (word == "relay").then(|| self.start_relay());
                let (succeeds, said) = self.run(text);
                assert!(succeeds, "{place}\n{text}\n{said}");
                drop(relay);
            }
            other => panic!("{place}: the word `{other}` has no meaning; see the module's documentation"),
        }
    }
}

#[test]
fn every_command_of_the_documents_works() {
    if !all_there(&missing_programs(&["bash", "jq", "openssl"])) {
        return;
    }
    let (mut run, mut by_tests) = (0, 0);
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for block in shell_blocks() {
        if let Some(needs) = block.word.strip_prefix("needs=") {
            let (reason, _) = REASONS
                .iter()
                .find(|(reason, _)| *reason == needs)
                .unwrap_or_else(|| panic!("{}: {needs} is no reason", block.place));
            *left_out.entry(reason).or_default() += 1;
        } else if let Some(test) = block.word.strip_prefix("test=") {
            let (module, test) = test.split_once("::").unwrap_or_else(|| panic!("{}: {test}", block.place));
            assert!(source(module).contains(&format!("fn {test}()")), "{}: no test {module}::{test}", block.place);
            by_tests += 1;
        } else {
            Workplace::new().run_block(&block);
            run += 1;
        }
    }
    println!("{run} blocks were run, {by_tests} have tests of their own, and these need something else: {left_out:?}");
    assert!(run >= 10 && left_out.values().sum::<usize>() <= 20, "{run} {left_out:?}");
}
