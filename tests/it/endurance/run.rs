//! A relay with all its surroundings, and the faults that happen to it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use joltsms_relay::daemon::log_sentences::{NOT_RELOADED, RELOADED, SECRETS_READ_AGAIN};
use joltsms_simulator::{Effect, Options, RateHeaders, Rule, Traffic};

use super::fault::{Fault, FaultOrder};
use super::samples::Sample;
use crate::admin::client;
use crate::support::random::Random;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::servers::reverse_proxy::{Manner, ReverseProxy};
use crate::support::waiting::{DEADLINE, wait_within};

/// The most concurrent deliveries of a sink.
pub(super) const CONCURRENCY: usize = 5;

/// The time between two samples of a long run.
const SAMPLING: Duration = Duration::from_secs(10);

/// The time between two faults of a long run, on average.
const LONGEST_PACE: Duration = Duration::from_secs(4);

/// The longest wait for the last deliveries.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether one process goes through the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processes {
    /// The process is never killed or restarted.
    One,
    /// The process is killed and restarted all the time.
    Many,
}

/// A relay that runs: sinks `crm` (through a proxy that can reset connections), `shop` (in the order of each number),
/// `extra` (which half of the configurations have), `archive` (a file) and `script` (a program).
pub(super) struct Run {
    pub(super) processes: Processes,
    pub(super) scene: Scene,
    pub(super) crm: Receiver,
    pub(super) shop: Receiver,
    pub(super) extra: Receiver,
    pub(super) faults: BTreeMap<Fault, usize>,
    pub(super) samples: Vec<Sample>,
    /// The log of all processes that have ended.
    pub(super) log: String,
    proxy: ReverseProxy,
    setup: Setup,
    relay: Relay,
    order: FaultOrder,
    random: Random,
    /// The number of the present configuration.
    generation: usize,
    /// The number of keys and tokens that there have been.
    secrets: usize,
    /// The id of the present API key.
    key: String,
    sampling: Duration,
    next_sample: Duration,
}

impl Run {
    /// Starts the relay, and makes messages come.
    pub(super) fn begin(seed: u64, processes: Processes) -> Self {
        let mut options = Options { seed, numbers: 3, ..Options::default() };
        options.switches.key_cache = Duration::ZERO;
        let scene = Scene::of(options);
        let [crm, shop, extra] = [(); 3].map(|()| Receiver::in_background());
        let proxy = ReverseProxy::on_loopback(crm.address(), Manner::Pass);
        fs::write(scene.dir().join("key"), scene.simulator().key()).unwrap();
        fs::write(scene.dir().join("token"), "token-0").unwrap();
        write_program(&scene.dir().join("on-sms"), scene.dir());
        let file = scene.dir().join("config.toml").display().to_string();
        let mut setup = Setup::bare(scene.dir()).env("JOLTSMS_RELAY_CONFIG", &file);
        scene.file(&configuration(&scene, &proxy, [&shop, &extra], 0));
        let relay = setup.start();
        client::address(&relay);
        scene.handle().set_traffic(Traffic {
            per_minute: 60.0,
            late: 0.05,
            late_by: Some(Duration::from_secs(20)),
            equal: 0.05,
            ..Traffic::default()
        });
        Self {
            processes,
            scene,
            crm,
            shop,
            extra,
            faults: BTreeMap::new(),
            samples: Vec::new(),
            log: String::new(),
            proxy,
            setup,
            relay,
            order: FaultOrder::new(processes == Processes::Many),
            random: Random::new(seed),
            generation: 0,
            secrets: 0,
            key: "start".to_owned(),
            sampling: SAMPLING,
            next_sample: Duration::ZERO,
        }
    }

    /// Lets something go wrong every two to six seconds, for this time. In a short run it goes faster, so that most kinds
    /// of faults have their turn.
    pub(super) fn go_on_for(&mut self, length: Duration) {
        self.sampling = SAMPLING.min(length / 20);
        let pace = LONGEST_PACE.min(length / 20);
        let end = self.scene.handle().elapsed() + length;
        while self.scene.handle().elapsed() < end {
            let fault = self.order.next(&mut self.random);
            *self.faults.entry(fault).or_default() += 1;
            self.begin_fault(fault);
            let pause = pace / 2 + pace * u32::try_from(self.random.below(1000)).unwrap() / 1000;
            self.watch_for(pause);
            self.end_fault(fault);
        }
    }

    /// Takes samples for this time.
    fn watch_for(&mut self, pause: Duration) {
        let until = self.scene.handle().elapsed() + pause;
        let is_over = || {
            let now = self.scene.handle().elapsed();
            if now >= self.next_sample {
                self.next_sample = now + self.sampling;
                self.sample();
            }
            now >= until
        };
        wait_within(pause + DEADLINE, "the end of a pause", is_over, String::new);
    }

