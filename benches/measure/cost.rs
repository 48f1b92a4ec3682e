//! Measures what a message costs, for states that already contain few or many messages. The yardsticks are the smallest
//! programs that could do the work: one that records nothing on disk, and one that records each message.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use joltsms_simulator::{Handle, NewMessage, Simulator};

use crate::ledger::Recording;
use crate::prepared::{Prepared, invent, prepare};
use crate::process::{load, median, memory, now, processor, written};
use crate::support::relay::{Relay, Setup};
use crate::support::servers::receiver::Receiver;
use crate::system_calls::{self, Calls};
use crate::{ledger, minimal};

/// The number of messages that come at once, after an hour in which no relay polled.
pub(crate) const NEW: usize = 20_000;

const CONCURRENCY: usize = 16;

/// The names of the yardsticks in the tables.
const MINIMAL: &str = "minimal";
const DURABLE: &str = "minimal durable";
/// The minimal durable program with workers that wait until their messages are recorded, as the relay's workers do.
const DURABLE_WAITING: &str = "minimal durable, workers wait";

const STARTS: usize = 11;

/// The default of `JOLTSMS_RELAY_BENCH_SIZES`: how many messages each state has before the new ones come.
const SIZES: &str = "10000,100000,1000000";

/// The default of `JOLTSMS_RELAY_BENCH_ROUNDS`: how often each measurement is made.
const ROUNDS: &str = "5";

const LIMIT: Duration = Duration::from_secs(300);

/// Returns the numbers in the variable `JOLTSMS_RELAY_BENCH_NAME`, or the default.
pub(crate) fn chosen(name: &str, default: &str) -> Vec<usize> {
    let text = std::env::var(format!("JOLTSMS_RELAY_BENCH_{name}")).unwrap_or_else(|_| default.to_owned());
    text.split(',').map(|number| number.parse().unwrap()).collect()
}

pub(crate) async fn measure() {
    let sizes = chosen("SIZES", SIZES);
    let rounds = chosen("ROUNDS", ROUNDS)[0];
    let receiver = Receiver::counting().await;
    let url = receiver.url();
    let began = now();
    let (simulator, mut states) = prepare(&sizes, |setup| settings(setup, &url)).await;
    println!("prepared in {:.0} s; load {}", began.elapsed().as_secs_f64(), load());

    println!("\n| stored | bytes each | start to first request | worst of {STARTS} | idle: memory | processor |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for state in &mut states {
        resting(&simulator, state).await;
    }
    println!("load {}", load());

    add_news(&simulator.handle());
    let (mut least, mut durable, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    let ledgers = Ledgers::prepare(sizes.iter().copied().min().unwrap_or(0)).await;
    let mut ours: Vec<Vec<Run>> = states.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        least.push(least_run(&simulator, &receiver, None).await);
        durable.push(least_run(&simulator, &receiver, Some((ledgers.fresh(), Recording::Later))).await);
        waiting.push(least_run(&simulator, &receiver, Some((ledgers.fresh(), Recording::First))).await);
        for (runs, state) in ours.iter_mut().zip(&mut states) {
            runs.push(relay_run(&receiver, state).await);
        }
        println!("\nround {round}, load {}", load());
        let runs = ours.iter().zip(&states).map(|(runs, state)| (state.stored.to_string(), &runs[round - 1]));
        let yardsticks = [(MINIMAL, &least), (DURABLE, &durable), (DURABLE_WAITING, &waiting)];
        let yardsticks = yardsticks.map(|(name, runs)| (name.to_owned(), &runs[round - 1]));
        for (name, run) in yardsticks.into_iter().chain(runs) {
            println!("  {name}: {:.0} messages/s, {:.1} µs a message", run.rate(), run.processor_us());
        }
    }
    let [minimal, with_ledger] = [&least, &durable].map(|runs| median(runs.iter().map(Run::processor_us)));
    println!("\n{NEW} new messages, concurrency {CONCURRENCY}, medians of {rounds} rounds\n");
    println!(
        "| stored | messages/s | while delivering | processor a message | times the minimal durable | times the minimal | written a message | peak memory |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, runs) in [(MINIMAL, &least), (DURABLE, &durable), (DURABLE_WAITING, &waiting)]
        .map(|(name, runs)| (name.to_owned(), runs))
        .into_iter()
        .chain(states.iter().map(|state| state.stored.to_string()).zip(&ours))
    {
        let of = |value: fn(&Run) -> f64| median(runs.iter().map(value));
        println!(
            "| {name} | {:.0} | {:.0} | {:.1} µs | {:.2} | {:.2} | {:.0} bytes | {:.1} MiB |",
            of(Run::rate),
            of(|run| f64::from(run.count) / (run.all - run.first).as_secs_f64()),
            of(Run::processor_us),
            of(Run::processor_us) / with_ledger,
            of(Run::processor_us) / minimal,
            of(|run| run.written / f64::from(run.count)),
            of(|run| run.peak),
        );
    }

    match system_calls::available() {
        Ok(()) => {
            println!(
                "\n| stored | flushes a message | written to the journal | to the database |\n|---:|---:|---:|---:|"
            );
            for state in &mut states {
                let calls = traced(&simulator, &receiver, state).await;
                let each = |number: u64| per(number, NEW);
                println!(
                    "| {} | {:.3} | {:.0} bytes | {:.0} bytes |",
                    state.stored,
                    each(calls.flushes),
                    each(calls.log_bytes),
                    each(calls.database_bytes)
                );
            }
        }
        Err(why) => println!("\nflushes were not counted: {why}"),
    }
    println!("load {}", load());
}

pub(crate) fn settings(setup: Setup, receiver: &str) -> Setup {
    setup
        .sink(receiver)
        .set("SINKS__CRM__CONCURRENCY", &CONCURRENCY.to_string())
        .set("API__REQUESTS_PER_MINUTE", "10000")
        .set("STATE__KEEP_DELIVERED", "forever")
        .set("POLL__START", "beginning")
}

/// Adds the messages of the last hour. This hour begins where the prepared states end.
pub(crate) fn add_news(handle: &Handle) {
    let from = handle.now() - SignedDuration::from_mins(59);
    let gap = SignedDuration::from_mins(59) / i32::try_from(NEW).unwrap();
    let at = |place: usize| -> Timestamp { from + gap * i32::try_from(place).unwrap() };
    let numbers: Vec<String> = handle.numbers().into_iter().map(|number| number.id).collect();
    handle.add_many((0..NEW).map(|place| {
        let message = NewMessage::new().number(&numbers[place % numbers.len()]);
        message.received_at(at(place)).ingested_at(at(place))
    }));
}

/// The measurements of one process that delivered all the new messages.
pub(crate) struct Run {
    count: u32,
    first: Duration,
    all: Duration,
    processor: Duration,
    written: f64,
    peak: f64,
}

impl Run {
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.count) / self.all.as_secs_f64()
    }

    pub(crate) fn processor_us(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / f64::from(self.count)
    }
}

