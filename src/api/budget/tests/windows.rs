//! Tests of limits in windows of any length, on APIs of every kind.

use proptest::test_runner::RngSeed;

use super::model::{Kind, Reset, Spoil, api};
use super::*;

const KINDS: [Kind; 3] = [Kind::FirstRequest, Kind::Calendar, Kind::Sliding];

const BACKLOGS: [Demand; 3] = [Demand::Nothing, Demand::Sweeps, Demand::Walks];

/// The tested limits: requests in a window, and the length of the window in seconds.
const LIMITS: [(u32, u64); 8] = [(2, 1), (20, 10), (3, 8), (20, 300), (100, 180), (120, 60), (600, 300), (5, 200)];

/// The log reports other programs if they make at least this many requests a minute.
const SAID: u32 = 5;

/// Returns the longest time that may pass without a poll. Without a backlog this is the time between requests that are
/// spread evenly over a window; with a backlog it is twice that time. It is at least the poll interval (one second). 40
/// percent and two seconds are added as a tolerance.
fn longest_silence(limit: u32, seconds: u64, backlog: Demand) -> Duration {
    let even = Duration::from_secs(seconds) / limit;
    let apart = if backlog == Demand::Nothing { even } else { 2 * even };
    apart.max(Duration::from_secs(1)).mul_f64(1.4) + Duration::from_secs(2)
}

#[test]
fn a_limit_in_any_window_is_kept_and_used() {
    for ((limit, seconds), kind) in LIMITS.into_iter().flat_map(|limit| KINDS.map(|kind| (limit, kind))) {
        for backlog in BACKLOGS {
            let name = format!("{limit} in {seconds} s, {kind:?}, {backlog:?}");
            let api = api(limit, seconds, kind);
            let run = Setup { seed: seconds, backlog, seconds: 1200, api, ..Setup::default() }.run();
            assert!(run.refused.is_empty(), "{name}: {} times 429", run.refused.len());
            assert!(run.most_in_a_minute() <= LIMIT as usize, "{name}: {} in a minute", run.most_in_a_minute());
            // With sliding windows the time without a poll may be twice as long.
            let most = longest_silence(limit, seconds, backlog) * if kind == Kind::Sliding { 2 } else { 1 };
            assert!(run.longest_silence(0) <= most, "{name}: silent for {:?}", run.longest_silence(0));
            let allowed = (1200 * u64::from(limit) / seconds).min(2 * 1200);
            // With a sliding window of one second, a reset in whole seconds does not show when the next request is
            // allowed.
            let least = if (kind, seconds) == (Kind::Sliding, 1) { 75 } else { 90 };
            let used = run.arrivals.len() * 100;
            assert!(backlog != Demand::Walks || used >= usize::try_from(allowed).unwrap() * least, "{name}: {used}");
        }
    }
}

/// Even if the API has windows of a day, and its headers are right, the relay is silent for a quarter of an hour at
/// most.
#[test]
fn no_silence_is_longer_than_a_quarter_of_an_hour() {
    for (limit, seconds) in [(20, 3600), (3, 3600), (10, 86_400)] {
        for (kind, backlog) in KINDS.into_iter().flat_map(|kind| BACKLOGS.map(|backlog| (kind, backlog))) {
            let run = Setup { backlog, seconds: 8_000, api: api(limit, seconds, kind), ..Setup::default() }.run();
            let silence = run.longest_silence(0);
            assert!(silence <= Duration::from_secs(901), "{limit} in {seconds} s, {kind:?}, {backlog:?}: {silence:?}");
        }
    }
}

