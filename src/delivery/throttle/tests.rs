//! Tests of the throttle with receivers of every kind, and step by step.

use proptest::prelude::*;

use super::simulation::{
    Load, Receiver, Says, apart, at_random, bucket, changing, deliver, refusing, unlimited, window,
};
use super::*;
use crate::domain::UnixMs;
use crate::time::Clock;

/// A receiver that limits the pace: its name, how many messages a second it accepts, and the function that makes it.
type Kind = (&'static str, f64, fn() -> Receiver);

const KINDS: [Kind; 14] = [
    ("one a second", 1.0, || apart(1.0, Says::WholeSeconds)),
    ("one a second, no Retry-After", 1.0, || apart(1.0, Says::Nothing)),
    ("a bucket of 5 in 2 s", 2.5, || bucket(5.0, 2.0, Says::Exactly)),
    ("a bucket of 5 in 2 s, whole seconds", 2.5, || bucket(5.0, 2.0, Says::WholeSeconds)),
    ("a bucket of 5 in 2 s, no Retry-After", 2.5, || bucket(5.0, 2.0, Says::Nothing)),
    ("5 in each 2 s", 2.5, || window(5, 2.0, Says::WholeSeconds)),
    ("10 in each second", 10.0, || window(10, 1.0, Says::WholeSeconds)),
    ("a bucket of 10 a second", 10.0, || bucket(10.0, 1.0, Says::WholeSeconds)),
    ("30 a minute", 0.5, || window(30, 60.0, Says::WholeSeconds)),
    ("30 a minute, no Retry-After", 0.5, || window(30, 60.0, Says::Nothing)),
    ("a bucket of 30 a minute", 0.5, || bucket(30.0, 60.0, Says::Exactly)),
    ("50 a second", 50.0, || window(50, 1.0, Says::WholeSeconds)),
    ("50 a second, no Retry-After", 50.0, || window(50, 1.0, Says::Nothing)),
    ("a bucket of 50 a second", 50.0, || bucket(50.0, 1.0, Says::WholeSeconds)),
];

#[test]
fn messages_take_little_longer_than_the_limit_of_the_receiver_requires() {
    for (name, rate, receiver) in KINDS {
        for messages in [60_usize, 150, 300] {
            for workers in [1, 8, 64] {
                for latency in [0.005, if rate > 5.0 { 0.01 } else { 0.2 }] {
                    let run = deliver(receiver(), Load::new(messages, workers, latency), 1);
                    let case = format!("{name}: {messages} messages, {workers} workers, {latency} s");
                    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
                    let needed = messages as f64 / rate;
                    // A fast receiver needs only a few seconds for all messages. So a single silence of one second is a
                    // large share of the time, and is allowed on top.
                    assert!(run.took() <= 1.3 * needed + 1.0, "{case}: {} s instead of {needed}", run.took());
                    // When the first refusal comes, each worker may have a request under way. The relay could not avoid
                    // these requests, so they do not count as wasted.
                    let wasted = run.refused.saturating_sub(workers);
                    assert!(wasted * 5 <= messages + run.refused, "{case}: {wasted} requests were wasted");
                }
            }
        }
    }
}

#[test]
fn soon_after_the_limit_is_gone_nothing_is_limited() {
    for (name, _, receiver) in KINDS.into_iter().filter(|(_, rate, _)| *rate >= 1.0) {
        for limited in [30.0, 200.0] {
            let run = deliver(changing(limited, receiver(), unlimited()), Load::new(20_000, 8, 0.01), 2);
            assert!(run.accepted_in(limited + 89.0, limited + 90.0) > 700 || run.took() < limited + 90.0, "{name}");
        }
    }
}

#[test]
fn a_receiver_that_refuses_nothing_is_not_limited() {
    let run = deliver(unlimited(), Load::new(5_000, 8, 0.01), 3);
    assert!(run.took() < 7.0, "{}", run.took());
}

#[test]
fn a_limit_that_changes_is_learnt_anew() {
    let (fast, slow) = (|| window(50, 1.0, Says::WholeSeconds), || apart(1.0, Says::WholeSeconds));
    let run = deliver(changing(20.0, fast(), slow()), Load::new(1_200, 8, 0.01), 4);
    let later = run.accepted_in(50.0, 150.0);
    assert!(later >= 70, "{later} of 100");
    let run = deliver(changing(60.0, slow(), fast()), Load::new(6_000, 8, 0.01), 5);
    let later = run.accepted_in(120.0, 150.0);
    assert!(later >= 1_050, "{later} of 1500");
}

/// The receiver accepts 100 requests a day. When the quota is used up, the receiver gets few requests until the next
/// day. Then delivery goes on.
#[test]
fn a_daily_quota_is_used_up_each_day() {
    const DAY: f64 = 86_400.0;
    for (says, most_refused) in [(Says::Nothing, 1_500), (Says::WholeSeconds, 20)] {
        for workers in [1, 8] {
            let run = deliver(window(100, DAY, says), Load::new(150, workers, 0.02), 1);
            assert_eq!(run.accepted_in(0.0, DAY), 100, "{says:?} {workers}");
            assert!(run.took() < DAY + 300.0, "{says:?} {workers}: {} s", run.took());
            assert!(run.refused < most_refused, "{says:?} {workers}: {}", run.refused);
        }
    }
}

/// The receiver asks for one second, but accepts a message only every `gap` seconds. A relay that waited only as long
/// as it is asked would make up to 30 attempts for each message.
#[test]
fn a_receiver_that_asks_for_less_time_than_it_needs_gets_few_attempts_in_vain() {
    let asks_for_a_second = |gap: f64| -> Receiver {
        let mut exact = apart(gap, Says::Exactly);
        Box::new(move |request| {
            exact(request).map(|refusal| Refusal { asked: Some(Duration::from_secs(1)), ..refusal })
        })
    };
    for gap in [3.0, 10.0, 30.0] {
        for workers in [1, 8] {
            for seed in 0..3 {
                let run = deliver(asks_for_a_second(gap), Load::new(200, workers, 0.1), seed);
                let case = format!("{gap} {workers} {seed}");
                assert!(run.took() < 1.3 * 200.0 * gap, "{case}: {} s", run.took());
                assert!(run.refused < 800, "{case}: {} were refused", run.refused);
            }
        }
    }
}

/// `status` shows the pace of a slow receiver, but not a pace that is so quick that nobody would notice it.
#[tokio::test]
async fn only_a_pace_that_slows_a_sink_down_is_shown() {
    let start = start();
    let mut throttle = Throttle::new(None, start);
    throttle.began(start);
    let silence = throttle.refused(TOO_MANY, start, start);
    let mut now = start + silence;
    throttle.began(now);
    throttle.accepted(now, now);
    assert_eq!(throttle.learned_per_minute(now), Some(60));
    for _ in 0..28 {
        now += Duration::from_secs(2);
        throttle.began(now);
        throttle.accepted(now, now);
    }
    assert_eq!((throttle.is_free(now), throttle.learned_per_minute(now)), (false, None));
}

/// At first the relay keeps some silences, until it knows that the pace does not matter. From then on it slows no
/// message down.
#[test]
fn messages_are_not_slowed_down_if_the_receiver_refuses_a_share_at_random() {
    for (share, wait, most) in [(0.2, 1.0, 300.0), (0.25, 1.0, 300.0), (0.3, 1.0, 300.0), (0.25, 5.0, 1_200.0)] {
        // If a receiver states no time, the relay does not know which wait is long enough, so it takes longer to find
        // out that the pace does not matter.
        for (says, most) in [(Says::Nothing, 3.0 * most), (Says::Exactly, most)] {
            for workers in [1_u32, 8] {
                for seed in 0..5 {
                    let load = Load { until_accepted: 2_900, ..Load::new(3_000, workers as usize, 0.1) };
                    let run = deliver(at_random(share, wait, seed, says), load, seed);
                    let needed = 300.0 / f64::from(workers) / (1.0 - share);
                    let case = format!("{share} {wait} {says:?} {workers} {seed}");
                    assert!(run.took() < needed + most, "{case}: {} s instead of {needed}", run.took());
                }
            }
        }
    }
}

#[test]
fn a_receiver_that_refuses_at_random_and_then_sets_a_pace_is_noticed() {
    for workers in [1, 8] {
        let receiver = changing(200.0, at_random(0.3, 1.0, 7, Says::Exactly), apart(1.0, Says::WholeSeconds));
        let load = Load { until_accepted: 5_200, ..Load::new(20_000, workers, 0.05) };
        let run = deliver(receiver, load, 7);
        let later = run.accepted_in(260.0, 360.0);
        assert!(run.took() < 360.0 || later >= 70, "{workers}: {later} of 100");
    }
}

/// There are three cases. In the first, all messages of one number are refused, and every 11th message has this number.
/// In the second, only every 51st message has it. In the third, a single message is refused.
#[test]
fn messages_that_are_always_refused_hold_back_no_other() {
    let of_one_number = |message: usize| if message % 11 == 10 { 1 } else { 2 + i64::from(message.is_multiple_of(2)) };
    let rare = |message: usize| if message % 51 == 50 { 1 } else { 2 + i64::from(message.is_multiple_of(2)) };
    for workers in [1_u32, 8] {
        let needed = 1_000.0 * 0.05 / f64::from(workers);
        let load = Load { until_accepted: 1_000, number: of_one_number, ..Load::new(1_100, workers as usize, 0.05) };
        let run = deliver(refusing(|message| message % 11 == 10, Says::WholeSeconds), load, 1);
        assert!(run.took() < 1.6 * needed + 30.0, "a number {workers}: {} s instead of {needed}", run.took());
        let load = Load { number: rare, messages: 1_020, ..load };
        let run = deliver(refusing(|message| message % 51 == 50, Says::WholeSeconds), load, 1);
        assert!(run.took() < 1.6 * needed + 30.0, "a rare number {workers}: {} s instead of {needed}", run.took());
        let load = Load { number: |_| 0, messages: 1_001, ..load };
        let run = deliver(refusing(|message| message == 3, Says::WholeSeconds), load, 1);
        assert!(run.took() < 1.6 * needed + 30.0, "a message {workers}: {} s instead of {needed}", run.took());
    }
}

/// Turns the index of a message into a number that looks random.
fn scattered(message: usize) -> u64 {
    let mixed = (message as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)) >> 8
}

