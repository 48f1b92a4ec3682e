//! Measures `wait`: how soon it prints a code, whether it prints the right one, and what it costs of the budget.

use std::process::Stdio;
use std::time::{Duration, Instant};

use joltsms_simulator::{Handle, NewMessage, Options, Simulator};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::process::{load, now, summary};
use crate::support::relay::Setup;
use crate::support::servers::receiver::Receiver;

pub(crate) async fn measure() {
    println!("load of the machine: {}", load());
    latency("a relay with the default settings", true).await;
    latency("no relay", false).await;
    crowd().await;
    claims().await;
    println!("load of the machine: {}", load());
}

/// A `wait` that says that it waits.
async fn waiting(setup: Setup) -> Child {
    let mut command = Command::from(setup.into_command());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("waiting for a message") {
            break;
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    child
}

/// Returns the line that a `wait` prints, and when.
async fn printed(child: &mut Child) -> (String, Instant) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap_or_default();
    let at = now();
    child.wait().await.unwrap();
    (line, at)
}

/// Waits until the relay has taken in the first page.
async fn polls(handle: &Handle) {
    handle.wait_until(Duration::from_secs(30), |handle| handle.requests().len() >= 3).await.unwrap();
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn refused(handle: &Handle) -> usize {
    handle.requests().iter().filter(|request| request.status == Some(429)).count()
}

/// Twenty accounts that are idle for a minute. Then each gets a wait, and the code one to eight seconds later.
async fn latency(name: &str, with_relay: bool) {
    let runs: Vec<_> = (0..20).map(|run| tokio::spawn(latency_run(run, with_relay))).collect();
    let (mut seconds, mut wrong, mut most, mut refusals) = (Vec::new(), 0, 0, 0);
    for run in runs {
        let (is_right, requests, refused, took) = run.await.unwrap();
        wrong += usize::from(!is_right);
        most = most.max(requests);
        refusals += refused;
        seconds.push(took);
    }
    println!(
        "{name}: {}; {wrong} wrong codes; {most} requests at most in any 60 s, {refusals} times 429",
        summary(seconds)
    );
}

async fn latency_run(run: u64, with_relay: bool) -> (bool, usize, usize, f64) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let handle = simulator.handle();
    handle.add_history(200, Duration::from_secs(7 * 86_400));
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut relay = with_relay.then(|| Setup::new(&simulator, dir.path()).sink(&receiver.url()).start());
    let mut random = Random(run);
    if relay.is_some() {
        polls(&handle).await;
        tokio::time::sleep(Duration::from_millis(60_000 + random.below(5000))).await;
    }
    let mut child = waiting(Setup::new(&simulator, dir.path()).args(&["wait", "--code"])).await;
    tokio::time::sleep(Duration::from_millis(1000 + random.below(7000))).await;
    let appeared = now();
    handle.add(NewMessage::new().code("4711"));
    let (line, at) = printed(&mut child).await;
    if let Some(relay) = &mut relay {
        relay.kill();
    }
    let took = (at - appeared).as_secs_f64();
    (line == "4711", handle.max_requests_in_any(Duration::from_secs(60)), refused(&handle), took)
}

/// 200 messages in 10 s from many senders, and one of them from the sender that is waited for. As many of the 100 runs as
/// share a simulator share its limit, so each run has a simulator of its own; ten runs go on at the same time.
async fn crowd() {
    let began = now();
    let (mut right, mut most, mut refusals, mut seconds) = (0, 0, 0, Vec::new());
    for batch in 0..10 {
        let runs = (0..10).map(|run| tokio::spawn(crowd_run(batch * 10 + run)));
        for run in runs.collect::<Vec<_>>() {
            let (is_right, requests, refused, took) = run.await.unwrap();
            right += usize::from(is_right);
            most = most.max(requests);
            refusals += refused;
            seconds.push(took);
        }
    }
    println!(
        "200 messages in 10 s, 100 runs in {:.0} s: {right} right; {}; {most} requests at most in any 60 s, {refusals} times 429",
        began.elapsed().as_secs_f64(),
        summary(seconds)
    );
}

async fn crowd_run(run: u64) -> (bool, usize, usize, f64) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let handle = simulator.handle();
    handle.add_history(200, Duration::from_secs(86_400));
    let dir = tempfile::tempdir().unwrap();
    let with_relay = run.is_multiple_of(2);
    let receiver = Receiver::counting().await;
    let mut relay = with_relay.then(|| Setup::new(&simulator, dir.path()).sink(&receiver.url()).start());
    if relay.is_some() {
        polls(&handle).await;
    }
    // An old code from the same sender.
    handle.add(NewMessage::new().from("+18005550000").code("0000"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let wait = ["wait", "--code", "--from", "+18005550000"];
    let mut child = waiting(Setup::new(&simulator, dir.path()).args(&wait)).await;
    let mut random = Random(run);
    let wanted = random.below(200);
    let feed = handle.clone();
    let adding = tokio::spawn(async move {
        let mut appeared = now();
        for number in 0..200 {
            let message = match number == wanted {
                true => NewMessage::new().from("+18005550000").code("4711"),
                false => NewMessage::new().from(format!("+1800666{number:04}")).code(format!("9{number:03}")),
            };
            if number == wanted {
                appeared = now();
            }
            feed.add(message);
            if number == wanted + 40 {
                feed.add(NewMessage::new().from("+18005550000").code("4712"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        appeared
    });
    let (line, at) = printed(&mut child).await;
    let appeared = adding.await.unwrap();
    if let Some(relay) = &mut relay {
        relay.kill();
    }
    let took = at.saturating_duration_since(appeared).as_secs_f64();
    (line == "4711", handle.max_requests_in_any(Duration::from_secs(60)), refused(&handle), took)
}

/// Ten waiters with `--claim` and ten codes, 20 times; half of the runs without a relay.
async fn claims() {
    let mut right = 0;
    for run in 0..20 {
        let mut options = Options::default();
        options.switches.limit = 10_000;
        let simulator = Simulator::start(options).await.unwrap();
        let handle = simulator.handle();
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::counting().await;
        let mut relay = (run % 2 == 0).then(|| Setup::new(&simulator, dir.path()).sink(&receiver.url()).start());
        if relay.is_some() {
            polls(&handle).await;
        }
        let start = || tokio::spawn(waiting(Setup::new(&simulator, dir.path()).args(&["wait", "--code", "--claim"])));
        let mut children = Vec::new();
        for started in (0..10).map(|_| start()).collect::<Vec<_>>() {
            children.push(started.await.unwrap());
        }
        let expected: Vec<String> = (0..10).map(|number| format!("{}", 1000 + number)).collect();
        handle.add_many(expected.iter().map(|code| NewMessage::new().code(code.as_str())));
        let mut found = Vec::new();
        for child in &mut children {
            found.push(printed(child).await.0);
        }
        found.sort_unstable();
        right += usize::from(found == expected);
        if let Some(relay) = &mut relay {
            relay.kill();
        }
    }
    println!("ten waiters with --claim, 20 runs: ten different codes in {right}");
}