    fn sample(&mut self) {
        let sample = Sample::take(self.relay.id(), self.setup.state());
        self.samples.push(sample.unwrap_or_else(|| panic!("the relay has ended: {}", self.end_of_log())));
        for path in ["/healthz", "/metrics"] {
            let answer = client::get(client::address(&self.relay), path);
            assert_eq!(answer.status, 200, "{path}: {answer:?}\n{}", self.end_of_log());
        }
    }

    fn begin_fault(&mut self, fault: Fault) {
        let handle = self.scene.handle();
        match fault {
            Fault::Kill => {
                self.relay.kill();
                self.start();
            }
            Fault::Restart => self.restart(),
            Fault::Reload => {
                self.generation += 1;
                self.write_configuration();
                self.signal("HUP", RELOADED);
            }
            Fault::InvalidReload => {
                self.scene.file("[poll]\nintervall = 7\n");
                self.signal("HUP", NOT_RELOADED);
                // A relay that is killed later must find a configuration that is valid.
                self.write_configuration();
            }
            Fault::NewApiKey => {
                self.secrets += 1;
                let next = handle.create_key(&format!("key-{}", self.secrets), None).unwrap();
                replace(&self.scene.dir().join("key"), &next.secret);
                handle.revoke_key(&std::mem::replace(&mut self.key, next.id));
            }
            Fault::NewToken => {
                self.secrets += 1;
                let said = self.relay.log().matches(SECRETS_READ_AGAIN).count();
                replace(&self.scene.dir().join("token"), &format!("token-{}", self.secrets));
                self.relay.wait_for_log_times(SECRETS_READ_AGAIN, said + 1);
            }
            Fault::FileMovedAway => {
                let moved = format!("lines-{}.jsonl", self.faults[&fault]);
                fs::rename(self.lines(), self.scene.dir().join(moved)).ok();
            }
            Fault::ReceiverDown => self.proxy.set(Manner::Reset),
            Fault::ReceiverFails => self.receivers_reply(|| Reply::status(503)),
            Fault::ReceiverLimits => self.receivers_reply(|| Reply::status(429).header("retry-after", "1")),
            // The status says that the message was not accepted.
            Fault::ReceiverHangs => self.receivers_reply(|| Reply { status: 503, ..Reply::never() }),
            Fault::ProgramFails => fs::write(self.scene.dir().join("program-fails"), "").unwrap(),
            Fault::ApiDown => handle.set_listening(false),
            Fault::ApiFails => self.api_acts(Rule::always(Effect::status(500))),
            Fault::ApiLimits => {
                // With the usual headers the relay would be silent until the end of the window.
                let limits = Rule::always(Effect::status(429)).and(Effect::RateHeaders(RateHeaders::Missing));
                self.api_acts(limits.and(Effect::RetryAfter("2".to_owned())));
            }
            Fault::ApiHangs => self.api_acts(Rule::always(Effect::Hang)),
            Fault::ApiSlow => self.api_acts(Rule::always(Effect::Latency(Duration::from_secs(2)))),
        }
    }

    fn end_fault(&self, fault: Fault) {
        match fault {
            Fault::ReceiverDown => self.proxy.set(Manner::Pass),
            Fault::ReceiverFails | Fault::ReceiverLimits | Fault::ReceiverHangs => {
                self.receivers_reply(|| Reply::status(200));
            }
            Fault::ProgramFails => fs::remove_file(self.scene.dir().join("program-fails")).unwrap(),
            Fault::ApiDown => self.scene.handle().set_listening(true),
            Fault::ApiFails | Fault::ApiLimits | Fault::ApiHangs | Fault::ApiSlow => self.scene.handle().clear_faults(),
            Fault::Kill
            | Fault::Restart
            | Fault::Reload
            | Fault::InvalidReload
            | Fault::NewApiKey
            | Fault::NewToken
            | Fault::FileMovedAway => {}
        }
    }

    fn api_acts(&self, rule: Rule) {
        self.scene.handle().add_fault(rule);
    }

    fn receivers_reply(&self, reply: impl Fn() -> Reply + Clone + Send + Sync + 'static) {
        for receiver in [&self.crm, &self.shop] {
            let reply = reply.clone();
            receiver.reply(move |_| reply());
        }
    }

    fn write_configuration(&self) {
        self.scene.file(&configuration(&self.scene, &self.proxy, [&self.shop, &self.extra], self.generation));
    }

