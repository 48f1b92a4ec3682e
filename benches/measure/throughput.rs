//! Measures how fast the relay is without a limit on requests, and at what cost.

use std::time::Duration;

use joltsms_simulator::{Options, Simulator};

use crate::process::{memory, now, processor};
use crate::support::relay::{Relay, Setup};
use crate::support::servers::receiver::Receiver;

const MESSAGES: usize = 50_000;

pub(crate) async fn measure() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let handle = simulator.handle();
    handle.set_switches(|switches| switches.limit = 1_000_000_000);
    handle.add_history(MESSAGES, Duration::from_secs(30 * 86_400));
    accepted(&simulator).await;
    refused(&simulator).await;
}

fn start(simulator: &Simulator, receiver: &Receiver, dir: &tempfile::TempDir) -> Relay {
    Setup::new(simulator, dir.path())
        .sink(&receiver.url())
        .set("SINKS__CRM__CONCURRENCY", "16")
        .set("API__REQUESTS_PER_MINUTE", "1000000")
        .set("POLL__START", "beginning")
        .start()
}

async fn accepted(simulator: &Simulator) {
    let receiver = Receiver::counting().await;
    let dir = tempfile::tempdir().unwrap();
    let began = now();
    let mut relay = start(simulator, &receiver, &dir);
    receiver.wait_for(1, Duration::from_secs(300)).await;
    let first = began.elapsed();
    receiver.wait_for(MESSAGES, Duration::from_secs(300)).await;
    let all = began.elapsed();
    let spent = processor(relay.id());
    let peak = memory(relay.id(), "VmHWM");
    assert!(relay.stop().success());
    let count = u32::try_from(MESSAGES).unwrap();
    println!(
        "{MESSAGES} waiting messages, concurrency 16: {:.1} s in all, {:.0} messages/s from first request to last delivery; \
         first delivery after {:.1} s (oldest first: reading comes before); processor {:?} a message; peak memory {peak:.1} MiB",
        all.as_secs_f64(),
        f64::from(count) / all.as_secs_f64(),
        first.as_secs_f64(),
        spent / count,
    );
}

async fn refused(simulator: &Simulator) {
    let receiver = Receiver::counting().await;
    receiver.answer_with(503);
    let dir = tempfile::tempdir().unwrap();
    let mut relay = start(simulator, &receiver, &dir);
    let began = now();
    receiver.wait_for(1, Duration::from_secs(300)).await;
    while began.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let peak = memory(relay.id(), "VmHWM");
    println!(
        "a receiver that answers 503 to everything: {} requests in 60 s, peak memory {peak:.1} MiB",
        receiver.count()
    );
    assert!(relay.stop().success());
}
