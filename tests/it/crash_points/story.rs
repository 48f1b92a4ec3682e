//! A story: what happens to a relay until it is killed, and after it was started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use joltsms_simulator::{Effect, NewMessage, NewNumber, Options, Rule};
use nix::sys::wait::WaitStatus;

use super::records::{Records, State};
use super::tracer::{Ended, Plan, Traced};
use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_within;

/// The longest wait of a story. The relay may have to wait a minute for the budget, and another minute for maintenance.
const PATIENCE: Duration = Duration::from_secs(200);

/// The sinks, each with the number of concurrent deliveries to it.
pub(crate) const SINKS: [(&str, usize); 2] = [("crm", 4), ("out", 8)];

/// The id of a message that is added once every other message has arrived, to show that the relay goes on.
const AFTERWARDS: &str = "afterwards";

/// A story in which the relay is killed at some point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Story {
    /// The name that docs/guarantees.md uses.
    pub(crate) name: &'static str,
    /// `api.requests_per_minute`.
    pub(crate) budget: usize,
    /// The number of messages at the end of the story.
    pub(crate) messages: usize,
    /// The ids of the messages that the receiver never accepts.
    pub(crate) refused: &'static [&'static str],
    /// The ids of the messages that the receiver accepts at the second attempt.
    pub(crate) flaky: &'static [&'static str],
    /// How long the receiver takes to answer.
    pub(crate) takes: Duration,
    /// Further settings of the relay, each with its name and value.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// The number of rows on a page of the API.
    pub(crate) page: usize,
    /// Prepares the stage before the relay is traced.
    pub(crate) before: fn(&Stage),
    /// Whether calls count now.
    pub(crate) counts: fn(&Stage) -> bool,
    /// Only calls on files and peers count whose names begin with one of these texts.
    pub(crate) targets: &'static [&'static str],
    /// Whether SIGTERM is to be sent now, if the relay lives until then.
    pub(crate) stops: fn(&Stage) -> bool,
}

/// The default values of a story.
pub(crate) const PLAIN: Story = Story {
    name: "",
    budget: 10_000,
    messages: 0,
    refused: &[],
    flaky: &[],
    takes: Duration::from_millis(2),
    settings: &[],
    page: 10,
    before: |_| {},
    counts: |_| true,
    targets: &["state", "lines.jsonl", "the receiver", "the API"],
    stops: |stage| stage.is_complete(stage.story.messages),
};

/// The API, the receiver and the files of a story.
pub(crate) struct Stage {
    story: &'static Story,
    pub(crate) scene: Scene,
    pub(crate) receiver: Receiver,
    /// The deliveries that were settled before the relay was traced. `began` is when the tracing began.
    settled: BTreeSet<(String, String)>,
    began: Instant,
}

/// The observations of one run of a story.
pub(crate) struct Seen {
    pub(crate) story: &'static Story,
    /// The deliveries that were settled before the relay was traced, and the state at that time.
    pub(crate) settled: BTreeSet<(String, String)>,
    pub(crate) state_before: State,
    /// The end of the first life, which was traced, and its log.
    pub(crate) first: Ended,
    pub(crate) log: String,
    /// The messages that had arrived when the first life ended, and the state at that time.
    pub(crate) at_death: Records,
    pub(crate) state_at_death: State,
    /// Whether the relay had been told to stop.
    pub(crate) stopping: bool,
    /// The messages that had arrived after the second life, the state at that time, and the log of the second life.
    pub(crate) at_end: Records,
    pub(crate) state_at_end: State,
    pub(crate) second_log: String,
    /// The messages of the API: id and JSON text.
    pub(crate) messages: BTreeMap<String, String>,
    /// The most API requests in any minute. `too_many` is the number of requests that were refused.
    pub(crate) busiest_minute: usize,
    pub(crate) too_many: u64,
}

