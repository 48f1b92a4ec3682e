//! Tests of `order = "number"`: the messages of each receiving number are delivered one after the other.

use std::collections::BTreeMap;

use super::*;

fn ordered(concurrency: usize) -> Options {
    let mut options = Options { order: Order::Number, ..options(concurrency) };
    options.retry.max = MINUTE;
    options
}

/// A receiver that checks two things at each attempt: no other message of the number is under way, and no earlier
/// message of the number waits in the store.
struct Strict {
    receiver: Arc<Receiver>,
    state: Arc<TestState>,
    under_way: Arc<Mutex<HashMap<i64, String>>>,
}

impl Strict {
    fn new(world: &World, receiver: Arc<Receiver>) -> Arc<Self> {
        Arc::new(Self { receiver, state: Arc::clone(&world.state), under_way: Arc::default() })
    }
}

impl Sink for Strict {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let own = format!(
            "message AS m JOIN delivery AS d USING (seq) WHERE m.id = '{}' AND d.number IS NOT NULL",
            outgoing.id
        );
        let number = self.state.number(&format!("SELECT d.number FROM {own}"));
        let waiting = self.state.number(&format!(
            "SELECT (SELECT count(*) FROM delivery AS e
                     WHERE e.sink = d.sink AND e.number = d.number AND e.release_no < d.release_no
                       AND e.state IN ('fresh', 'retry'))
             FROM {own}"
        ));
        assert_eq!(waiting, 0, "{} overtakes", outgoing.id);
        let other = self.under_way.lock().unwrap().insert(number, outgoing.id.clone());
        assert_eq!(other, None, "{} begins beside another of its number", outgoing.id);
        let left = Left(number, Arc::clone(&self.under_way));
        let attempting = self.receiver.begin(outgoing);
        Box::pin(async move {
            let attempt = attempting.await;
            drop(left);
            attempt
        })
    }
}

struct Left(i64, Arc<Mutex<HashMap<i64, String>>>);

impl Drop for Left {
    fn drop(&mut self) {
        self.1.lock().unwrap().remove(&self.0);
    }
}

