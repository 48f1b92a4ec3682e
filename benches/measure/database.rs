//! Measures what a state in a PostgreSQL database costs, compared with a state in a file on the same machine. Runs on
//! the file and runs on the database take turns, so other work on the machine slows both down.

use std::time::Duration;

use joltsms_relay::domain::{DeliveryClass, Insert, Marks, PollChange, Row, RowStanding, Seq, UnixMs};
use joltsms_relay::secret::Secret;
use joltsms_relay::store::{self, Database, LeaseOffer, SinkSetup, Spool, Store};
use joltsms_simulator::Simulator;

use crate::cost::{NEW, Run, add_news, chosen, run, settings};
use crate::prepared::{Prepared, prepare};
use crate::process::{load, median, now};
use crate::support::postgres::PostgresServer;
use crate::support::processes::processor_with_children;
use crate::support::relay::Setup;
use crate::support::servers::receiver::Receiver;

/// The default of `JOLTSMS_RELAY_BENCH_SIZES`: how many messages each state has before the new ones come.
const SIZES: &str = "10000,1000000";

/// The default of `JOLTSMS_RELAY_BENCH_ROUNDS`: how often each measurement is made.
const ROUNDS: &str = "3";

/// How many pages are committed to each state, with a new message each.
const COMMITS: i64 = 2_000;

/// How long a copy of a state may take.
const COPY: Duration = Duration::from_secs(3_600);

/// The schema of the states.
const NAMESPACE: &str = "joltsms_relay";

pub(crate) async fn measure() {
    if !cfg!(feature = "replicas") {
        return println!("this measurement needs --features replicas");
    }
    let Some(server) = PostgresServer::durable() else { return println!("no PostgreSQL server is installed") };
    let (sizes, rounds) = (chosen("SIZES", SIZES), chosen("ROUNDS", ROUNDS)[0]);
    let receiver = Receiver::counting().await;
    let url = receiver.url();
    let (simulator, states) = prepare(&sizes, |setup| settings(setup, &url)).await;
    let scene = Scene { server, simulator, receiver };
    let mut pairs: Vec<Pair> = states.into_iter().map(|file| Pair::copied(&scene, file)).collect();

    add_news(&scene.simulator.handle());
    for round in 1..=rounds {
        println!("\nround {round}, load {}", load());
        for pair in &mut pairs {
            pair.run(&scene).await;
        }
    }
    println!("\n{NEW} new messages, medians of {rounds} rounds; load {}\n", load());
    println!("| stored | state | messages/s | processor a message: relay | server |\n|---:|---|---:|---:|---:|");
    for pair in &pairs {
        for (state, costs) in [("file", &pair.on_file), ("database", &pair.on_database)] {
            let of = |value: fn(&Cost) -> f64| median(costs.iter().map(value));
            let (rate, relay, server) =
                (of(|cost| cost.run.rate()), of(|cost| cost.run.processor_us()), of(Cost::server_us));
            println!("| {} | {state} | {rate:.0} | {relay:.0} µs | {server:.0} µs |", pair.file.stored);
        }
    }

    println!(
        "\n| stored | state | commit of a page with one message: median | p99 | worst |\n|---:|---|---:|---:|---:|"
    );
    for pair in &pairs {
        for (state, summary) in ["file", "database"].into_iter().zip(pair.commits(&scene).await) {
            println!("| {} | {state} | {summary} |", pair.file.stored);
        }
    }
    println!("load {}", load());
}

struct Scene {
    server: PostgresServer,
    simulator: Simulator,
    receiver: Receiver,
}

/// One state, stored once in a file and once in PostgreSQL, and the runs of the relay on both.
struct Pair {
    file: Prepared,
    on_file: Vec<Cost>,
    on_database: Vec<Cost>,
}

/// What one run cost.
struct Cost {
    run: Run,
    /// The processor time of the database server during the run.
    server: Duration,
}

impl Cost {
    /// Returns the processor time of the server for each message, in microseconds.
    fn server_us(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / f64::from(u32::try_from(NEW).unwrap())
    }
}

impl Pair {
    /// Copies a state into a database. Every run gets a copy of that database.
    fn copied(scene: &Scene, file: Prepared) -> Self {
        let pair = Self { file, on_file: Vec::new(), on_database: Vec::new() };
        let (server, kept) = (&scene.server, pair.database("kept"));
        server.query(&format!("CREATE DATABASE {kept}"));
        let address = format!("postgresql://relay@{}/{kept}", server.dir().display().to_string().replace('/', "%2F"));
        let began = now();
        let mut copy = pair.setup(scene).args(&["state", "copy", "--to", &address]);
        let (exit, said, log) = copy.output_within(COPY);
        assert_eq!(exit, 0, "{log}");
        let took = began.elapsed().as_secs_f64();
        // Without this command the server would vacuum by itself minutes later, in the middle of a measurement.
        server.query_in(&kept, "VACUUM");
        let size = server.query(&format!("SELECT pg_size_pretty(pg_database_size('{kept}'))"));
        println!("{} in {took:.0} s: {}; the file has {} MiB", said.trim_end(), size[0], pair.file.bytes() >> 20);
        pair
    }

