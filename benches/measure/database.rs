//! Measures what a state in a PostgreSQL database costs, compared with a state in a file on the same machine.

use std::time::Duration;

use joltsms_relay::domain::{DeliveryClass, Insert, Marks, Row, RowStanding, Seq, StoreOp, UnixMs};
use joltsms_relay::secret::Secret;
use joltsms_relay::store::{self, Database, LeaseOffer, SinkSetup, Spool, Store};

use crate::cost::{NEW, Run, add_news, run, settings};
use crate::prepared::prepare;
use crate::process::{load, now};
use crate::support::postgres::PostgresServer;
use crate::support::processes::processor_with_children;
use crate::support::relay::Setup;
use crate::support::servers::receiver::Receiver;

/// The default of `JOLTSMS_RELAY_BENCH_SIZES`: the number of messages stored before.
const STORED: usize = 1_000_000;

/// How many pages are committed, with a new message each.
const COMMITS: i64 = 2_000;

/// How long a copy of the state may take.
const COPY: Duration = Duration::from_secs(3_600);

pub(crate) async fn measure() {
    if !cfg!(feature = "replicas") {
        return println!("this measurement needs --features replicas");
    }
    let Some(server) = PostgresServer::durable() else { return println!("no PostgreSQL server is installed") };
    let stored = std::env::var("JOLTSMS_RELAY_BENCH_SIZES").map_or(STORED, |size| size.parse().unwrap());
    let receiver = Receiver::counting().await;
    let url = receiver.url();
    let (simulator, mut states) = prepare(&[stored], |setup| settings(setup, &url)).await;
    let state = &mut states[0];
    let address = format!("postgresql://relay@{}/postgres", server.dir().display().to_string().replace('/', "%2F"));
    let began = now();
    let mut copy = settings(Setup::new(&simulator, state.dir()), &url).args(&["state", "copy", "--to", &address]);
    let (exit, said, log) = copy.output_within(COPY);
    assert_eq!(exit, 0, "{log}");
    println!("{said}, in {:.0} s; load {}", began.elapsed().as_secs_f64(), load());
    server.query("VACUUM ANALYZE");
    let size = server.query("SELECT pg_size_pretty(pg_database_size('postgres'))");
    println!("size of the database: {}; of the file: {} MiB", size[0], state.bytes() >> 20);

    add_news(&simulator.handle());
    println!("\n| state | messages/s | processor a message: relay | server |\n|---|---:|---:|---:|");
    let mut relay = state.fresh().start();
    let in_file = run(relay.id(), &receiver).await;
    assert!(relay.stop().success());
    row("file", &in_file, Duration::ZERO);
    let own = state.dir().join("machine");
    let mut setup = settings(Setup::new(&simulator, state.dir()), &url)
        .set("STATE__DIR", &own.display().to_string())
        .set("STATE__URL", &server.url());
    let before = processor_with_children(server.process_id());
    let mut relay = setup.start();
    let in_database = run(relay.id(), &receiver).await;
    assert!(relay.stop().success());
    row("database", &in_database, processor_with_children(server.process_id()) - before);
    println!("load {}", load());

    println!("\n| state | a commit of a page with one message: median | p99 | worst |\n|---|---:|---:|---:|");
    commits("file", Store::open(state.setup().state()).unwrap()).await;
    let database = Database::new(&Secret::from(server.url()), "joltsms_relay").unwrap();
    let mut replica = store::join_replicas(&database, "measurement", None).unwrap();
    let LeaseOffer::Granted { epoch, .. } = replica.take(COPY).unwrap() else { unreachable!("no relay is left") };
    commits("database", Store::open_under_lease(&database, epoch).unwrap()).await;
    println!("load {}", load());
}

fn row(name: &str, run: &Run, server: Duration) {
    let each = server.as_secs_f64() * 1e6 / f64::from(u32::try_from(NEW).unwrap());
    println!("| {name} | {:.0} | {:.0} µs | {each:.0} µs |", run.rate(), run.processor_us());
}

/// Commits pages with one new message each, as a poll does.
async fn commits(name: &str, store: Store) {
    let register = |spool: &mut Spool| spool.register_sinks(&[SinkSetup::new("crm")], UnixMs::MAX, UnixMs::MIN);
    store.write(register).await.unwrap();
    let marks = store.read(|spool| spool.load_coverage().map(|coverage| coverage.unwrap().marks)).await.unwrap();
    let mut took = Vec::new();
    for number in 0..COMMITS {
        let (seq, at) = (Seq(marks.next_seq.0 + number), UnixMs(marks.frontier.0 + number));
        let id = format!("measured-{number}");
        let raw = format!("{{\"id\":\"{id}\",\"body\":\"{}\"}}", "x".repeat(300)).as_str().into();
        let row = Row { id, readable: true, spoiled: None, time: at, ingested: Some(at), number: None, raw };
        let next = Marks { next_seq: Seq(seq.0 + 1), frontier: at, ..marks };
        let page = [
            StoreOp::Insert(Box::new(Insert { seq, row, standing: RowStanding::News, held_by: None })),
            StoreOp::Release { rows: vec![seq], class: DeliveryClass::Live },
            StoreOp::Advance(next),
        ];
        let began = now();
        store.write(move |spool| spool.commit(&page, at)).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!("| {name} | {:.1?} | {:.1?} | {:.1?} |", at(50), at(99), at(100));
}
