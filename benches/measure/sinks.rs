//! Measures how many messages a second each type of sink delivers. Sinks of type `http` are measured for comparison.
//!
//! Each type gets a backlog. The relay reads the backlog first; then the measurement begins with the first delivery
//! that is recorded as delivered, and ends with the last one. A type whose server is not installed is skipped, and a
//! line says so.
//!
//! | variable | what it holds |
//! |---|---|
//! | `JOLTSMS_RELAY_BENCH_SINK` | the keys of one more sink, in TOML |
//! | `JOLTSMS_RELAY_BENCH_TYPES` | the types that are measured, with commas between them; without it, all types |
//! | `JOLTSMS_RELAY_BENCH_MESSAGES` | the largest backlog, for a quick try |

use std::path::Path;
use std::time::Duration;

use joltsms_relay::sinks::KNOWN_TYPES;
use joltsms_simulator::{Options, Simulator};
use rusqlite::{Connection, OpenFlags};

use crate::process::{load, median, memory, now, processor};
use crate::support::relay::Setup;
#[cfg(feature = "sink-kafka")]
use crate::support::servers::kafka::KafkaCluster;
#[cfg(feature = "sink-mqtt")]
use crate::support::servers::mosquitto::Mosquitto;
#[cfg(feature = "sink-nats")]
use crate::support::servers::nats::NatsServer;
#[cfg(feature = "sink-postgres")]
use crate::support::servers::postgres::PostgresDatabase;
#[cfg(feature = "sink-amqp")]
use crate::support::servers::rabbitmq::RabbitMq;
use crate::support::servers::receiver::{Receiver, Reply};
#[cfg(feature = "sink-smtp")]
use crate::support::servers::smtp::MailServer;

/// The size of the backlog. A backlog of at most this size is released at once, when all of it has been read.
const MESSAGES: usize = 10_000;

/// The backlog for types that are slow: `exec` starts a program for each message, and some servers take their time.
const FEW_MESSAGES: usize = 1_000;

const ROUNDS: u64 = 3;

const LIMIT: Duration = Duration::from_secs(300);

/// One type of sinks.
struct Trial {
    name: String,
    messages: usize,
    /// The keys of the sink, in TOML.
    keys: String,
}

/// The figures of one run.
struct Run {
    rate: f64,
    processor_us: f64,
    peak: f64,
}

impl Trial {
    /// A trial of the type `name` with further keys of the sink.
    fn new(name: &str, messages: usize, keys: &str) -> Self {
        Self { name: name.to_owned(), messages, keys: format!("type = \"{name}\"\n{keys}") }
    }
}

/// Which types are measured, and with how many messages at most.
struct Choice {
    types: Option<Vec<String>>,
    most: usize,
}

impl Choice {
    fn of_environment() -> Self {
        let types = std::env::var("JOLTSMS_RELAY_BENCH_TYPES").ok();
        let most = std::env::var("JOLTSMS_RELAY_BENCH_MESSAGES").ok();
        Self {
            types: types.map(|types| types.split(',').map(str::to_owned).collect()),
            most: most.map_or(usize::MAX, |most| most.parse().unwrap()),
        }
    }

    fn takes(&self, name: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.iter().any(|chosen| chosen == name))
    }
}

pub(crate) async fn measure() {
    let choice = Choice::of_environment();
    println!("concurrency 8, medians of {ROUNDS} rounds; load {}\n", load());
    println!("| type | messages | messages/s | processor a message | peak memory |");
    println!("|---|---:|---:|---:|---:|");
    measure_without_servers(&choice).await;
    measure_servers(&choice).await;
    if let Ok(keys) = std::env::var("JOLTSMS_RELAY_BENCH_SINK") {
        let name = "JOLTSMS_RELAY_BENCH_SINK".to_owned();
        measure_type(&choice, Trial { name, messages: MESSAGES, keys }).await;
    }
    println!("\nload {}", load());
}

