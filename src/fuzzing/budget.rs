//! Fuzzes the request budget, with answers whose headers may say anything.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::bytes::Bytes;
use crate::api::budget::{BudgetLimits, Demand, Permission, RateHeaders, RequestPurpose, Ticket, WINDOW, Window};
use crate::domain::UnixMs;
use crate::http::retry_after::CAP;
use crate::ingest::coverage::testbed::Choices as _;
use crate::time::{Clock, Instant};

/// The longest time to the end of a window that `X-RateLimit-Reset` may state.
const DAY: Duration = Duration::from_secs(86_400);

const NAMES: [&str; 4] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"];

/// Reads headers with any content. Each value that the relay takes from them must be within bounds.
pub fn rate_headers(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let now = UnixMs(bytes.number());
    let mut headers = HeaderMap::new();
    while !bytes.is_empty() {
        let name = bytes.pick(&NAMES);
        if let Ok(value) = HeaderValue::from_bytes(bytes.line()) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let read = RateHeaders::read(&headers, Some(now), now);
    assert!(read.limit != Some(0), "a limit of zero requests");
    assert!(read.reset.is_none_or(|reset| (Duration::from_secs(1)..=DAY).contains(&reset)));
    assert!(read.retry_after.is_none_or(|wait| wait <= CAP));
}

/// A request, and when it was answered.
struct Sent {
    ticket: Ticket,
    answered: Option<Instant>,
}

/// Sends requests, gives answers with any content, and lets time pass. Checks four promises:
///
/// - A request counts until one window after its answer. At no time do more requests count than the limit allows.
/// - No request is sent in a silence.
/// - No wait is longer than [`CAP`].
/// - The spacing of polls is at least the interval, and at most 600 windows.
pub fn budget(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let requests = bytes.pick(&[1_u32, 2, 3, 5, 10, 120]);
    let head_interval = Duration::from_millis(bytes.pick(&[0, 1, 150, 1000, 60_000]));
    let mut window = Window::new(BudgetLimits { requests, window: WINDOW, head_interval });
    let mut now = Clock::starting_at(UnixMs(0)).monotonic() + 10 * WINDOW;
    let mut sent: Vec<Sent> = Vec::new();
    let mut silent_until = now;
    for _ in 0..bytes.below(4) {
        window.remember(Duration::from_secs(u64::from(bytes.byte())), now);
    }
    for _ in 0..2000 {
        if bytes.is_empty() {
            break;
        }
        let lane = bytes.pick(&[RequestPurpose::Head, RequestPurpose::Walk, RequestPurpose::Sweep]);
        match bytes.below(8) {
            0 => now += Duration::from_millis(u64::from(bytes.byte())),
            1 => now += Duration::from_millis(250 * u64::from(bytes.byte())),
            2..=4 => match window.admit(lane, now) {
                Permission::Go => {
                    assert!(now >= silent_until, "a request was sent in a silence");
                    let in_use = |one: &Sent| one.answered.is_none_or(|at| at + WINDOW > now);
                    let used = sent.iter().filter(|one| in_use(one)).count();
                    assert!(used < requests as usize, "{} of {requests} requests in a minute", used + 1);
                    sent.push(Sent { ticket: window.send(lane, now), answered: None });
                }
                Permission::WaitUntil(until) => {
                    assert!(until > now, "a wait that is over");
                    assert!(until <= now + CAP, "a wait longer than the cap");
                    // The time moves to the end of the wait, as with a timer.
                    if bytes.chance(1.0 / 2.0) {
                        now = until;
                    }
                }
                Permission::WaitForAnswer => {
                    assert!(sent.iter().any(|one| one.answered.is_none()), "no request is under way");
                }
            },
            _ => {
                let under_way: Vec<usize> = (0..sent.len()).filter(|at| sent[*at].answered.is_none()).collect();
                let Some(place) = under_way.get(usize::from(bytes.byte()) % under_way.len().max(1)) else { continue };
                let headers = headers(&mut bytes);
                sent[*place].answered = Some(now);
                window.answered(sent[*place].ticket, &headers, now);
                if bytes.chance(1.0 / 8.0) {
                    let wait = window.refused(&headers, |times| Duration::from_secs(u64::from(times.min(60))), now);
                    silent_until = silent_until.max(now + wait);
                } else {
                    window.not_refused(sent[*place].ticket);
                }
                let demand = bytes.pick(&[Demand::Nothing, Demand::Sweeps, Demand::Walks]);
                let spacing = window.head_spacing(demand, u32::from(bytes.byte()), now, now);
                assert!(spacing >= head_interval && spacing <= 600 * WINDOW, "{spacing:?}");
            }
        }
    }
}

fn headers(bytes: &mut Bytes<'_>) -> RateHeaders {
    let reset_is_absurd = bytes.chance(1.0 / 16.0);
    let mut number = |most: i64| match bytes.below(4) {
        0 => None,
        1 => Some(u32::from(bytes.byte())),
        2 => u32::try_from(most).ok(),
        _ => u32::try_from(bytes.number().rem_euclid(most + 1)).ok(),
    };
    RateHeaders {
        limit: number(i64::from(u32::MAX)).filter(|limit| *limit > 0),
        remaining: number(i64::from(u32::MAX)),
        reset: number(86_400).map(|seconds| Duration::from_secs(u64::from(seconds.clamp(1, 86_400)))),
        reset_is_absurd,
        retry_after: number(86_400).map(|seconds| Duration::from_secs(u64::from(seconds.min(86_400)))),
        ..RateHeaders::default()
    }
}