/// Measures a process that was started just now, until the receiver has all new messages.
pub(crate) async fn run(id: u32, receiver: &Receiver) -> Run {
    let (began, before) = (now(), receiver.count());
    receiver.wait_for(before + 1, LIMIT).await;
    let first = began.elapsed();
    receiver.wait_for(before + NEW, LIMIT).await;
    let all = began.elapsed();
    let count = u32::try_from(NEW).unwrap();
    Run { count, first, all, processor: processor(id), written: written(id), peak: memory(id, "VmHWM") }
}

/// The files of the minimal durable program: one file that is kept, and the copy that a run uses.
struct Ledgers(tempfile::TempDir);

impl Ledgers {
    /// Makes a file with this many stored messages.
    async fn prepare(stored: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<ledger::Row> =
            invent(stored).await.into_iter().map(|row| (row.id, row.json.into_bytes())).collect();
        ledger::prepare(&dir.path().join("kept.db"), &rows);
        Self(dir)
    }

    fn fresh(&self) -> PathBuf {
        let file = self.0.path().join("ledger.db");
        for suffix in ["-wal", "-shm"] {
            drop(std::fs::remove_file(self.0.path().join(format!("ledger.db{suffix}"))));
        }
        std::fs::copy(self.0.path().join("kept.db"), &file).unwrap();
        std::fs::File::open(&file).unwrap().sync_all().unwrap();
        file
    }
}

async fn least_run(simulator: &Simulator, receiver: &Receiver, ledger: Option<(PathBuf, Recording)>) -> Run {
    let ledger = ledger.as_ref().map(|(path, recording)| (path.as_path(), *recording));
    let mut child = minimal::start(simulator, &receiver.url(), NEW, CONCURRENCY, ledger);
    let run = run(child.id(), receiver).await;
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    run
}

async fn relay_run(receiver: &Receiver, state: &mut Prepared) -> Run {
    let before = receiver.count();
    let mut relay = state.fresh().start();
    let run = run(relay.id(), receiver).await;
    assert!(relay.stop().success());
    assert_eq!(receiver.count() - before, NEW, "each once");
    run
}

async fn traced(simulator: &Simulator, receiver: &Receiver, state: &mut Prepared) -> Calls {
    let before = receiver.count();
    state.fresh();
    let file = state.dir().join("calls");
    let traced = Setup::by(system_calls::tracing(&file, env!("CARGO_BIN_EXE_joltsms-relay")), state.dir())
        .env("PATH", "/usr/bin:/bin")
        .env("JOLTSMS_API_URL", &simulator.url())
        .env("JOLTSMS_API_KEY", &simulator.key());
    let mut relay = settings(traced, &receiver.url()).start();
    receiver.wait_for(before + NEW, LIMIT).await;
    stop_traced(&mut relay);
    system_calls::read(&file)
}

/// Stops a traced relay. The signal must go to the relay, which is the tracer's child.
fn stop_traced(relay: &mut Relay) {
    let tracer = relay.id();
    let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap();
    let child = children.split_whitespace().next().unwrap();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", child]).status().unwrap().success());
    assert!(relay.wait().success());
}

fn per(number: u64, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (number, count) = (number as f64, count as f64);
    number / count
}

/// Measures the start, and the resources that an idle relay takes.
async fn resting(simulator: &Simulator, state: &mut Prepared) {
    let handle = simulator.handle();
    let setup = state.fresh();
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let asked = handle.counters().requests;
        let began = now();
        let mut relay = setup.start();
        handle.wait_until(LIMIT, |handle| handle.counters().requests > asked).await.unwrap();
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        assert!(relay.stop().success());
        std::fs::remove_file(setup.state().join("budget.ring")).unwrap();
    }
    let worst = starts.iter().copied().fold(0.0, f64::max);
    let mut relay = state.setup().start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = processor(relay.id());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let spent = processor(relay.id()) - before;
    println!(
        "| {} | {:.0} | {:.1} ms | {worst:.1} ms | {:.1} MiB | {:.2} % |",
        state.stored,
        per(state.bytes(), state.stored),
        median(starts),
        memory(relay.id(), "VmRSS"),
        spent.as_secs_f64() * 10.0,
    );
    assert!(relay.stop().success());
}
