//! Measures the time from a message's appearance to its arrival at the receiver.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use joltsms_simulator::{Handle, NewMessage, Options, Simulator};

use crate::process::{now, summary};
use crate::support::relay::Setup;
use crate::support::servers::receiver::Receiver;

pub(crate) async fn measure() {
    let quick = idle("interval 500ms, lookback 1m", &[("POLL__INTERVAL", "500ms"), ("POLL__LOOKBACK", "1m")], 0x1111);
    let plain = idle("defaults", &[], 0x2222);
    tokio::join!(quick, plain, during_backfill());
}

/// Adds messages one by one at random times. Returns when each message appeared.
async fn trickle(handle: &Handle, count: usize, mean: Duration, seed: u64) -> HashMap<String, Instant> {
    let mut random = seed;
    let mut appeared = HashMap::new();
    for _ in 0..count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let milliseconds = (random >> 33) % (2 * u64::try_from(mean.as_millis()).unwrap());
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let at = now();
        appeared.insert(handle.add(NewMessage::new()), at);
    }
    appeared
}

fn latencies(receiver: &Receiver, appeared: &HashMap<String, Instant>) -> Vec<f64> {
    let received = receiver.received();
    let of = |request: &crate::support::servers::receiver::Received| {
        appeared.get(&request.message_id()).map(|at| (request.at - *at).as_secs_f64())
    };
    received.iter().filter_map(of).collect()
}

async fn idle(name: &str, settings: &[(&str, &str)], seed: u64) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let handle = simulator.handle();
    handle.add_history(200, Duration::from_secs(7 * 86_400));
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(&simulator, dir.path()).sink(&receiver.url());
    for (key, value) in settings {
        setup = setup.set(key, value);
    }
    let mut relay = setup.start();
    relay.wait_for_log("older_messages");
    let appeared = trickle(&handle, 100, Duration::from_millis(2000), seed).await;
    receiver.wait_for(100, Duration::from_secs(10)).await;
    assert!(relay.stop().success());
    println!("idle, {name}: {}", summary(latencies(&receiver, &appeared)));
}

async fn during_backfill() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let handle = simulator.handle();
    handle.add_history(4000, Duration::from_secs(30 * 86_400));
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut relay = Setup::new(&simulator, dir.path()).sink(&receiver.url()).set("POLL__START", "beginning").start();
    relay.wait_for_log("relaying messages that were received");
    let appeared = trickle(&handle, 100, Duration::from_millis(2000), 0x3333).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let live = latencies(&receiver, &appeared);
    println!(
        "during a backfill of 4,000: {}; the backfill was under way: {}",
        summary(live),
        relay.log().contains("catching up")
    );
    assert!(relay.stop().success());
}
