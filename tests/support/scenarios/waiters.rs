//! Runs of `wait` at the API's usual limit, with the default settings: in a crowd of messages, several waiters at once
//! with `--claim`, and on an account on which nothing happens.

use std::time::{Duration, Instant};

use joltsms_simulator::{Handle, NewMessage, Options};

use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;

/// The messages of a crowd, and the time between two of them: 200 messages in 10 s.
const CROWD: u64 = 200;
const CROWD_STEP: Duration = Duration::from_millis(50);

/// The number of messages between the first and the second code of the sender that is waited for.
const SECOND_CODE_LATER: u64 = 40;

/// The waiters that wait at once with `--claim`.
const CLAIMERS: usize = 10;

/// The sender that is waited for.
const BANK: &str = "+18005550000";

/// The result of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitRun {
    /// Whether each waiter printed the code that it had to print.
    pub(crate) is_right: bool,
    /// The time from the appearance of the message in the API to the printed code.
    pub(crate) took: Duration,
    /// The most requests that the API got in any 60 s.
    pub(crate) requests: usize,
    /// The number of requests that the API answered with 429.
    pub(crate) refused: usize,
}

/// The account, and the relay that reads it if there is one.
struct Account {
    scene: Scene,
    relay: Option<(Relay, Receiver)>,
}

impl Account {
    fn with(options: Options, has_relay: bool) -> Self {
        let scene = Scene::of(options);
        scene.handle().add_history(200, Duration::from_secs(7 * 86_400));
        let mut account = Self { scene, relay: None };
        if has_relay {
            let receiver = Receiver::in_background();
            account.relay = Some((account.setup().sink(&receiver.url()).start(), receiver));
            account.scene.wait_until(|handle| handle.requests().len() >= 3);
        }
        account
    }

    fn handle(&self) -> Handle {
        self.scene.handle()
    }

    fn setup(&self) -> Setup {
        Setup::new(self.scene.simulator(), self.scene.dir())
    }

    /// Starts a `wait`.
    fn wait(&self, arguments: &[&str]) -> Relay {
        self.setup().args(&["wait", "--code"]).args(arguments).start()
    }

    fn run(&self, is_right: bool, took: Duration) -> WaitRun {
        let (handle, minute) = (self.handle(), Duration::from_secs(60));
        let requests = handle.requests();
        let refused = requests.iter().filter(|request| request.status == Some(429)).count();
        WaitRun { is_right, took, requests: handle.max_requests_in_any(minute), refused }
    }
}

/// Adds 200 messages of many senders within 10 s. One of them, at a random place, is from the sender that is waited
/// for. The same sender has sent a code shortly before, and sends another one soon after. Every second run has a relay.
pub(crate) fn in_a_crowd(run: u64) -> WaitRun {
    let account = Account::with(Options::default(), run.is_multiple_of(2));
    account.handle().add(NewMessage::new().from(BANK).code("0000"));
    pass(Duration::from_secs(2));
    let wait = account.wait(&["--from", BANK]);
    wait.wait_for_log("waiting for a message");
    let wanted = Random(run).below(CROWD);
    let handle = account.handle();
    let crowd = std::thread::spawn(move || {
        let mut appeared = now();
        for number in 0..CROWD {
            if number == wanted {
                appeared = now();
                handle.add(NewMessage::new().from(BANK).code("4711"));
            } else {
                handle.add(NewMessage::new().from(format!("+1800666{number:04}")).code(format!("9{number:03}")));
            }
            if number == wanted + SECOND_CODE_LATER {
                handle.add(NewMessage::new().from(BANK).code("4712"));
            }
            pass(CROWD_STEP);
        }
        appeared
    });
    let (line, at) = (wait.line(), now());
    let appeared = crowd.join().unwrap();
    account.run(line == "4711", at.saturating_duration_since(appeared))
}

/// Lets ten waiters with `--claim` wait for ten codes that come at once. The run is right if each code was printed
/// once. Every second run has a relay.
pub(crate) fn with_claims(run: u64) -> WaitRun {
    let account = Account::with(Options::default(), run.is_multiple_of(2));
    let waiters: Vec<Relay> = (0..CLAIMERS).map(|_| account.wait(&["--claim"])).collect();
    for waiter in &waiters {
        waiter.wait_for_log("waiting for a message");
    }
    let expected: Vec<String> = (0..CLAIMERS).map(|number| (1000 + number).to_string()).collect();
    let appeared = now();
    account.handle().add_many(expected.iter().map(|code| NewMessage::new().code(code.as_str())));
    let mut printed: Vec<String> = waiters.iter().map(Relay::line).collect();
    let took = now() - appeared;
    printed.sort_unstable();
    account.run(printed == expected, took)
}

/// The account of [`on_an_idle_account`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// How long nothing happens before the command starts; `None`: no relay runs.
    pub(crate) relay_alone: Option<Duration>,
    /// How long the command waits before the message appears. Up to eight seconds are added by chance.
    pub(crate) waits: Duration,
}

/// Lets one message appear on an account on which nothing else happens, while a `wait` waits for it.
pub(crate) fn on_an_idle_account(run: u64, idle: Idle) -> WaitRun {
    let mut random = Random(run);
    let account = Account::with(Options::default(), idle.relay_alone.is_some());
    if let Some(alone) = idle.relay_alone {
        pass(alone + Duration::from_millis(random.below(5000)));
    }
    let wait = account.wait(&["--timeout", "10m"]);
    wait.wait_for_log("waiting for a message");
    pass(idle.waits + Duration::from_millis(random.below(8000)));
    let appeared = now();
    account.handle().add(NewMessage::new().code("4711"));
    let line = wait.line();
    account.run(line == "4711", now() - appeared)
}

/// Sums up runs: the number of right ones, the time that they took, and the load on the API.
pub(crate) fn summary(runs: &[WaitRun]) -> String {
    let mut seconds: Vec<f64> = runs.iter().map(|run| run.took.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    let count = u32::try_from(runs.len().max(1)).unwrap();
    let mean = seconds.iter().sum::<f64>() / f64::from(count);
    let at = |place: usize| seconds.get(place).copied().unwrap_or(0.0);
    format!(
        "{} of {} right; mean {mean:.3} s, median {:.3} s, worst {:.3} s; {} requests at most in any 60 s, {} times 429",
        runs.iter().filter(|run| run.is_right).count(),
        runs.len(),
        at(runs.len() / 2),
        at(runs.len().saturating_sub(1)),
        runs.iter().map(|run| run.requests).max().unwrap_or(0),
        runs.iter().map(|run| run.refused).sum::<usize>(),
    )
}

/// Makes runs with the numbers 0, 1, …, `at_once` of them at the same time.
pub(crate) fn runs(count: u64, at_once: usize, run: impl Fn(u64) -> WaitRun + Sync) -> Vec<WaitRun> {
    let numbers = std::sync::Mutex::new(0..count);
    let next = || numbers.lock().unwrap().next();
    std::thread::scope(|scope| {
        let work = || std::iter::from_fn(next).map(&run).collect::<Vec<_>>();
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// A generator of random numbers whose seed is the number of the run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Lets time pass. The account stays as it is meanwhile; that is the purpose.
fn pass(time: Duration) {
    let end = now() + time;
    while let Some(left) = end.checked_duration_since(now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement, not a decision")]
fn now() -> Instant {
    Instant::now()
}