#[test]
fn a_limit_that_changes_is_learned() {
    let limits = [(2, 1), (20, 300), (120, 60)];
    for (before, after) in limits.into_iter().flat_map(|one| limits.map(|other| (one, other))) {
        for (kind, backlog) in KINDS.into_iter().flat_map(|kind| BACKLOGS.map(|backlog| (kind, backlog))) {
            let name = format!("{before:?} then {after:?}, {kind:?}, {backlog:?}");
            let change = Some((403, api(after.0, after.1, kind)));
            let api = api(before.0, before.1, kind);
            let run = Setup { backlog, seconds: 2200, api, change, ..Setup::default() }.run();
            assert!(run.refused.len() <= 6, "{name}: {} times 429", run.refused.len());
            assert!(run.most_in_a_minute() <= LIMIT as usize, "{name}");
            assert!(
                run.foreign < SAID,
                "{name}: {} of the relay's own requests were taken for another program's",
                run.foreign
            );
            // After the change, two windows of the old limit and two windows of the new limit are left out. From then
            // on polls are as regular as if the API had always had the new limit.
            let silence = run.longest_silence(403 + 2 * (before.1 + after.1));
            let most = longest_silence(after.0, after.1, backlog) * if kind == Kind::Sliding { 2 } else { 1 };
            assert!(silence <= most, "{name}: silent for {silence:?}");
        }
    }
}

/// Whatever the headers say, the relay sends no more requests than its configuration allows, and it polls at least once
/// in a quarter of an hour.
#[test]
fn headers_that_make_no_sense_stop_nothing() {
    let spoils: [(&str, Spoil); 10] = [
        ("none", |_| RateHeaders::default()),
        ("no reset", |headers| RateHeaders { reset: None, ..headers }),
        ("no remaining", |headers| RateHeaders { remaining: None, ..headers }),
        ("no limit", |headers| RateHeaders { limit: None, ..headers }),
        ("an absurd reset", |headers| RateHeaders { reset: None, reset_is_absurd: true, ..headers }),
        ("milliseconds", |headers| RateHeaders { reset: headers.reset.map(|reset| reset * 1000), ..headers }),
        ("always 1 s", |headers| RateHeaders { reset: Some(Duration::from_secs(1)), ..headers }),
        ("always 60 s", |headers| RateHeaders { reset: Some(Duration::from_secs(60)), ..headers }),
        ("always 800 s", |headers| RateHeaders { reset: Some(Duration::from_secs(800)), ..headers }),
        ("always an hour", |headers| RateHeaders { reset: Some(Duration::from_secs(3600)), ..headers }),
    ];
    for (spoiled, spoil) in spoils {
        let limits = [(2, 1), (3, 8), (20, 300), (120, 60)];
        for ((limit, seconds), kind) in limits.into_iter().flat_map(|limit| KINDS.map(|kind| (limit, kind))) {
            let name = format!("{spoiled}: {limit} in {seconds} s, {kind:?}");
            let run = Setup { spoil, seconds: 1800, api: api(limit, seconds, kind), ..Setup::default() }.run();
            assert!(run.most_in_a_minute() <= LIMIT as usize, "{name}");
            assert!(run.longest_silence(0) <= Duration::from_secs(901), "{name}: {:?}", run.longest_silence(0));
            // On an API with the documented limit, wrong resets do not slow polls down. Only "always 800 s" slows
            // them down, in the first windows.
            if (limit, seconds) == (120, 60) && spoiled != "always 800 s" {
                assert!(run.longest_silence(0) <= Duration::from_secs(3), "{name}: {:?}", run.longest_silence(0));
            }
        }
    }
}

/// If no answer states the limit, the 429s teach a pace below the limit, and after a while there are hardly any 429s.
#[test]
fn a_limit_that_no_answer_states_is_learned_from_429s() {
    let limits = [(2, 1), (20, 10), (3, 8), (100, 180), (20, 300), (120, 60)];
    let kinds = [Kind::FirstRequest, Kind::Calendar];
    for ((limit, seconds), kind) in limits.into_iter().flat_map(|limit| kinds.map(|kind| (limit, kind))) {
        for backlog in [Demand::Nothing, Demand::Walks] {
            let name = format!("{limit} in {seconds} s, {kind:?}, {backlog:?}");
            let api = api(limit, seconds, kind);
            let spoil = |_| RateHeaders::default();
            let run = Setup { backlog, seconds: 3600, api, spoil, ..Setup::default() }.run();
            assert!(run.most_in_a_minute() <= LIMIT as usize, "{name}: {} in a minute", run.most_in_a_minute());
            let refused = [0, 1800].map(|from| run.refused_from(from));
            assert!(refused[0] <= 40 && refused[1] <= 15, "{name}: {refused:?} times 429");
            let used = run.used(limit, seconds, 3600);
            assert!(used >= if backlog == Demand::Walks { 55 } else { 45 }, "{name}: {used} % used");
        }
    }
}