/// A SplitMix64 generator: the same seed gives the same world.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Whatever the traffic, the answers and the restarts are, attempts for one number never overlap and never overtake
/// each other, and every message is settled.
#[tokio::test(start_paused = true)]
async fn no_attempt_ever_overtakes_another_of_its_number() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let world = World::new();
        let numbers = 1 + random.below(6);
        let answers = Random(seed ^ 0xabcd).below(u64::MAX);
        let receiver = Receiver::new(&world, move |asked| {
            let text: u64 = asked.id.bytes().map(u64::from).sum();
            let mut random = Random(answers ^ text.wrapping_mul(31) ^ (asked.before as u64) << 32);
            let takes = Duration::from_millis(1 + random.below(3_000));
            let attempt = match random.below(10) {
                0..=4 => ACCEPTED,
                5 | 6 => failed(500, None),
                7 => failed(503, Some(Duration::from_secs(1 + random.below(30)))),
                8 => Attempt::Rejected { status: Some(422), answer: "422".into() },
                _ => Attempt::Failed { status: None, retry_after: None, answer: "hung".into() },
            };
            (takes, attempt)
        });
        let strict = Strict::new(&world, receiver.clone());
        let concurrency = [1, 2, 3, 8][usize::try_from(random.below(4)).unwrap()];
        let mut options = ordered(concurrency);
        options.retry.give_up_after = Some(MINUTE);
        let mut delivery = world.start(vec![("crm", options.clone(), strict.clone())]).await;
        for _ in 0..15 {
            let class = if random.below(3) == 0 { DeliveryClass::Backfill } else { DeliveryClass::Live };
            let count = 1 + random.below(6);
            let of: Vec<Option<String>> = (0..count)
                .map(|_| random.below(numbers + 1))
                .map(|number| (number > 0).then(|| format!("num_{number}")))
                .collect();
            world.release_of(&of, class).await;
            delivery.waker().wake();
            sleep(Duration::from_millis(random.below(20_000))).await;
            if random.below(4) == 0 {
                world.replay_settled("crm").await;
            }
            if random.below(3) == 0 {
                delivery.drain(Duration::from_millis(random.below(2_000))).await;
                delivery = world.start(vec![("crm", options.clone(), strict.clone())]).await;
            }
        }
        until(&format!("all settled (seed {seed})"), 4 * HOUR, async || {
            let waiting = world.waiting("crm").await;
            waiting.fresh + waiting.retry == 0
        })
        .await;
        assert!(delivery.status()[0].in_flight == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_number_holds_back_no_other() {
    let world = World::new();
    world.register_as(vec![SinkSetup { ordered: true, ..SinkSetup::new("crm") }]).await;
    // The first message of one number fails for an hour. 1199 later messages of the number wait for it. These are more
    // messages than the relay claims at once.
    world.release_of(&vec![Some("bad".to_owned()); 1_200], DeliveryClass::Live).await;
    let good: Vec<Option<String>> = (0..100).map(|place| Some(format!("good{}", place % 5))).collect();
    let expected = world.release_of(&good, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        let fails = asked.id == "m1" && asked.at.since(START) < HOUR;
        (Duration::from_millis(10), if fails { failed(400, None) } else { ACCEPTED })
    });
    let strict = Strict::new(&world, receiver.clone());
    let delivery = world.start(vec![("crm", ordered(4), strict)]).await;
    until("the other numbers", MINUTE, async || receiver.accepted() == 100).await;
    let mut accepted = receiver.seen.lock().unwrap().accepted.clone();
    accepted.sort_by_key(|id| expected.iter().position(|known| known == id));
    assert_eq!(accepted, expected);
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 1_199, retry: 1, dead: 0 });
    // A message that arrives meanwhile is sent at once.
    let live = world.release_of(&[Some("good1".to_owned())], DeliveryClass::Live).await;
    delivery.waker().wake();
    until("at once", Duration::from_millis(200), async || receiver.ids_begun().contains(&live[0])).await;
    until("then the rest", 2 * HOUR, async || world.waiting("crm").await == WaitingCounts::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_lets_the_next_message_of_its_number_go() {
    let world = World::new();
    world.register_as(vec![SinkSetup { ordered: true, ..SinkSetup::new("crm") }]).await;
    world.release_of(&vec![Some("n".to_owned()); 3], DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        (Duration::from_millis(10), if asked.id == "m1" { failed(400, None) } else { ACCEPTED })
    });
    let strict = Strict::new(&world, receiver.clone());
    let mut options = ordered(4);
    options.retry.give_up_after = Some(10 * MINUTE);
    let _delivery = world.start(vec![("crm", options, strict)]).await;
    sleep(9 * MINUTE).await;
    assert_eq!(receiver.accepted(), 0, "the others wait for `m1`");
    until("all settled", 5 * MINUTE, async || {
        world.waiting("crm").await == WaitingCounts { fresh: 0, retry: 0, dead: 1 }
    })
    .await;
    let ids = receiver.ids_begun();
    assert_eq!(ids[ids.len() - 2..], ["m2", "m3"]);
}

#[tokio::test(start_paused = true)]
async fn a_backfill_of_a_number_goes_before_messages_that_were_released_later() {
    let world = World::new();
    world.register_as(vec![SinkSetup { ordered: true, ..SinkSetup::new("crm") }]).await;
    let of = |number: &str, count: usize| vec![Some(number.to_owned()); count];
    world.release_of(&of("a", 5), DeliveryClass::Backfill).await;
    world.release_of(&of("a", 1), DeliveryClass::Live).await;
    world.release_of(&of("b", 1), DeliveryClass::Live).await;
    let receiver = Receiver::healthy(&world);
    let _delivery = world.start(vec![("crm", ordered(1), Strict::new(&world, receiver.clone()))]).await;
    until("all delivered", MINUTE, async || receiver.accepted() == 7).await;
    let ids = receiver.ids_begun();
    assert_eq!(ids[0], "m7", "a message of another number does not wait");
    assert_eq!(ids[1..], ["m1", "m2", "m3", "m4", "m5", "m6"]);
}