/// The receiver refuses one message in eight for ever, by its content. The other messages wait for a few minutes at
/// most, until the relay knows that the pace does not matter. From then on they are delivered at once.
#[test]
fn messages_that_are_refused_by_their_content_slow_no_other_down() {
    let is_refused = |message: usize| scattered(message).is_multiple_of(8);
    let others = (0..1_500).filter(|message| !is_refused(*message)).count();
    for (per_second, percent, most) in [(0.2, 90, 1.0), (2.0, 50, 200.0), (8.0, 50, 200.0), (f64::INFINITY, 50, 200.0)]
    {
        for says in [Says::Nothing, Says::WholeSeconds] {
            for workers in [1, 8] {
                let load = Load { until_accepted: others, per_second, ..Load::new(1_500, workers, 0.05) };
                let run = deliver(refusing(is_refused, says), load, 3);
                let case = format!("{per_second} a second, {says:?}, {workers} workers");
                assert!(run.lag(percent) < most, "{case}: lag {} s", run.lag(percent));
                assert!(run.took() < 1_500.0 / per_second + 600.0, "{case}: {} s", run.took());
                assert!(run.refused < 4_000, "{case}: {} were refused", run.refused);
            }
        }
    }
}

/// Of each 16 messages in a row, the receiver always refuses the second and the third. Refused messages and new
/// messages take turns, so at first a refusal follows each acceptance.
#[test]
fn refused_messages_that_follow_each_other_slow_no_other_down() {
    let is_refused = |message: usize| matches!(message % 16, 1 | 2);
    for (messages, per_second, p50, p90) in [(60, 0.2, 1.0, 2.0), (300, 2.0, 1.0, 10.0), (300, 8.0, 8.0, 15.0)] {
        let others = (0..messages).filter(|message| !is_refused(*message)).count();
        for says in [Says::Nothing, Says::WholeSeconds] {
            for workers in [1, 8] {
                let load = Load { until_accepted: others, per_second, ..Load::new(messages, workers, 0.05) };
                let run = deliver(refusing(is_refused, says), load, 3);
                let case = format!("{per_second} a second, {says:?}, {workers} workers");
                assert!(run.lag(50) < p50 && run.lag(90) < p90, "{case}: {} s, {} s", run.lag(50), run.lag(90));
                assert!(run.refused < 400, "{case}: {} were refused", run.refused);
            }
        }
    }
}