impl Stage {
    fn new(story: &'static Story) -> Self {
        let mut options = Options { numbers: 2, ..Options::default() };
        options.switches.limit = 100_000;
        options.switches.page_cap = story.page;
        let receiver = Receiver::in_background();
        let attempts = Mutex::new(BTreeMap::<String, usize>::new());
        receiver.reply_to(move |id| {
            let mut attempts = attempts.lock().unwrap();
            let attempt = attempts.entry(id.to_owned()).or_default();
            *attempt += 1;
            let failed = story.refused.contains(&id) || story.flaky.contains(&id) && *attempt == 1;
            Reply { delay: story.takes, ..Reply::status(if failed { 503 } else { 200 }) }
        });
        Self { story, scene: Scene::of(options), receiver, settled: BTreeSet::new(), began: now() }
    }

    /// Returns the relay of this story.
    fn setup(&self) -> Setup {
        let mut setup = self
            .scene
            .setup_from_beginning()
            .sink(&self.receiver.url())
            .set("SINKS__CRM__CONCURRENCY", &SINKS[0].1.to_string())
            .set("SINKS__CRM__RETRY__INITIAL", "200ms")
            .set("SINKS__CRM__RETRY__MAX", "2s")
            .set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "4s")
            .set("SINKS__OUT__TYPE", "stdout")
            .set("API__REQUESTS_PER_MINUTE", &self.story.budget.to_string())
            .set("POLL__INTERVAL", "200ms")
            .set("POLL__LOOKBACK", "1m");
        for (key, value) in self.story.settings {
            setup = setup.set(key, value);
        }
        setup
    }

    /// Adds messages that were received this many days ago, a minute apart, oldest first. The ids of the messages
    /// contain their places.
    pub(crate) fn add_past(&self, days: i64, name: &str, count: i64) {
        let then = self.scene.handle().now() - SignedDuration::from_hours(24 * days);
        let message = |place: i64| {
            let time = then + SignedDuration::from_secs(60 * place);
            NewMessage::new().id(format!("{name}-{place:02}")).received_at(time).ingested_at(time)
        };
        self.scene.handle().add_many((0..count).map(message));
    }

    /// Makes messages appear with a later request to the API.
    pub(crate) fn add_at_request(&self, request: u64, name: &str, count: usize) {
        let messages = (0..count).map(|place| NewMessage::new().id(format!("{name}-{place:02}"))).collect();
        self.scene.handle().add_fault(Rule::once(Effect::Add(messages)).path("/v1/messages").from_nth(request));
    }

    /// Makes a message appear with a later request to the API, dated this long before that request.
    pub(crate) fn add_late_at_request(&self, request: u64, ago: Duration) {
        self.scene.handle().add_fault(Rule::once(Effect::LateRow(ago)).path("/v1/messages").from_nth(request));
    }

    /// Uses a state file of an earlier version, and makes the API show the messages of that state.
    pub(crate) fn take_over(&self, file: &str) {
        let state = self.scene.dir().join("state");
        fs::create_dir(&state).unwrap();
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file), state.join("state.db"))
            .unwrap();
        let connection = self.scene.state();
        let mut messages = connection.prepare("SELECT raw FROM message ORDER BY time").unwrap();
        for raw in messages.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap) {
            let raw: serde_json::Value = serde_json::from_str(&raw).unwrap();
            let text = |name: &str| raw[name].as_str().map(str::to_owned);
            let time = |name: &str| text(name).unwrap().parse().ok();
            let number = NewNumber { id: text("numberId"), phone_number: text("to"), ..NewNumber::default() };
            self.scene.handle().add_number(number);
            self.scene.handle().add(NewMessage {
                id: text("id"),
                number: text("to"),
                from: text("from"),
                body: text("body"),
                code: text("parsedCode"),
                received_at: time("receivedAt"),
                ingested_at: time("ingestedAt"),
                ..NewMessage::default()
            });
        }
    }

    /// Runs a relay that is not traced until it has delivered this many messages in all.
    pub(crate) fn deliver(&self, messages: usize) {
        let mut relay = self.setup().start_with_stdout(self.append());
        wait_within(PATIENCE, "what comes before", || self.is_complete(messages), || relay.log());
        assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    }

    /// Returns how long the relay has been traced.
    pub(crate) fn age(&self) -> Duration {
        now().saturating_duration_since(self.began)
    }

    /// Returns the path of the file of lines.
    pub(crate) fn lines(&self) -> PathBuf {
        self.scene.dir().join("lines.jsonl")
    }

    /// Opens the file of lines as `>>` does.
    fn append(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.lines()).unwrap()
    }

    /// Whether this many messages have reached their sinks, and the state records that.
    fn is_complete(&self, messages: usize) -> bool {
        let expected = 2 * messages - self.story.refused.len();
        let come = self.receiver.count() + Records::count_lines(&self.lines());
        if come + self.settled.len() < expected {
            return false;
        }
        let settled = self.settled.iter().cloned();
        let waiting = "SELECT count(*) FROM delivery JOIN sink ON id = sink
                       WHERE active = 1 AND state IN ('fresh', 'retry')";
        Records::of(self).counts().into_keys().chain(settled).collect::<BTreeSet<_>>().len() >= expected
            && self.scene.count(waiting) == 0
    }

    fn port_of_the_api(&self) -> u16 {
        self.scene.simulator().url().rsplit(':').next().unwrap().parse().unwrap()
    }
}

