//! Tests of a machine's clock that jumps, or is wrong at the start. No message is given up, or waits long, because of
//! the clock.

use super::*;
use crate::time::ClockCorrection;

const WRONG: UnixMs = UnixMs(START.0 + 8 * 86_400_000);

impl World {
    /// A world at the start of a process, while the machine's clock is eight days ahead.
    fn eight_days_ahead() -> Self {
        Self { clock: Clock::unconfirmed_at(WRONG), ..Self::new() }
    }

    /// Does what the poller does when the machine's clock was set right and the API states the same time.
    async fn set_right(&self, to: UnixMs, delivery: &Delivery) {
        let correction = self.correct_relay_time(to);
        self.correct_stored_times(correction, delivery).await;
    }

    /// Corrects the relay's time only. Until the stored times are corrected, too, they cannot be compared with the
    /// relay's time.
    fn correct_relay_time(&self, to: UnixMs) -> ClockCorrection {
        self.clock.set_machine(to);
        let correction = self.clock.synchronize(Some(to)).unwrap();
        assert_eq!(correction.now, to);
        correction
    }

    async fn correct_stored_times(&self, correction: ClockCorrection, delivery: &Delivery) {
        let mut after = Some(Seq(i64::MIN));
        while let Some(from) = after {
            let now = self.clock.relay_time();
            after = self.store.write(move |spool| spool.apply_correction(correction, now, from)).await.unwrap();
        }
        self.clock.confirm();
        delivery.waker().wake();
    }
}