/// If an API has short windows, the relay makes at least 40 percent of the requests that the API allows, even if the
/// API states no reset or a wrong one.
#[test]
fn the_length_of_short_windows_is_found_without_a_right_reset() {
    let spoils: [(&str, Reset, Spoil); 3] = [
        ("an instant", Reset::Instant, |headers| headers),
        ("no reset", Reset::Up, |headers| RateHeaders { reset: None, ..headers }),
        ("always 60 s", Reset::Up, |headers| RateHeaders { reset: Some(Duration::from_secs(60)), ..headers }),
    ];
    let limits = [(2, 1), (20, 10), (3, 8)];
    let kinds = [Kind::FirstRequest, Kind::Calendar];
    for ((spoiled, reset, spoil), (limit, seconds)) in
        spoils.into_iter().flat_map(|spoil| limits.map(|limit| (spoil, limit)))
    {
        for (kind, backlog) in kinds.into_iter().flat_map(|kind| BACKLOGS.map(|backlog| (kind, backlog))) {
            let name = format!("{spoiled}: {limit} in {seconds} s, {kind:?}, {backlog:?}");
            let api = model::Api { reset, ..api(limit, seconds, kind) };
            let run = Setup { backlog, seconds: 1800, spoil, api, ..Setup::default() }.run();
            assert!(run.refused.len() <= 8, "{name}: {} times 429", run.refused.len());
            let used = run.used(limit, seconds, 1800);
            assert!(used >= 40, "{name}: {used} % used");
        }
    }
}

/// If the API rounds resets down, a window seems to end up to a second too early. The relay learns this from the first
/// 429.
#[test]
fn a_reset_that_is_rounded_down_is_learned() {
    for ((limit, seconds), kind) in LIMITS.into_iter().flat_map(|limit| KINDS.map(|kind| (limit, kind))) {
        for backlog in BACKLOGS {
            let api = model::Api { reset: Reset::Down, ..api(limit, seconds, kind) };
            let run = Setup { backlog, seconds: 1200, api, ..Setup::default() }.run();
            let refused = run.refused.len();
            assert!(refused <= 2, "{limit} in {seconds} s, {kind:?}, {backlog:?}: {refused} times 429");
        }
    }
}

/// A relay is killed again and again, with and without a power cut. A power cut removes the record of the last
/// requests. Even then these requests must not be reported as requests of another program.
#[test]
fn forgotten_requests_are_not_taken_for_requests_of_another_program() {
    for ((limit, seconds), kind) in LIMITS.into_iter().flat_map(|limit| KINDS.map(|kind| (limit, kind))) {
        for forgets in [true, false] {
            let restarts = vec![290, 315, 322, 440, 461];
            let api = api(limit, seconds, kind);
            let run = Setup { backlog: Demand::Walks, seconds: 900, restarts, forgets, api, ..Setup::default() }.run();
            assert!(run.foreign < SAID, "{limit} in {seconds} s, {kind:?}, forgets: {forgets}: {}", run.foreign);
        }
    }
}

/// A relay is killed twice within so short a time that a request of the first process is still under way at the second
/// kill. The third process counts this request, too.
#[test]
fn two_kills_in_quick_succession_forget_no_request() {
    for seed in 0..200 {
        let restarts = vec![118, 118, 119, 119];
        let run =
            Setup { seed, interval_ms: 100, backlog: Demand::Walks, jitter_ms: 1500.0, restarts, ..Setup::default() }
                .run();
        assert!(run.most_in_a_minute() <= LIMIT as usize, "seed {seed}: {}", run.most_in_a_minute());
    }
}

