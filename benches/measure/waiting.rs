//! Measures the memory and the processor time of a relay with many messages that wait for a receiver that is down.

use std::time::Duration;

use joltsms_simulator::{Options, Simulator};
use rusqlite::{Connection, OpenFlags};

use crate::process::{memory, now, processor};
use crate::support::relay::Setup;
use crate::support::servers::receiver::Receiver;

const MESSAGES: usize = 100_000;
const LENGTH: Duration = Duration::from_secs(120);

pub(crate) async fn measure() {
    let simulator = Simulator::start(Options { numbers: 5, ..Options::default() }).await.unwrap();
    let handle = simulator.handle();
    handle.set_switches(|switches| switches.limit = 1_000_000_000);
    handle.add_history(MESSAGES, Duration::from_secs(30 * 86_400));
    for order in ["none", "number"] {
        measure_order(&simulator, order).await;
    }
}

async fn measure_order(simulator: &Simulator, order: &str) {
    let receiver = Receiver::counting().await;
    receiver.answer_with(503);
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(simulator, dir.path())
        .sink(&receiver.url())
        .set("SINKS__CRM__ORDER", order)
        .set("API__REQUESTS_PER_MINUTE", "1000000")
        .set("POLL__START", "beginning");
    let mut relay = setup.start();
    let began = now();
    while waiting(setup.state()) < MESSAGES {
        assert!(began.elapsed() < Duration::from_secs(600), "not read in time: {}", relay.log());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let read_in = began.elapsed();
    // The measurement begins a minute later: the breaker has opened by then, and the short waits of its beginning are
    // over.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (requests, spent) = (receiver.count(), processor(relay.id()));
    let mut sizes = Vec::new();
    let began = now();
    while began.elapsed() < LENGTH {
        sizes.push(memory(relay.id(), "VmRSS"));
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    println!(
        "order = {order:?}, {MESSAGES} messages read in {:.0} s; {:.0} s with all of them waiting: {} requests, memory {first:.1} MiB at \
         the beginning, {last:.1} at the end, {:.1} at most (peak of the process {:.1}), processor {:.2} %",
        read_in.as_secs_f64(),
        LENGTH.as_secs_f64(),
        receiver.count() - requests,
        sizes.iter().copied().fold(0.0, f64::max),
        memory(relay.id(), "VmHWM"),
        (processor(relay.id()) - spent).as_secs_f64() / LENGTH.as_secs_f64() * 100.0,
    );
    assert!(relay.stop().success());
}

fn waiting(state: &std::path::Path) -> usize {
    let count = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(state.join("state.db"), flags)?;
        let sql = "SELECT count(*) FROM delivery WHERE state IN ('fresh', 'retry')";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0))
    };
    count().map_or(0, |count| usize::try_from(count).unwrap_or(0))
}