/// Measures the types that need no server, or a web server of this process.
async fn measure_without_servers(choice: &Choice) {
    let (receiver, telegram) = (Receiver::counting().await, Receiver::counting().await);
    telegram.reply(|_| Reply { body: r#"{"ok":true,"result":{}}"#.into(), ..Reply::status(200) });
    let files = tempfile::tempdir().unwrap();
    let (url, path) = (receiver.url(), files.path().join("messages.jsonl"));
    let bot = format!("url = \"{}\"\ntoken = {{ env = \"BENCH_TOKEN\" }}\nchat = \"-100123\"", telegram.url());
    for trial in [
        Trial::new("http", MESSAGES, &format!("url = \"{url}\"")),
        Trial::new("stdout", MESSAGES, ""),
        Trial::new("file", MESSAGES, &format!("path = \"{}\"", path.display())),
        Trial::new("exec", FEW_MESSAGES, "command = [\"/bin/cat\"]"),
        Trial::new("telegram", MESSAGES, &bot),
        Trial::new("ntfy", MESSAGES, &format!("url = \"{url}\"\ntopic = \"codes\"")),
        Trial::new("apprise", MESSAGES, &format!("url = \"{url}\"")),
    ] {
        measure_type(choice, trial).await;
    }
}

/// Measures the types that need a server, each while its own server is the only one that runs.
async fn measure_servers(choice: &Choice) {
    let is_there = |name: &str, is_installed: fn() -> bool| {
        let is_there = choice.takes(name) && is_installed();
        if choice.takes(name) && !is_there {
            println!("| `{name}` | | skipped: its server is not installed | | |");
        }
        is_there
    };
    #[cfg(feature = "sink-mqtt")]
    if is_there("mqtt", Mosquitto::is_installed) {
        let dir = tempfile::tempdir().unwrap();
        let broker = Mosquitto::start(dir.path(), "allow_anonymous true");
        let keys = format!("url = \"{}\"\ntopic = \"sms/{{{{ message.to }}}}\"", broker.url());
        measure_type(choice, Trial::new("mqtt", MESSAGES, &keys)).await;
    }
    #[cfg(feature = "sink-smtp")]
    if is_there("smtp", MailServer::is_installed) {
        let dir = tempfile::tempdir().unwrap();
        let server = MailServer::start(dir.path(), &[]);
        let addresses = "from = \"sms@example.com\"\nto = \"ops@example.com\"";
        let keys = format!("url = \"smtp://{}\"\n{addresses}", server.address());
        measure_type(choice, Trial::new("smtp", FEW_MESSAGES, &keys)).await;
    }
    #[cfg(feature = "sink-postgres")]
    if is_there("postgres", PostgresDatabase::is_installed) {
        let dir = tempfile::tempdir().unwrap();
        let database = PostgresDatabase::start(dir.path());
        database.query(
            "CREATE TABLE sms (id text PRIMARY KEY, received_at timestamptz, sender text, recipient text, code text,
                               payload text)",
        );
        let keys = format!("url = \"{}\"\ntable = \"sms\"", database.url());
        measure_type(choice, Trial::new("postgres", MESSAGES, &keys)).await;
    }
    #[cfg(feature = "sink-nats")]
    if is_there("nats", NatsServer::is_installed) {
        let dir = tempfile::tempdir().unwrap();
        let server = NatsServer::start_with_stream(dir.path());
        let keys = format!("url = \"{}\"\nsubject = \"sms.{{{{ message.to }}}}\"", server.url("nats", ""));
        measure_type(choice, Trial::new("nats", MESSAGES, &keys)).await;
    }
    #[cfg(feature = "sink-amqp")]
    if is_there("amqp", RabbitMq::is_installed) {
        let dir = tempfile::tempdir().unwrap();
        let broker = RabbitMq::start(dir.path());
        broker.channel().make_queue("sms", &[]);
        let url = broker.url("", "");
        let keys = format!("url = \"{url}\"\nexchange = \"sms\"\nrouting_key = \"{{{{ message.to }}}}\"");
        measure_type(choice, Trial::new("amqp", MESSAGES, &keys)).await;
    }
    // The broker is a part of this process, and not a real Kafka server. So the figure shows only the cost of the
    // relay's side.
    #[cfg(feature = "sink-kafka")]
    if is_there("kafka", || true) {
        let cluster = KafkaCluster::start("sms");
        let keys = format!("brokers = \"{}\"\ntopic = \"sms\"", cluster.brokers());
        measure_type(choice, Trial::new("kafka", MESSAGES, &keys)).await;
    }
}

/// Measures one type, and prints its line of the table.
async fn measure_type(choice: &Choice, mut trial: Trial) {
    if !choice.takes(&trial.name) {
        return;
    }
    if KNOWN_TYPES.iter().any(|known| known.name() == trial.name && known.lacking.is_some()) {
        println!("| `{}` | | skipped: this build lacks it | | |", trial.name);
        return;
    }
    trial.messages = trial.messages.min(choice.most);
    let mut runs = Vec::new();
    for round in 0..ROUNDS {
        runs.push(run(&trial, round).await);
    }
    let of = |value: fn(&Run) -> f64| median(runs.iter().map(value));
    println!(
        "| `{}` | {} | {:.0} | {:.0} µs | {:.1} MiB |",
        trial.name,
        trial.messages,
        of(|run| run.rate),
        of(|run| run.processor_us),
        of(|run| run.peak)
    );
}

/// Runs a relay until it has delivered the backlog. Each round has other messages than the rounds before, because some
/// servers drop messages that they know.
async fn run(trial: &Trial, round: u64) -> Run {
    let simulator = Simulator::start(Options { seed: round, ..Options::default() }).await.unwrap();
    let handle = simulator.handle();
    handle.set_switches(|switches| switches.limit = 1_000_000_000);
    handle.add_history(trial.messages, Duration::from_secs(86_400));
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, format!("[sinks.measured]\n{}\n", trial.keys)).unwrap();
    let mut relay = Setup::new(&simulator, dir.path())
        .set("API__REQUESTS_PER_MINUTE", "1000000")
        .set("POLL__START", "beginning")
        .env("BENCH_TOKEN", "123:BENCH")
        .args(&["--config", &config.display().to_string()])
        .start();
    let began = now();
    let (mut first, mut before) = (began, 0);
    loop {
        assert!(began.elapsed() < LIMIT, "{}: {}", trial.name, relay.log());
        tokio::time::sleep(Duration::from_millis(25)).await;
        let delivered = delivered(dir.path());
        if before == 0 {
            (first, before) = (now(), delivered);
        }
        if delivered == trial.messages {
            break;
        }
    }
    let seconds = first.elapsed().as_secs_f64();
    let (spent, peak) = (processor(relay.id()), memory(relay.id(), "VmHWM"));
    assert!(relay.stop().success(), "{}", relay.log());
    let count = |number: usize| f64::from(u32::try_from(number).unwrap());
    Run {
        rate: count(trial.messages - before) / seconds,
        processor_us: spent.as_secs_f64() * 1e6 / count(trial.messages),
        peak,
    }
}

/// Counts the deliveries that are recorded as delivered; 0 if there is no state yet.
fn delivered(dir: &Path) -> usize {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(state) = Connection::open_with_flags(dir.join("state/state.db"), flags) else { return 0 };
    let count = "SELECT count(*) FROM delivery WHERE state = 'delivered'";
    state.query_row(count, [], |row| row.get::<_, i64>(0)).map_or(0, |count| usize::try_from(count).unwrap())
}