/// While a window of the old limit is open, the limit changes to 20 requests in each 5 minutes. The API keeps the
/// window and its count, and makes the window longer. The first answer with the new limit says when the window ends,
/// but not that it began before the change. So the requests before the change could be taken for those of another
/// program. They must count as the relay's own.
#[test]
fn requests_in_a_window_that_was_open_when_the_limit_changed_are_the_relays_own() {
    let start = origin();
    let mut window = Window::new(limits(1000));
    let mut ask = |at_ms: u64, limit: u32, remaining: u32, reset: u64| {
        let sent = start + Duration::from_millis(at_ms);
        let ticket = window.send(RequestPurpose::Head, sent);
        let headers = RateHeaders {
            limit: Some(limit),
            remaining: Some(remaining),
            reset: Some(Duration::from_secs(reset)),
            ..RateHeaders::default()
        };
        window.answered(ticket, &headers, sent + Duration::from_millis(5));
    };
    ask(0, 2, 1, 1);
    ask(1010, 2, 1, 1);
    ask(2020, 2, 1, 1);
    ask(3018, 2, 0, 1);
    ask(4090, 20, 17, 298);
    let now = start + Duration::from_millis(4100);
    assert_eq!(window.foreign(), 0);
    let spacing = window.head_spacing(Demand::Nothing, 1, now, now);
    assert!(spacing < Duration::from_secs(18), "{spacing:?}: 17 requests in 298 s");
}

#[test]
fn another_program_is_found_for_certain() {
    for kind in [Kind::FirstRequest, Kind::Calendar] {
        for backlog in BACKLOGS {
            let api = api(LIMIT, 60, kind);
            let run = Setup { backlog, foreign_per_minute: 40, api, ..Setup::default() }.run();
            assert!((30..=45).contains(&run.foreign), "{kind:?}, {backlog:?}: {}", run.foreign);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_128),
        ..ProptestConfig::default()
    })]

    /// The promise: in any minute there are no more requests than are configured, even over restarts, and whatever
    /// limit the API has or states.
    #[test]
    fn never_more_than_is_configured_in_any_minute(
        seed in any::<u64>(),
        requests in prop::sample::select(vec![1_u32, 2, 7, 30, 120, 240]),
        limit in 1_u32..400,
        seconds in 1_u64..400,
        kind in prop::sample::select(KINDS.to_vec()),
        later in (1_u32..400, 1_u64..400),
        interval_ms in 100_u64..3000,
        backlog in prop::sample::select(BACKLOGS.to_vec()),
        jitter_ms in 1.0_f64..2000.0,
        foreign_per_minute in prop::sample::select(vec![0_u64, 0, 30]),
        restarts in prop::collection::vec(1_u64..600, 0..4),
    ) {
        let mut restarts = restarts;
        restarts.sort_unstable();
        let change = Some((300, api(later.0, later.1, kind)));
        let api = api(limit, seconds, kind);
        let setup = Setup {
            seed, requests, interval_ms, backlog, jitter_ms, foreign_per_minute, restarts, api, change, ..Setup::default()
        };
        let run = setup.run();
        prop_assert!(run.most_in_a_minute() <= requests as usize, "{}", run.most_in_a_minute());
    }

    /// On an API whose headers are right, and with no other program on the key, there is no 429. There is one
    /// exception: if requests take longer than a second to arrive, and a new window begins meanwhile, there may be a
    /// single 429. An example is a limit of 234 in 253 s with delays of up to 1.7 s, seed 14745491354689579419.
    #[test]
    fn no_429_comes_if_the_headers_are_right(
        seed in any::<u64>(),
        limit in 1_u32..400,
        seconds in 1_u64..400,
        kind in prop::sample::select(KINDS.to_vec()),
        interval_ms in 100_u64..3000,
        backlog in prop::sample::select(BACKLOGS.to_vec()),
        jitter_ms in 1.0_f64..2000.0,
    ) {
        let api = api(limit, seconds, kind);
        let run = Setup { seed, interval_ms, backlog, jitter_ms, api, ..Setup::default() }.run();
        prop_assert!(run.refused.len() <= usize::from(jitter_ms > 1000.0), "{} times 429", run.refused.len());
    }
}
