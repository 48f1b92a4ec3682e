//! The MQTT broker mosquitto, with a subscriber that writes down what it gets.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::program::{ServerProgram, free_address};
use crate::support::prerequisites::{all_there, missing_programs, program};
use crate::support::waiting::wait_until;

/// A broker whose session of the subscriber survives a kill.
pub(crate) struct Mosquitto {
    server: ServerProgram,
    subscriber: Option<Child>,
    received: PathBuf,
}

impl Mosquitto {
    /// Whether the broker is installed. If not, the test is reported as skipped.
    pub(crate) fn is_installed() -> bool {
        all_there(&missing_programs(&["mosquitto", "mosquitto_sub"]))
    }

    /// Starts a broker with further lines of its configuration.
    pub(crate) fn start(dir: &Path, lines: &str) -> Self {
        let address = free_address();
        let data = dir.join("mosquitto");
        fs::create_dir_all(&data).unwrap();
        let config = data.join("conf");
        let text = format!(
            "listener {} 127.0.0.1\npersistence true\npersistence_location {}/\nautosave_interval 0\n\
             max_inflight_messages 0\nmax_queued_messages 0\nuser root\n{lines}\n",
            address.port(),
            data.display()
        );
        fs::write(&config, text).unwrap();
        let server = ServerProgram::start(dir, address, move || {
            let mut command = Command::new(program("mosquitto").unwrap());
            command.arg("-c").arg(&config);
            command
        });
        Self { server, subscriber: None, received: dir.join("received") }
    }

    /// Subscribes to all topics. Each message becomes a line: topic, user properties and payload, with tabs between them.
    pub(crate) fn subscribe(&mut self) {
        let out = File::create(&self.received).unwrap();
        let port = self.server.address().port().to_string();
        let mut command = Command::new(program("mosquitto_sub").unwrap());
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-V",
            "5",
            "-q",
            "1",
            "-t",
            "#",
            "-i",
            "test",
            "-c",
            "-x",
            "600",
        ]);
        command.args(["-F", "%t\t%P\t%p"]).stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
        self.subscriber = Some(command.spawn().unwrap());
        self.wait_for_subscriber(1);
        // The session is saved while it is empty. So after a kill the broker keeps for the subscriber what comes before the
        // subscriber is back, and repeats nothing of what the subscriber had before the kill.
        self.server.signal(Signal::USR1);
        wait_until(
            "the saved session",
            || self.server.log().contains("Saving in-memory database"),
            || self.server.log(),
        );
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.server.address())
    }

    /// Returns topic, user properties and payload of what was received.
    pub(crate) fn received(&self) -> Vec<(String, String, String)> {
        let text = fs::read_to_string(&self.received).unwrap_or_default();
        let parts = |line: &str| {
            let mut parts = line.splitn(3, '\t').map(str::to_owned);
            Some((parts.next()?, parts.next()?, parts.next()?))
        };
        // The last line may not be whole yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(parts).collect()
    }

    /// Kills the broker.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the broker again. Waits for the subscriber, if there is one.
    pub(crate) fn start_again(&mut self) {
        let before = self.subscriptions();
        self.server.start_again();
        if self.subscriber.is_some() {
            self.wait_for_subscriber(before + 1);
        }
    }

    fn wait_for_subscriber(&self, times: usize) {
        wait_until("the subscriber", || self.subscriptions() >= times, || self.server.log());
    }

    fn subscriptions(&self) -> usize {
        self.server.log().matches("as test (").count()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut subscriber) = self.subscriber.take() {
            subscriber.kill().ok();
            subscriber.wait().ok();
        }
    }
}
