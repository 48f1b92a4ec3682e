//! Kills the relay with SIGKILL at random moments: nothing is lost, hardly any message is repeated, and hardly any page
//! is read twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use base64::Engine as _;
use joltsms_simulator::{NewMessage, Options, Simulator};

use crate::process::now;
use crate::support::relay::Setup;
use crate::support::servers::receiver::{Received, Receiver};

const MESSAGES: usize = 5000;
const KILLS: usize = 100;
const CONCURRENCY: usize = 8;

pub(crate) async fn measure() {
    let simulator = Simulator::start(Options { log_capacity: 1_000_000, ..Options::default() }).await.unwrap();
    let handle = simulator.handle();
    handle.set_switches(|switches| switches.limit = 1_000_000);
    // Most messages are there before the start. After each kill this many others come.
    let later = 15;
    handle.add_history(MESSAGES - KILLS * later, Duration::from_secs(30 * 86_400));
    let receiver = Receiver::start().await;
    receiver.answer(|_| (200, Duration::from_millis(3)));
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(&simulator, dir.path())
        .sink(&receiver.url())
        .set("SINKS__CRM__CONCURRENCY", &CONCURRENCY.to_string())
        .set("API__REQUESTS_PER_MINUTE", "1000000")
        .set("POLL__INTERVAL", "100ms")
        .set("POLL__START", "beginning");
    let began = handle.now().to_string();
    let mut random = 0x5eed_u64;
    let mut lives = Vec::new();
    let (mut worst_repeats, mut read_again, mut mid_walk) = (0, Vec::new(), 0);
    let mut counted = 0;
    for _ in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let life = Duration::from_millis(10 + (random >> 33) % 190);
        lives.push(life);
        let first = handle.requests().last().map_or(0, |request| request.number);
        let mut relay = setup.start();
        tokio::time::sleep(life).await;
        relay.kill();
        drop(relay);
        // Requests that were under way when the relay died may still arrive.
        tokio::time::sleep(Duration::from_millis(5)).await;
        // Only the long walk through the history counts, and not the gaps that begin at the head: these read the newest
        // rows again on purpose.
        let in_history = |cursor: &String| time_of(cursor) < began;
        let cursors = |after: u64, to: u64| -> Vec<String> {
            let requests = handle.requests_after(after);
            let asked = requests.iter().filter(|request| request.number <= to);
            asked.filter_map(|request| request.cursor.clone()).filter(in_history).collect()
        };
        let before: BTreeSet<String> = cursors(0, first).into_iter().collect();
        let again = cursors(first, u64::MAX).iter().filter(|cursor| before.contains(*cursor)).count();
        mid_walk += usize::from(!handle.requests_after(first).iter().all(|request| request.cursor.is_none()));
        read_again.push(again);
        let received = receiver.received();
        let repeats = received.len() - received.iter().map(Received::message_id).collect::<BTreeSet<_>>().len();
        worst_repeats = worst_repeats.max(repeats - counted);
        counted = repeats;
        handle.add_many((0..later).map(|_| NewMessage::new()));
    }
    let started = now();
    let mut relay = setup.start();
    let ids: BTreeSet<String> = handle.rows().into_iter().map(|row| row.id).collect();
    let seen = || receiver.received().iter().map(Received::message_id).collect::<BTreeSet<_>>();
    while seen() != ids && started.elapsed() < Duration::from_secs(120) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(relay.stop().success());
    let received = receiver.received();
    let mut names: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut bodies: BTreeMap<String, usize> = BTreeMap::new();
    for request in &received {
        names.entry(request.message_id()).or_default().insert(request.webhook_id().to_owned());
        *bodies.entry(request.message_id()).or_default() += 1;
    }
    let lost = ids.difference(&bodies.keys().cloned().collect()).count();
    let renamed = names.values().filter(|names| names.len() > 1).count();
    let total: Duration = lives.iter().sum();
    println!(
        "{} messages, {KILLS} kills after {:?} on average, {mid_walk} of them after walk pages",
        ids.len(),
        total / 100
    );
    println!(
        "lost {lost}; repeated {} in all, {worst_repeats} at most for one kill (concurrency {CONCURRENCY}); {renamed} with another webhook-id",
        received.len() - ids.len()
    );
    println!(
        "pages read again after a kill: at most {}, {} in all",
        read_again.iter().max().unwrap(),
        read_again.iter().sum::<usize>()
    );
    assert_eq!(lost, 0);
}

/// Returns the time in a documented cursor, which is the base64 of `time|id`.
fn time_of(cursor: &str) -> String {
    let decoded = base64::engine::general_purpose::STANDARD.decode(cursor).unwrap_or_default();
    String::from_utf8_lossy(&decoded).split('|').next().unwrap_or_default().to_owned()
}
