//! Makes thousands of faults at both ends, while the relay's descriptors and memory are watched.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use joltsms_simulator::{Effect, Ending, Malformed, Place, Rule};

use crate::support::relay::Relay;
use crate::support::scene::Scene;
use crate::support::servers::certificates::{Authority, self_signed};
use crate::support::servers::faulty_receiver::FaultyReceiver;
use crate::support::servers::receiver::Receiver;
use crate::support::servers::reverse_proxy::{Manner, ReverseProxy};
use crate::support::waiting::{DEADLINE, wait_within};

/// The figures that the run counted.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The number of faults of the receiver, of TLS, and of the API.
    pub(crate) faults: [usize; 3],
    pub(crate) messages: usize,
    /// The number of requests beyond one for each message, at both receivers.
    pub(crate) repeats: usize,
    /// The number of open descriptors before the faults, after a tenth of the faults, at the end of the faults, at
    /// most, and when everything was over.
    pub(crate) descriptors: [usize; 5],
    /// The resident memory in KiB at the same moments.
    pub(crate) memory: [usize; 5],
    pub(crate) took: Duration,
}

/// The longest time for a part of the run.
const LIMIT: Duration = Duration::from_secs(1200);

/// Runs until a receiver has failed this often. Then all faults end, and every message must arrive.
pub(crate) fn run(faults: usize) -> Figures {
    #[expect(clippy::disallowed_methods, reason = "a measurement, not a decision")]
    let began = Instant::now();
    let scene = Scene::new();
    scene.add_past(i64::try_from(faults / 3 + 50).unwrap());
    let authority = Authority::new(scene.dir(), "ca");
    let (faulty, behind) = (FaultyReceiver::start(), Receiver::in_background());
    let api =
        ReverseProxy::on_loopback(scene.simulator().url().trim_start_matches("http://").parse().unwrap(), Manner::Pass);
    let tls = ReverseProxy::on_loopback(behind.address(), Manner::Reset);
    let mut relay = scene
        .setup_from_beginning()
        .env("JOLTSMS_API_URL", &api.url("http", None))
        .env("SSL_CERT_FILE", authority.file())
        .set("API__TIMEOUT", "1s")
        .sink(&format!("http://{}/hook", faulty.address()))
        .set("SINKS__CRM__CONCURRENCY", "16")
        .set("SINKS__CRM__TIMEOUT", "1s")
        .set("SINKS__CRM__RETRY__INITIAL", "100ms")
        .set("SINKS__CRM__RETRY__FACTOR", "1")
        .set("SINKS__TLS__TYPE", "http")
        .set("SINKS__TLS__URL", &format!("{}/hook", tls.url("https", Some("localhost"))))
        .set("SINKS__TLS__TIMEOUT", "1s")
        .set("SINKS__TLS__CONNECT_TIMEOUT", "500ms")
        .set("SINKS__TLS__RETRY__INITIAL", "100ms")
        .set("SINKS__TLS__RETRY__FACTOR", "1")
        .start();
    relay.wait_for_log("joltsms-relay version=");
    let before = sample(&relay);
    wait_within(LIMIT, "the first faults", || faulty.faults() > 0, || relay.log());
    for effect in api_faults() {
        scene.handle().add_fault(Rule::always(effect).share(0.05));
    }
    let over = AtomicBool::new(false);
    let (mut early, mut most, mut last) = (None, before, before);
    std::thread::scope(|scope| {
        scope.spawn(|| vary(&over, &scene, &authority, &api, &tls));
        let watched = || {
            last = sample(&relay);
            most = [most[0].max(last[0]), most[1].max(last[1])];
            if faulty.faults() >= faults / 10 {
                early.get_or_insert(last);
            }
            faulty.faults() >= faults
        };
        wait_within(LIMIT, "all those faults", watched, || relay.log());
        over.store(true, Ordering::Relaxed);
    });
    let api_faults: u64 = scene.handle().faults().iter().map(|(_, _, acted)| acted).sum();
    let tls_faults = tls.accepted();
    scene.handle().clear_faults();
    api.set(Manner::Pass);
    tls.set(Manner::Tls(authority.good()));
    faulty.recover();
    let ids = scene.ids();
    let delivered = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
    let all = || usize::try_from(delivered()).unwrap() == 2 * ids.len();
    wait_within(LIMIT, "everything at both receivers", all, || relay.log());
    let taken = faulty.taken();
    let elsewhere = behind.webhook_ids();
    assert!(ids.iter().all(|id| taken.contains_key(id) && elsewhere.contains(id)), "lost");
    let repeats = taken.values().sum::<usize>() + elsewhere.len() - 2 * ids.len();
    // Connections that nobody uses are closed after four seconds. Connections to the API stay open.
    let busy = early.unwrap_or(before);
    let mut end = before;
    let closed = || {
        end = sample(&relay);
        end[0] <= busy[0]
    };
    wait_within(DEADLINE, "the end of idle connections", closed, || relay.log());
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let samples = [before, busy, last, most, end];
    Figures {
        faults: [faulty.faults(), tls_faults, usize::try_from(api_faults).unwrap()],
        messages: ids.len(),
        repeats,
        descriptors: samples.map(|[descriptors, _]| descriptors),
        memory: samples.map(|[_, memory]| memory),
        took: began.elapsed(),
    }
}

fn api_faults() -> Vec<Effect> {
    vec![
        Effect::reset(),
        Effect::cut(40),
        Effect::Break { at: Place::Answer(20), ending: Ending::Close },
        Effect::Break { at: Place::Body(40), ending: Ending::Silence },
        Effect::Hang,
        Effect::NotHttp,
        Effect::status(500),
        Effect::html(502),
        Effect::Malformed(Malformed::Half),
        Effect::Malformed(Malformed::NotUtf8),
    ]
}

/// Adds messages, lets TLS fail in another way each time, and ends connections to the API, until `over` is set.
fn vary(over: &AtomicBool, scene: &Scene, authority: &Authority, api: &ReverseProxy, tls: &ReverseProxy) {
    let manners = [
        Manner::Tls(self_signed(|_| ())),
        Manner::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Manner::Close,
        Manner::Tls(authority.sign(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))),
        Manner::Reset,
        Manner::Silence,
        Manner::Say(Vec::new()),
    ];
    for turn in 0_usize.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        tls.set(manners[turn % manners.len()].clone());
        if turn % 8 == 7 {
            api.set(if turn % 16 == 7 { Manner::Reset } else { Manner::Close });
        } else if turn % 8 == 0 {
            api.set(Manner::Pass);
        }
        scene.add();
        std::thread::park_timeout(Duration::from_millis(400));
    }
}

/// Returns the number of open descriptors, and the resident memory in KiB.
fn sample(relay: &Relay) -> [usize; 2] {
    let process = Path::new("/proc").join(relay.id().to_string());
    let descriptors = std::fs::read_dir(process.join("fd")).map_or(0, Iterator::count);
    let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    [descriptors, resident]
}
