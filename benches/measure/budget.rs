//! Measures the relay at the real limit, in real time.

use std::time::Duration;

use joltsms_simulator::{Options, Simulator};

use crate::support::relay::Setup;
use crate::support::servers::receiver::Receiver;

const LENGTH: Duration = Duration::from_secs(180);

pub(crate) async fn measure() {
    tokio::join!(with_restart(), beside_another());
}

async fn backlog() -> (Simulator, tempfile::TempDir) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    simulator.handle().add_history(50_000, Duration::from_secs(30 * 86_400));
    (simulator, tempfile::tempdir().unwrap())
}

async fn with_restart() {
    let (simulator, dir) = backlog().await;
    let receiver = Receiver::counting().await;
    let mut setup = Setup::new(&simulator, dir.path()).sink(&receiver.url()).set("POLL__START", "beginning");
    let mut relay = setup.start();
    tokio::time::sleep(LENGTH / 2).await;
    relay.kill();
    let mut relay = setup.start();
    tokio::time::sleep(LENGTH / 2).await;
    relay.kill();
    let handle = simulator.handle();
    let requests = handle.requests();
    let refused = requests.iter().filter(|request| request.status == Some(429)).count();
    let first = requests.first().unwrap().at;
    let within = requests.iter().filter(|request| request.at < first + LENGTH).count();
    println!(
        "alone, killed and restarted after 90 s: {within} requests in 180 s = {:.1} % of 360; {} at most in any 60 s; {refused} times 429",
        f64::from(u32::try_from(within).unwrap()) / 3.6,
        handle.max_requests_in_any(Duration::from_secs(60)),
    );
}

async fn beside_another() {
    let (simulator, dir) = backlog().await;
    let handle = simulator.handle();
    handle.set_foreign_client(60.0);
    let receiver = Receiver::counting().await;
    let mut setup = Setup::new(&simulator, dir.path()).sink(&receiver.url()).set("POLL__START", "beginning");
    let mut relay = setup.start();
    tokio::time::sleep(LENGTH).await;
    let said = relay.log().lines().find(|line| line.contains("other programs")).map(str::to_owned);
    relay.kill();
    let requests = handle.requests();
    let refused: Vec<Duration> =
        requests.iter().filter(|request| request.status == Some(429)).map(|request| request.at).collect();
    let crowded = refused.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_secs(55)).count();
    println!(
        "beside another program at 60 a minute: {} requests of ours in 180 s, {} times 429, {crowded} of them less than 55 s after another",
        requests.len(),
        refused.len()
    );
    println!("said: {}", said.unwrap_or_else(|| "nothing".to_owned()));
}