/// 500 messages are replayed, and the receiver takes two seconds for each message.
#[tokio::test(start_paused = true)]
async fn a_replay_never_delays_live_messages_of_its_number() {
    for concurrency in [1, 2, 8] {
        let world = World::new();
        world.register_as(vec![SinkSetup { ordered: true, ..SinkSetup::new("crm") }]).await;
        let of = |count: usize| vec![Some("a".to_owned()); count];
        let first = world.release_of(&of(500), DeliveryClass::Live).await;
        let slow = Arc::new(AtomicI64::new(1));
        let takes = Arc::clone(&slow);
        let receiver = Receiver::new(&world, move |_| {
            (Duration::from_millis(takes.load(Ordering::Relaxed).unsigned_abs()), ACCEPTED)
        });
        let strict = Strict::new(&world, receiver.clone());
        let delivery = world.start(vec![("crm", ordered(concurrency), strict.clone())]).await;
        until("all delivered", MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
        slow.store(2_000, Ordering::Relaxed);
        assert_eq!(world.replay_settled("crm").await, 500);
        delivery.waker().wake();
        for round in 0..10 {
            sleep(Duration::from_millis(5_300)).await;
            let (live, released) = (world.release_of(&of(1), DeliveryClass::Live).await, world.clock.relay_time());
            delivery.waker().wake();
            let mut begun = None;
            until("it is begun", MINUTE, async || {
                begun = receiver.begun().into_iter().find(|(id, _)| *id == live[0]);
                begun.is_some()
            })
            .await;
            // With one worker a live message waits for the delivery that is under way. With more workers it does not
            // wait.
            let allowed = if concurrency == 1 { Duration::from_millis(2_050) } else { Duration::from_millis(50) };
            let waited = begun.unwrap().1.since(released);
            assert!(waited <= allowed, "{concurrency} workers, round {round}: {waited:?}");
        }
        assert!(receiver.most_under_way() <= concurrency);
        delivery.drain(Duration::from_secs(5)).await;
        let _delivery = world.start(vec![("crm", ordered(concurrency), strict)]).await;
        until("the replay goes on", HOUR, async || world.waiting("crm").await == WaitingCounts::default()).await;
        let replayed: Vec<String> = receiver.ids_begun().split_off(500);
        let replayed: Vec<&String> = replayed.iter().filter(|id| first.contains(id)).collect();
        assert_eq!(replayed, first.iter().collect::<Vec<_>>(), "each message once, in order");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_switched_on_later_applies_to_waiting_messages() {
    let world = World::on_a_file();
    world.register(&["crm"]).await;
    let of: Vec<Option<String>> =
        (0..5_000_u32).map(|place| (place % 7 > 0).then(|| format!("num_{}", place % 7))).collect();
    world.release_of(&of, DeliveryClass::Backfill).await;
    let receiver = Receiver::healthy(&world);
    let delivery = world.start(vec![("crm", options(4), receiver.clone())]).await;
    until("some are delivered without an order", MINUTE, async || receiver.accepted() > 500).await;
    delivery.drain(Duration::ZERO).await;
    let strict = Strict::new(&world, receiver.clone());
    // The first process with the order ends at once, before all deliveries are in the queues of their numbers.
    world.start(vec![("crm", ordered(4), strict.clone())]).await.drain(Duration::ZERO).await;
    let delivery = world.start(vec![("crm", ordered(4), strict)]).await;
    world.release_of(&[Some("num_1".to_owned()), None], DeliveryClass::Live).await;
    delivery.waker().wake();
    until("all delivered", 10 * MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
    delivery.drain(Duration::ZERO).await;
    let unnumbered = "SELECT count(*) FROM delivery WHERE number IS NULL";
    let count = |sql: &str| world.second_connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count(unnumbered), count("SELECT ordered FROM sink")), (0, 2));
    // The order is switched off again, so a new delivery is not put into the queue of its number. This is done when the
    // order is switched on once more.
    let delivery = world.start(vec![("crm", Options { enabled: false, ..options(4) }, receiver.clone())]).await;
    world.release_of(&[Some("num_1".to_owned())], DeliveryClass::Live).await;
    assert_eq!((count(unnumbered), count("SELECT ordered FROM sink")), (1, 0));
    delivery.drain(Duration::ZERO).await;
    let strict = Strict::new(&world, receiver.clone());
    let _delivery = world.start(vec![("crm", ordered(4), strict)]).await;
    until("delivered, too", MINUTE, async || world.waiting("crm").await == WaitingCounts::default()).await;
    assert_eq!(count(unnumbered), 0);
}

/// After an outage of 16 hours, the retry schedule alone would make the first message of each number wait for hours.
/// All later messages of the number would wait for it.
#[tokio::test(start_paused = true)]
async fn after_an_outage_a_number_does_not_wait_out_a_long_back_off() {
    for numbers in [1, 20] {
        let world = World::new();
        let receiver = Receiver::new(&world, |asked| {
            let up = asked.at.since(START) >= 16 * HOUR;
            (Duration::from_millis(1), if up { ACCEPTED } else { unavailable() })
        });
        let strict = Strict::new(&world, receiver.clone());
        let options = Options { order: Order::Number, ..options(4) };
        let delivery = world.start(vec![("crm", options, strict)]).await;
        for place in 0..40 {
            world.release_of(&[Some(format!("n{}", place % numbers))], DeliveryClass::Live).await;
            delivery.waker().wake();
            sleep(20 * MINUTE).await;
        }
        sleep((16 * HOUR).saturating_sub(world.clock.relay_time().since(START))).await;
        until("all delivered soon after", 3 * MINUTE, async || receiver.accepted() == 40).await;
    }
}

/// One sink is down for a day beside a healthy sink, which must not be slowed down. Afterwards all messages are
/// delivered, in the order of each number.
#[tokio::test(start_paused = true)]
async fn a_day_without_one_receiver() {
    const NUMBERS: usize = 10;
    let latencies = async |with_dead: bool| {
        let world = World::new();
        let healthy = Receiver::new(&world, |_| (Duration::from_millis(40), ACCEPTED));
        let dead = Receiver::new(&world, |asked| {
            let up = asked.at.since(START) >= DAY;
            let hangs = asked.at.0 % 3 == 0;
            match (up, hangs) {
                (true, _) => (Duration::from_millis(40), ACCEPTED),
                (false, true) => (Duration::from_secs(20), failed(504, None)),
                (false, false) => (Duration::from_millis(5), unavailable()),
            }
        });
        let mut sinks: Vec<(&str, Options, Arc<dyn Sink>)> = vec![("healthy", options(8), healthy.clone())];
        if with_dead {
            sinks.push(("down", ordered(8), Strict::new(&world, dead.clone())));
        }
        let delivery = world.start(sinks).await;
        let mut random = Random(7);
        let mut released: BTreeMap<String, UnixMs> = BTreeMap::new();
        let mut order: Vec<(String, usize)> = Vec::new();
        while world.clock.relay_time().since(START) < DAY {
            let number = usize::try_from(random.below(NUMBERS as u64)).unwrap();
            let ids = world.release_of(&[Some(format!("num_{number}"))], DeliveryClass::Live).await;
            released.insert(ids[0].clone(), world.clock.relay_time());
            order.push((ids[0].clone(), number));
            delivery.waker().wake();
            sleep(Duration::from_millis(1 + random.below(120_000))).await;
        }
        until("the healthy one has all", MINUTE, async || healthy.accepted() == order.len()).await;
        let mut waits: Vec<u128> = healthy.begun().iter().map(|(id, at)| at.since(released[id]).as_millis()).collect();
        waits.sort_unstable();
        if with_dead {
            assert!(dead.attempts() > 500, "tried all day: {}", dead.attempts());
            until("the other has all", 10 * MINUTE, async || dead.accepted() == order.len()).await;
            let accepted = dead.seen.lock().unwrap().accepted.clone();
            for number in 0..NUMBERS {
                let of = |id: &&String| order.iter().any(|(known, of)| known == *id && *of == number);
                let expected: Vec<&String> = order.iter().filter(|(_, of)| *of == number).map(|(id, _)| id).collect();
                assert_eq!(accepted.iter().filter(of).collect::<Vec<_>>(), expected, "number {number}");
            }
        }
        waits
    };
    let (alone, beside) = (latencies(false).await, latencies(true).await);
    assert_eq!(alone.len(), beside.len());
    assert!(alone.len() > 1_000, "{}", alone.len());
    let at = |waits: &[u128], percent: usize| waits[(waits.len() - 1) * percent / 100];
    for percent in [50, 90, 99, 100] {
        let (alone, beside) = (at(&alone, percent), at(&beside, percent));
        println!("{percent} % of the waits: {alone} ms alone, {beside} ms beside a dead sink");
        assert!(beside <= alone + 5, "{percent} %: {beside} ms beside a dead sink, {alone} ms alone");
    }
}

/// While nothing gets through, one message at a time is tried. Messages that were never attempted and messages that
/// failed take turns, however many new numbers come.
#[tokio::test(start_paused = true)]
async fn probes_are_new_messages_and_retries_by_turns() {
    let world = World::new();
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let retry = Retry { max: MINUTE, ..options(1).retry };
    let options = Options { order: Order::Number, retry, ..options(4) };
    let delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    let of: Vec<Option<String>> = (0..300).map(|place| Some(format!("n{place}"))).collect();
    world.release_of(&of, DeliveryClass::Live).await;
    delivery.waker().wake();
    sleep(2 * HOUR).await;
    let begun = receiver.begun();
    let (mut seen, mut again) = (std::collections::HashSet::new(), 0);
    for (id, _) in begun.iter().skip(20) {
        again += usize::from(!seen.insert(id.clone()));
    }
    let all = begun.len() - 20;
    assert!(all > 60, "one a minute: {all}");
    assert!(again * 3 >= all, "{again} of {all} were retries");
}