    /// Runs the relay once on a fresh copy of the file, and once on a fresh copy of the database.
    async fn run(&mut self, scene: &Scene) {
        let mut relay = self.file.fresh().start();
        let on_file = run(relay.id(), &scene.receiver).await;
        assert!(relay.stop().success());

        let (server, copy) = (&scene.server, self.database("used"));
        server.query(&format!("DROP DATABASE IF EXISTS {copy}"));
        server.query(&format!("CREATE DATABASE {copy} TEMPLATE {}", self.database("kept")));
        server.query("CHECKPOINT");
        let own = self.file.dir().join("machine");
        let mut setup = self.setup(scene).set("STATE__DIR", &own.display().to_string());
        setup = setup.set("STATE__URL", &server.url_of(&copy));
        let before = processor_with_children(server.process_id());
        let mut relay = setup.start();
        let on_database = run(relay.id(), &scene.receiver).await;
        assert!(relay.stop().success());
        // The requests of this run must not count in the budget of the next one.
        std::fs::remove_dir_all(own).unwrap();
        let spent = processor_with_children(server.process_id()) - before;
        self.on_file.push(Cost { run: on_file, server: Duration::ZERO });
        self.on_database.push(Cost { run: on_database, server: spent });
        for (state, cost) in [("file", self.on_file.last()), ("database", self.on_database.last())] {
            let cost = cost.unwrap();
            println!(
                "  {} stored, {state}: {:.0} messages/s, {:.0} µs a message, server {:.0} µs",
                self.file.stored,
                cost.run.rate(),
                cost.run.processor_us(),
                cost.server_us()
            );
        }
    }

    /// Commits pages to the file and to the database in turns, on the states as the last runs left them. Returns how
    /// long the commits to each took.
    async fn commits(&self, scene: &Scene) -> [String; 2] {
        let database = Database::new(&Secret::from(scene.server.url_of(&self.database("used"))), NAMESPACE).unwrap();
        let mut replica = store::join_replicas(&database, "measurement", None).unwrap();
        let LeaseOffer::Granted { epoch, .. } = replica.take(COPY).unwrap() else { unreachable!("no relay is left") };
        let file = Committing::to(Store::open(self.setup(scene).state()).unwrap()).await;
        let mut both = [file, Committing::to(Store::open_under_lease(&database, epoch).unwrap()).await];
        for _ in 0..COMMITS {
            for one in &mut both {
                one.commit_page().await;
            }
        }
        both.map(Committing::summary)
    }

    fn setup(&self, scene: &Scene) -> Setup {
        settings(Setup::new(&scene.simulator, self.file.dir()), &scene.receiver.url())
    }

    /// Returns the name of a database with this state.
    fn database(&self, role: &str) -> String {
        format!("{role}_{}", self.file.stored)
    }
}

/// Commits pages with one new message each, as a poll does.
struct Committing {
    store: Store,
    marks: Marks,
    took: Vec<Duration>,
}

impl Committing {
    async fn to(store: Store) -> Self {
        let register = |spool: &mut Spool| spool.register_sinks(&[SinkSetup::new("crm")], UnixMs::MAX, UnixMs::MIN);
        store.write(register).await.unwrap();
        let marks = store.read(|spool| spool.load_coverage().map(|coverage| coverage.unwrap().marks)).await.unwrap();
        Self { store, marks, took: Vec::new() }
    }

    async fn commit_page(&mut self) {
        let (seq, at) = (self.marks.next_seq, UnixMs(self.marks.frontier.0 + 1));
        self.marks = Marks { next_seq: Seq(seq.0 + 1), frontier: at, ..self.marks };
        let id = format!("measured-{}", seq.0);
        let raw = format!("{{\"id\":\"{id}\",\"body\":\"{}\"}}", "x".repeat(300)).as_str().into();
        let row = Row { id, readable: true, spoiled: None, time: at, ingested: Some(at), number: None, raw };
        let page = [
            PollChange::Insert(Box::new(Insert { seq, row, standing: RowStanding::News, held_by: None })),
            PollChange::Release { rows: vec![seq], class: DeliveryClass::Live },
            PollChange::Advance(self.marks),
        ];
        let began = now();
        self.store.write(move |spool| spool.commit(&page, at)).await.unwrap();
        self.took.push(began.elapsed());
    }

    fn summary(mut self) -> String {
        self.took.sort_unstable();
        let at = |percent: usize| self.took[(self.took.len() - 1) * percent / 100];
        format!("{:.1?} | {:.1?} | {:.1?}", at(50), at(99), at(100))
    }
}