fn retries() -> Options {
    let mut options = options(4);
    options.retry.max = MINUTE;
    options
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_does_not_count_as_time() {
    let world = World::new();
    world.register(&["crm"]).await;
    world.release_received(&[START; 8], DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |asked| {
        (Duration::from_millis(1), if asked.at.since(START) < HOUR { unavailable() } else { ACCEPTED })
    });
    let options = Options { max_age: Some(DAY), ..retries() };
    let _delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    for to in [WRONG, UnixMs(0), START] {
        sleep(10 * MINUTE).await;
        world.clock.set_machine(to);
        sleep(MINUTE).await;
        let waiting = world.waiting("crm").await;
        assert_eq!((waiting.fresh + waiting.retry, waiting.dead), (8, 0));
    }
    until("delivered", HOUR, async || receiver.accepted() == 8).await;
}

#[tokio::test(start_paused = true)]
async fn no_message_is_given_up_before_the_time_is_known() {
    let world = World::eight_days_ahead();
    world.register(&["crm"]).await;
    world.release(8, DeliveryClass::Live).await;
    // The messages failed for the first time a minute ago, when the clock was right.
    let failed = format!(
        "UPDATE delivery SET state = 'retry', attempts = 1, first_attempt = {0}, settled_at = {0}, due = {0}",
        START.0
    );
    world.state.change(&failed);
    let receiver = Receiver::new(&world, |asked| {
        (Duration::from_millis(1), if asked.before < 4 { unavailable() } else { ACCEPTED })
    });
    let delivery = world.start(vec![("crm", retries(), receiver.clone())]).await;
    until("each was tried", HOUR, async || receiver.attempts() >= 8).await;
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 0, retry: 8, dead: 0 }, "tried, but not given up");
    world.set_right(START.after(HOUR), &delivery).await;
    until("delivered", 2 * HOUR, async || receiver.accepted() == 8).await;
    assert_eq!(world.waiting("crm").await, WaitingCounts::default());
    let ahead = format!(
        "SELECT count(*) FROM delivery WHERE settled_at > {0} OR first_attempt > {0}",
        world.clock.relay_time().0
    );
    let ahead = world.state.number(&ahead);
    assert_eq!(ahead, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_given_up_once_the_time_is_known_and_has_passed() {
    let world = World::eight_days_ahead();
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (Duration::from_millis(1), unavailable()));
    let delivery = world.start(vec![("crm", retries(), receiver.clone())]).await;
    sleep(HOUR).await;
    world.set_right(START.after(HOUR), &delivery).await;
    sleep(3 * DAY - 2 * HOUR).await;
    assert_eq!(world.waiting("crm").await.dead, 0, "three days have not passed yet");
    sleep(2 * HOUR).await;
    assert_eq!(world.waiting("crm").await.dead, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_looks_too_old_is_neither_sent_nor_given_up_until_its_age_is_known() {
    let world = World::eight_days_ahead();
    world.register(&["crm"]).await;
    world.release_received(&[START.before(DAY), START, WRONG], DeliveryClass::Live).await;
    let receiver = Receiver::healthy(&world);
    let options = Options { max_age: Some(HOUR), ..retries() };
    let delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    sleep(MINUTE).await;
    assert_eq!(receiver.ids_begun(), ["m3"]);
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 2, retry: 0, dead: 0 });
    assert!(delivery.until_idle().await.unwrap(), "messages wait, and none may be sent");
    // The API is polled, and dates messages by the present time.
    world.clock.hear_messages(START.after(MINUTE));
    delivery.waker().wake();
    until("settled", MINUTE, async || world.waiting("crm").await == WaitingCounts { fresh: 0, retry: 0, dead: 1 })
        .await;
    assert_eq!(receiver.ids_begun(), ["m3", "m2"]);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_mixes_times_from_before_a_correction_with_corrected_times() {
    // The machine has no battery for its clock, so the clock begins in 1970. By the relay's time, the messages failed
    // for the first time an hour ago.
    let wrong = UnixMs(DAY.as_millis().try_into().unwrap());
    let world = World { clock: Clock::unconfirmed_at(wrong), ..World::new() };
    world.register(&["crm"]).await;
    world.release(4, DeliveryClass::Live).await;
    let hour_ago = wrong.before(HOUR).0;
    let failed = format!(
        "UPDATE delivery SET state = 'retry', attempts = 1, first_attempt = {hour_ago}, settled_at = {hour_ago}, due = 0"
    );
    world.state.change(&failed);
    let receiver = Receiver::new(&world, |_| (Duration::from_secs(10), unavailable()));
    let options = Options { concurrency: 1, ..retries() };
    let delivery = world.start(vec![("crm", options, receiver.clone())]).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(receiver.attempts(), 1);
    let correction = ClockCorrection { from: UnixMs::MIN, ..world.correct_relay_time(START) };
    // Now the first attempt ends. The other messages were claimed before the correction.
    sleep(Duration::from_secs(8)).await;
    assert_eq!(receiver.attempts(), 1, "no attempt begins while the stored times are being corrected");
    world.correct_stored_times(correction, &delivery).await;
    sleep(HOUR).await;
    assert_eq!(world.waiting("crm").await, WaitingCounts { fresh: 0, retry: 4, dead: 0 });
    let (first, last) = (START.before(2 * HOUR).0, world.clock.relay_time().0);
    let astray = format!("SELECT count(*) FROM delivery WHERE first_attempt NOT BETWEEN {first} AND {last}");
    assert_eq!((world.state.number(&astray), receiver.attempts() > 8), (0, true));
}

#[tokio::test(start_paused = true)]
async fn a_settlement_during_a_correction_of_the_stored_times_is_corrected_once() {
    // The machine's clock is half an hour ahead. If the relay starts at 12:00 by this clock, the correction comes about
    // an hour later, and sets the relay's time back from 13:00 to 12:30. So the right time is later than the start was
    // by the wrong clock.
    let world = World { clock: Clock::unconfirmed_at(START), ..World::new() };
    world.register(&["crm"]).await;
    world.release(1, DeliveryClass::Live).await;
    let receiver = Receiver::new(&world, |_| (MINUTE, unavailable()));
    let delivery = world.start(vec![("crm", retries(), receiver.clone())]).await;
    sleep(HOUR).await;
    let attempts = receiver.attempts();
    until("an attempt is under way", HOUR, async || receiver.attempts() > attempts).await;
    let right = world.clock.relay_time().before(HOUR / 2);
    let correction = world.correct_relay_time(right);
    sleep(MINUTE + Duration::from_secs(2)).await;
    world.correct_stored_times(correction, &delivery).await;
    sleep(Duration::from_secs(1)).await;
    // By the uncorrected time, the first attempt was at START.
    assert_eq!(world.state.number("SELECT first_attempt FROM delivery"), START.before(HOUR / 2).0);
    let settled = UnixMs(world.state.number("SELECT settled_at FROM delivery"));
    assert!(world.clock.relay_time().since(settled) < 2 * MINUTE, "{settled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_and_a_silence_are_as_long_as_they_were_meant() {
    let world = World::eight_days_ahead();
    world.register(&["crm", "busy"]).await;
    world.release(1, DeliveryClass::Live).await;
    let answer = |retry_after: Option<Duration>| {
        move |asked: Asked<'_>| {
            (Duration::from_millis(1), if asked.before == 0 { failed(503, retry_after) } else { ACCEPTED })
        }
    };
    let (crm, busy) = (Receiver::new(&world, answer(None)), Receiver::new(&world, answer(Some(MINUTE))));
    let sinks: Vec<(&str, Options, Arc<dyn Sink>)> =
        vec![("crm", retries(), crm.clone()), ("busy", retries(), busy.clone())];
    let delivery = world.start(sinks).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!((crm.attempts(), busy.attempts()), (1, 1));
    world.set_right(START, &delivery).await;
    sleep(Duration::from_secs(7)).await;
    assert_eq!((crm.accepted(), busy.accepted()), (1, 0), "5 s after the failure, not eight days");
    until("the silence ends", MINUTE, async || busy.accepted() == 1).await;
}
