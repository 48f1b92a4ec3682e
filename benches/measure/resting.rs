//! Measures what an idle relay costs, and how soon a started relay makes its first request.

use std::time::Duration;

use joltsms_simulator::{Options, Simulator};

use crate::process::{memory, now, processor};
use crate::support::relay::Setup;
use crate::support::servers::receiver::Receiver;

pub(crate) async fn measure() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let handle = simulator.handle();
    handle.add_history(200, Duration::from_secs(7 * 86_400));
    let receiver = Receiver::counting().await;
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(&simulator, dir.path()).sink(&receiver.url());
    let mut starts = Vec::new();
    for _ in 0..11 {
        let asked = handle.requests().len();
        let began = now();
        let mut relay = setup.start();
        handle.wait_until(Duration::from_secs(10), |handle| handle.requests().len() > asked).await.unwrap();
        starts.push(began.elapsed());
        assert!(relay.stop().success());
        // The window of the limit must not fill up, because requests would have to wait then.
        handle.reset_limits();
        std::fs::remove_file(setup.state().join("budget.ring")).unwrap();
    }
    starts.sort();
    println!(
        "start to first request: median {:?}, worst {:?} of {}",
        starts[starts.len() / 2],
        starts[starts.len() - 1],
        starts.len()
    );
    let mut relay = setup.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = processor(relay.id());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let spent = processor(relay.id()) - before;
    println!(
        "idle at one poll a second for 60 s: processor {:.2} %, memory {:.1} MiB (peak {:.1})",
        spent.as_secs_f64() / 0.6,
        memory(relay.id(), "VmRSS"),
        memory(relay.id(), "VmHWM")
    );
    assert!(relay.stop().success());
}