impl Story {
    /// Plays the story. The relay is killed at `point`; without a point it is not killed.
    pub(crate) fn play(&'static self, point: Option<usize>) -> Seen {
        let mut stage = Stage::new(self);
        (self.before)(&stage);
        let state_before = State::copy_of(stage.scene.dir());
        stage.settled = state_before.settled(SINKS.map(|(name, _)| name));
        stage.began = now();

        let (first, log, stopping) = stage.first_life(point);
        let at_death = Records::of(&stage);
        let state_at_death = State::copy_of(stage.scene.dir());
        let second_log = stage.second_life(&log);

        let handle = stage.scene.handle();
        Seen {
            story: self,
            settled: stage.settled.clone(),
            state_before,
            first,
            log,
            at_death,
            state_at_death,
            stopping,
            at_end: Records::of(&stage),
            state_at_end: State::copy_of(stage.scene.dir()),
            second_log,
            messages: handle.all_rows().into_iter().map(|row| (row.id, row.json)).collect(),
            busiest_minute: handle.max_requests_in_any(Duration::from_secs(60)),
            too_many: handle.counters().by_status.get(&429).copied().unwrap_or(0),
        }
    }
}

impl Stage {
    /// Runs the relay traced until it is killed or stopped. Returns how it ended, its log, and whether it was told to
    /// stop.
    fn first_life(&self, point: Option<usize>) -> (Ended, String, bool) {
        let counting = Arc::new(AtomicBool::new(false));
        let plan = Plan {
            directory: self.scene.dir().to_owned(),
            peers: vec![(self.receiver.address().port(), "the receiver"), (self.port_of_the_api(), "the API")],
            targets: self.story.targets,
            counting: Arc::clone(&counting),
            point,
        };
        let count = || counting.store((self.story.counts)(self), Ordering::Relaxed);
        count();
        let traced = Traced::start(&self.setup(), self.append(), plan);
        let mut stopping = false;
        wait_within(
            PATIENCE,
            "the end of the first life",
            || {
                count();
                if !stopping && !traced.is_over() && (self.story.stops)(self) {
                    stopping = true;
                    traced.terminate();
                }
                traced.is_over()
            },
            || traced.log(),
        );
        let log = traced.log();
        let first = traced.join();
        let ended_well = first.killed.is_some() || matches!(first.status, WaitStatus::Exited(_, 0));
        assert!(ended_well, "{:?}\n{log}", first.status);
        self.receiver.wait_for_silence();
        (first, log, stopping)
    }

    /// Runs the relay without a tracer until every message has arrived. Returns its log.
    fn second_life(&self, first_log: &str) -> String {
        let mut relay = self.setup().start_with_stdout(self.append());
        let complete = |messages| {
            let log = || format!("{first_log}\n--\n{}", relay.log());
            wait_within(PATIENCE, "everything after the kill", || self.is_complete(messages), log);
        };
        complete(self.story.messages);
        self.scene.handle().add(NewMessage::new().id(AFTERWARDS));
        complete(self.story.messages + 1);
        // The relay would send a request at once if it wrongly believed that the budget allows a request.
        let more = |handle: &joltsms_simulator::Handle| handle.counters().requests > self.story.budget as u64;
        self.scene.handle().wait_until_blocking(Duration::from_millis(300), more).ok();
        assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
        self.receiver.wait_for_silence();
        relay.log()
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> Instant {
    Instant::now()
}
