//! Measures how many messages a second each type of sinks delivers, beside sinks of type `http`.
//!
//! Each type gets the same backlog. It is read first; then the measurement begins with the first delivery that is recorded
//! as delivered, and ends with the last one. Types that need a server are measured if the server is installed.
//! `JOLTSMS_RELAY_BENCH_SINK` holds the keys of one more sink, in TOML.

use std::path::Path;
use std::time::Duration;

use joltsms_simulator::{Options, Simulator};
use rusqlite::{Connection, OpenFlags};

use crate::process::{load, median, memory, now, processor};
use crate::support::relay::Setup;
use crate::support::servers::mosquitto::Mosquitto;
use crate::support::servers::postgres::PostgresDatabase;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::servers::smtp::MailServer;

/// The size of the backlog. A backlog of at most this size is released at once, when all of it has been read.
const MESSAGES: usize = 10_000;

/// The backlog for types that are slow: `exec` starts a program for each message, and some servers take their time.
const FEW_MESSAGES: usize = 1_000;

const ROUNDS: usize = 3;

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

pub(crate) async fn measure() {
    let (receiver, telegram) = (Receiver::counting().await, Receiver::counting().await);
    telegram.reply(|_| Reply { body: r#"{"ok":true,"result":{}}"#.into(), ..Reply::status(200) });
    let files = tempfile::tempdir().unwrap();
    let (url, path) = (receiver.url(), files.path().join("messages.jsonl"));
    let trial = |name: &str, messages, keys: String| Trial {
        name: name.to_owned(),
        messages,
        keys: format!("type = \"{name}\"\n{keys}"),
    };
    let mut trials = vec![
        trial("http", MESSAGES, format!("url = \"{url}\"")),
        trial("stdout", MESSAGES, String::new()),
        trial("file", MESSAGES, format!("path = \"{}\"", path.display())),
        trial("exec", FEW_MESSAGES, "command = [\"/bin/cat\"]".to_owned()),
        trial(
            "telegram",
            MESSAGES,
            format!("url = \"{}\"\ntoken = {{ env = \"BENCH_TOKEN\" }}\nchat = \"-100123\"", telegram.url()),
        ),
        trial("ntfy", MESSAGES, format!("url = \"{url}\"\ntopic = \"codes\"")),
        trial("apprise", MESSAGES, format!("url = \"{url}\"")),
    ];
    // The servers live until the end of the measurement.
    let broker = Mosquitto::is_installed().then(|| Mosquitto::start(files.path(), "allow_anonymous true"));
    if let Some(broker) = &broker {
        trials.push(trial(
            "mqtt",
            MESSAGES,
            format!("url = \"{}\"\ntopic = \"sms/{{{{ message.to }}}}\"", broker.url()),
        ));
    }
    let mail = MailServer::is_installed().then(|| MailServer::start(files.path(), &[]));
    if let Some(mail) = &mail {
        let keys = "from = \"sms@example.com\"\nto = \"ops@example.com\"";
        trials.push(trial("smtp", FEW_MESSAGES, format!("url = \"smtp://{}\"\n{keys}", mail.address())));
    }
    let database = PostgresDatabase::is_installed().then(|| PostgresDatabase::start(files.path()));
    if let Some(database) = &database {
        database.query(
            "CREATE TABLE sms (id text PRIMARY KEY, received_at timestamptz, sender text, recipient text, code text,
                               payload text)",
        );
        trials.push(trial("postgres", MESSAGES, format!("url = \"{}\"\ntable = \"sms\"", database.url())));
    }
    if let Ok(keys) = std::env::var("JOLTSMS_RELAY_BENCH_SINK") {
        trials.push(Trial { name: "JOLTSMS_RELAY_BENCH_SINK".to_owned(), messages: MESSAGES, keys });
    }
    println!("concurrency 8, medians of {ROUNDS} rounds; load {}\n", load());
    println!("| type | messages | messages/s | processor a message | peak memory |");
    println!("|---|---:|---:|---:|---:|");
    for trial in &trials {
        let mut runs = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(run(trial).await);
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
    println!("\nload {}", load());
}

async fn run(trial: &Trial) -> Run {
    let simulator = Simulator::start(Options::default()).await.unwrap();
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