/// Two messages come in a second, so the 980th message comes after 490 s. About half of all requests are refused at
/// random.
#[test]
fn messages_are_not_slowed_down_if_the_receiver_refuses_half_of_all_requests() {
    for share in [0.4, 0.5] {
        for workers in [1, 8] {
            for seed in 0..5 {
                let load = Load { per_second: 2.0, ..Load::new(1_000, workers, 0.1) };
                let run = deliver(at_random(share, 1.0, seed, Says::Exactly), load, seed);
                let took = run.accepted[979];
                assert!(took < 700.0, "{share} {workers} {seed}: {took} s instead of 490");
            }
        }
    }
}

fn start() -> Instant {
    Clock::starting_at(UnixMs(0)).monotonic()
}

const TOO_MANY: Refusal = Refusal { asked: None, too_many: true, recurrence: Recurrence::First };

#[tokio::test]
async fn silences_grow_while_nothing_gets_through() {
    let start = start();
    let mut throttle = Throttle::new(None, start);
    let (mut now, mut silences) = (start, Vec::new());
    for _ in 0..9 {
        assert_eq!(throttle.gate(now), Gate::Open);
        throttle.began(now);
        let silence = throttle.refused(TOO_MANY, now, now);
        silences.push(silence.as_secs());
        assert_eq!(throttle.silent_until(now), Some(now + silence));
        now += silence;
    }
    assert_eq!(silences, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    throttle.began(now);
    let hour = Duration::from_secs(3600);
    assert_eq!(throttle.refused(Refusal { asked: Some(hour), ..TOO_MANY }, now, now), hour, "as asked for");
}

#[tokio::test]
async fn after_a_silence_one_attempt_at_a_time_is_made() {
    let start = start();
    let at = |seconds| start + Duration::from_secs(seconds);
    let asked = Refusal { asked: Some(Duration::from_secs(5)), too_many: false, recurrence: Recurrence::First };
    let mut throttle = Throttle::new(None, start);
    for _ in 0..3 {
        throttle.began(start);
    }
    assert_eq!(throttle.refused(asked, start, at(1)), Duration::from_secs(5));
    // An attempt that began before the silence teaches nothing about the pace. But if its answer asks for a longer
    // silence, the silence gets longer.
    throttle.accepted(start, at(2));
    assert_eq!(throttle.refused(asked, start, at(2)), Duration::from_secs(5));
    assert_eq!(throttle.silent_until(at(2)), Some(at(7)));
    assert_eq!(throttle.refused(TOO_MANY, start, at(2)), Duration::ZERO);
    throttle.began(at(7));
    assert_eq!(throttle.gate(at(7)), Gate::AfterTrial);
    throttle.ended(start);
    assert_eq!(throttle.gate(at(7)), Gate::AfterTrial, "another attempt ended, not the trial");
    throttle.ended(at(7));
    assert_eq!(throttle.gate(at(8)), Gate::Open, "the trial failed for another reason: another attempt may begin");
    throttle.began(at(8));
    throttle.accepted(at(8), at(8));
    assert_eq!(throttle.silent_until(at(8)), None);
    assert!(matches!(throttle.gate(at(8)), Gate::At(_)), "slowly at first");
    assert_eq!(throttle.refused(TOO_MANY, start, at(9)), Duration::ZERO, "this attempt began before the silence, too");
    assert!(matches!(throttle.gate(at(8)), Gate::At(_)));
    assert!(!throttle.is_free(at(600)));
    assert_eq!((throttle.gate(at(608)), throttle.is_free(at(608))), (Gate::Open, true), "the refusal is forgotten");
}

#[tokio::test]
async fn a_silence_of_an_earlier_process_goes_on() {
    let start = start();
    let until = start + Duration::from_secs(3600);
    let mut throttle = Throttle::new(Some(until), start);
    assert_eq!(throttle.silent_until(start), Some(until));
    throttle.began(until);
    assert_eq!(throttle.gate(until), Gate::AfterTrial);
    throttle.accepted(until, until);
    assert!(matches!(throttle.gate(until), Gate::At(_)));
    // If the silence is over, an attempt may begin, but only one at a time.
    let mut throttle = Throttle::new(Some(start), start);
    assert_eq!((throttle.silent_until(start), throttle.gate(start)), (None, Gate::Open));
    throttle.began(start);
    assert_eq!(throttle.gate(start), Gate::AfterTrial);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The throttle adapts to any limit, however the receiver states the limit, and however long the answers take.
    #[test]
    fn any_limit_is_met(
        rate in 0.2_f64..40.0,
        burst in 1_u32..40,
        kind in 0_u8..2,
        says in prop::sample::select(vec![Says::Exactly, Says::WholeSeconds, Says::Nothing]),
        workers in prop::sample::select(vec![1_usize, 8, 64]),
        latency in 0.001_f64..0.02,
        seed in any::<u64>(),
    ) {
        let per = f64::from(burst) / rate;
        let receiver = if kind == 0 { bucket(f64::from(burst), per, says) } else { window(burst, per, says) };
        let messages = 400;
        let run = deliver(receiver, Load::new(messages, workers, latency), seed);
        // If a receiver states no time, or rounds the time up to whole seconds, a silence may last longer than
        // necessary. Still, the whole delivery takes little longer than the limit requires.
        let needed = 400.0 / rate;
        prop_assert!(run.took() <= 1.6 * needed + 60.0, "{} s instead of {needed}", run.took());
        let wasted = run.refused.saturating_sub(workers);
        // If the receiver accepts only one message in two to five seconds, each message may be refused twice: after a
        // silence of 1 s, and after a silence of 2 s.
        let most = if rate < 0.5 { 2 * messages } else { (messages + run.refused) / 4 };
        prop_assert!(wasted <= most, "{wasted} wasted");
        if matches!(says, Says::Nothing) && workers == 1 {
            prop_assert!(run.most_after_silence <= 1);
        }
    }

    /// Attempts begin and end in any order. Ten minutes after the last silence the gate is open again.
    #[test]
    fn no_history_shuts_the_gate_for_good(
        steps in prop::collection::vec((0_u8..5, 0_u64..20_000, 0_usize..8), 1..200),
    ) {
        let start = start();
        let mut throttle = Throttle::new(None, start);
        let (mut now, mut silent, mut under_way) = (start, start, Vec::new());
        for (what, wait, which) in steps {
            now += Duration::from_millis(wait);
            if what < 2 || under_way.is_empty() {
                if now >= silent && throttle.gate(now) == Gate::Open {
                    throttle.began(now);
                    under_way.push(now);
                }
                continue;
            }
            let began = under_way.remove(which % under_way.len());
            match what {
                2 => {
                    let refusal = Refusal { asked: Some(Duration::from_millis(wait)), too_many: which > 4, recurrence: Recurrence::First };
                    let silence = throttle.refused(refusal, began, now);
                    prop_assert!(silence <= Duration::from_secs(60));
                    silent = silent.max(now + silence);
                }
                3 => throttle.accepted(began, now),
                _ => throttle.ended(began),
            }
        }
        for began in under_way {
            throttle.ended(began);
        }
        let later = now.max(silent) + FORGOTTEN_AFTER;
        prop_assert_eq!(throttle.gate(later), Gate::Open);
    }
}