    /// Sends a signal, and waits until the log has one more line with this text.
    fn signal(&self, name: &str, text: &str) {
        let said = self.relay.log().matches(text).count();
        self.relay.signal(name);
        self.relay.wait_for_log_times(text, said + 1);
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }

    fn stop(&mut self) {
        let ended = self.relay.stop();
        assert_eq!(ended.code(), Some(0), "{}", self.end_of_log());
    }

    /// Starts the next process, and waits until the process handles signals.
    fn start(&mut self) {
        self.log += &self.relay.log();
        self.relay = self.setup.start();
        client::address(&self.relay);
    }

    fn end_of_log(&self) -> String {
        let log = self.relay.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Ends the messages, waits until every delivery is settled, and stops the relay.
    pub(super) fn let_all_be_well(&mut self) {
        self.scene.handle().set_traffic(Traffic::default());
        // The next configuration that has all sinks.
        self.generation += if self.generation.is_multiple_of(2) { 1 } else { 2 };
        self.write_configuration();
        self.signal("HUP", RELOADED);
        let all = self.scene.handle().all_rows().len();
        let settled = || {
            let released = self.scene.count("SELECT ifnull(max(release_no), 0) FROM message");
            usize::try_from(released).unwrap() >= all
                && self.scene.count("SELECT count(*) FROM delivery WHERE state <> 'delivered'") == 0
        };
        wait_within(PATIENCE, "the last deliveries", settled, || self.end_of_log());
        self.stop();
        self.log += &self.relay.log();
    }

    fn lines(&self) -> PathBuf {
        self.scene.dir().join("lines.jsonl")
    }

    /// Returns the lines of all files that the file sink has written.
    pub(super) fn archived(&self) -> Vec<String> {
        let files = fs::read_dir(self.scene.dir()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.flat_map(|path| lines_of(&path)).collect()
    }

    /// Returns the ids of the messages that the program has accepted.
    pub(super) fn ran(&self) -> Vec<String> {
        lines_of(&self.scene.dir().join("ran"))
    }
}

impl Drop for Run {
    /// Keeps the log of a run that failed, in the directory for temporary files.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(format!("endurance-{:?}-{}.log", self.processes, std::process::id()));
            drop(fs::write(path, self.log.clone() + &self.relay.log()));
        }
    }
}

fn lines_of(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Writes the program of the sink `script`, which writes down the id of each message.
fn write_program(path: &Path, dir: &Path) {
    let dir = dir.display();
    let script =
        format!("#!/bin/sh\n[ -e '{dir}/program-fails' ] && exit 75\necho \"$JOLTSMS_MESSAGE_ID\" >> '{dir}/ran'\n");
    fs::write(path, script).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Puts a file in the place of another, as programs that rotate secrets do.
fn replace(path: &Path, content: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, content).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// Returns a configuration. Neighbouring generations differ in the sinks, in their keys and in polling. Odd
/// generations have the sink `extra`.
fn configuration(scene: &Scene, proxy: &ReverseProxy, [shop, extra]: [&Receiver; 2], generation: usize) -> String {
    let dir = scene.dir().display();
    let is_odd = !generation.is_multiple_of(2);
    let retry = "retry = { initial = \"200ms\", max = \"5s\", give_up_after = \"never\" }";
    let common = format!("concurrency = {}\n{retry}\n", if is_odd { CONCURRENCY } else { CONCURRENCY - 1 });
    let mut text = format!(
        "[api]\nurl = \"{}\"\nkey = {{ file = \"key\" }}\ntimeout = \"3s\"\n\n\
         [poll]\ninterval = \"{}ms\"\nstart = \"beginning\"\nlookback = \"1m\"\nsweep_interval = \"10s\"\n\n\
         [state]\nkeep_delivered = \"2m\"\n\n[log]\nlevel = \"debug\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [sinks.crm]\ntype = \"http\"\nurl = \"{}/hook\"\ntimeout = \"5s\"\n\
         auth = {{ bearer = {{ file = \"token\" }} }}\n{common}\n\
         [sinks.shop]\ntype = \"http\"\nurl = \"{}\"\ntimeout = \"5s\"\norder = \"number\"\n{common}\n\
         [sinks.archive]\ntype = \"file\"\npath = \"{dir}/lines.jsonl\"\n{common}\n\
         [sinks.script]\ntype = \"exec\"\ncommand = [\"{dir}/on-sms\"]\n{common}\n",
        scene.simulator().url(),
        1000 + generation % 4 * 100,
        proxy.url("http", None),
        shop.url(),
    );
    if is_odd {
        text += &format!("[sinks.extra]\ntype = \"http\"\nurl = \"{}\"\n{common}", extra.url());
    }
    text
}
