//! Tests of clocks.

use super::*;
use crate::time::trust;

const START: UnixMs = UnixMs(1_750_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn paused_time_drives_all_readings() {
    let clock = Clock::starting_at(UnixMs(5_000));
    let before = clock.monotonic();
    tokio::time::advance(HOUR).await;
    let later = UnixMs(3_605_000);
    assert_eq!((clock.relay_time(), clock.machine_time(), clock.message_time()), (later, later, Some(later)));
    assert_eq!(clock.monotonic() - before, HOUR);
}

#[test]
fn a_told_time_takes_the_place_of_the_machines_clock() {
    let clock = Clock::told(START);
    let near = |time: UnixMs| (START..START.after(HOUR)).contains(&time);
    assert!(near(clock.machine_time()) && near(clock.relay_time()));
    let elsewhere = ClockMemory { boot: Some("another machine".to_owned()), ..ClockMemory::default() };
    clock.resume(Some(elsewhere.clone()), START.before(HOUR));
    assert!(near(clock.relay_time()), "the memory is of another machine");
    clock.resume(Some(elsewhere), START.after(2 * HOUR));
    assert!(clock.relay_time() >= START.after(2 * HOUR), "never before the newest stored instant");
    assert!(near(clock.machine_time()));
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_machines_clock_does_not_move_the_relays_time() {
    let clock = Clock::starting_at(START);
    for to in [START.after(8 * DAY), UnixMs(0), START.after(DAY)] {
        clock.set_machine(to);
        assert_eq!((clock.machine_time(), clock.relay_time(), clock.message_time()), (to, START, Some(START)));
        assert_eq!(clock.synchronize(Some(START)), None, "the time is confirmed already");
    }
    tokio::time::advance(HOUR).await;
    assert_eq!((clock.machine_time(), clock.relay_time()), (START.after(DAY + HOUR), START.after(HOUR)));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_right_after_the_start_puts_the_relays_time_right_once() {
    let ahead = START.after(8 * DAY);
    let clock = Clock::unconfirmed_at(ahead);
    assert_eq!(clock.message_time(), None);
    tokio::time::advance(HOUR / 60).await;
    assert_eq!(clock.synchronize(Some(START.after(HOUR / 60))), None);
    assert!(!clock.is_confirmed());
    tokio::time::advance(HOUR / 60).await;
    let right = START.after(HOUR / 30);
    clock.set_machine(right);
    let correction = clock.synchronize(Some(right)).unwrap();
    assert_eq!((correction.was, correction.now, correction.from), (ahead.after(HOUR / 30), right, ahead));
    assert!(!clock.is_confirmed(), "the stored times were not corrected yet");
    assert_eq!(clock.synchronize(Some(right)), None);
    clock.confirm();
    assert!(clock.is_confirmed());
    assert_eq!(clock.relay_time(), right);
    assert_eq!(clock.corrected_by(), -whole_ms(8 * DAY));
    clock.set_machine(ahead);
    assert_eq!(clock.relay_time(), right);
}

#[tokio::test(start_paused = true)]
async fn without_the_api_the_machine_is_believed_after_an_hour_without_a_jump() {
    let clock = Clock::unconfirmed_at(START);
    assert_eq!(clock.synchronize(None), None);
    tokio::time::advance(HOUR / 2).await;
    clock.set_machine(START.after(DAY));
    assert_eq!(clock.synchronize(None), None);
    tokio::time::advance(HOUR - HOUR / 60).await;
    assert_eq!(clock.synchronize(None), None, "the last jump was less than an hour ago");
    tokio::time::advance(HOUR / 60).await;
    assert_eq!(clock.synchronize(None).unwrap().now, START.after(DAY + HOUR));
    clock.confirm();
    assert_eq!(clock.message_time(), Some(clock.relay_time()));
    assert!(!clock.memory().confirmed, "the next process asks the API anew");
}

#[tokio::test(start_paused = true)]
async fn if_the_api_falls_silent_its_last_time_still_counts() {
    let clock = Clock::unconfirmed_at(START);
    assert_eq!(clock.synchronize(Some(START.after(DAY))), None);
    tokio::time::advance(HOUR / 8).await;
    assert_eq!(clock.synchronize(Some(START.after(DAY + HOUR / 8))), None);
    tokio::time::advance(HOUR / 8).await;
    let correction = clock.synchronize(None).unwrap();
    assert_eq!(
        (correction.now, correction.from),
        (START.after(DAY + HOUR / 4), UnixMs::MIN),
        "the stored times move forward by the day, too"
    );
}

#[tokio::test(start_paused = true)]
async fn if_the_api_falls_silent_a_time_that_it_told_for_a_moment_is_not_believed() {
    let clock = Clock::unconfirmed_at(START);
    for second in 0..5 {
        assert_eq!(clock.synchronize(Some(START.after(DAY + Duration::from_secs(second)))), None);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for _ in 0..48 {
        tokio::time::advance(HOUR / 2).await;
        assert_eq!(clock.synchronize(None), None);
    }
    let right = clock.machine_time();
    assert_eq!(clock.synchronize(Some(right)).unwrap().shift(), 0, "both clocks agree");
}

#[tokio::test(start_paused = true)]
async fn a_time_of_the_api_that_is_not_believed_makes_no_message_older() {
    let clock = Clock::starting_at(START);
    clock.doubt_messages(START.after(DAY));
    assert_eq!(clock.message_time(), Some(START));
    clock.doubt_messages(START.before(DAY));
    assert_eq!(clock.message_time(), Some(START.before(DAY)), "the earlier one of the two times");
    assert_eq!(clock.expected_message_time(), START);
    clock.hear_messages(START);
    assert_eq!(clock.message_time(), Some(START));
    // At the start it is not known whether the machine's clock is right.
    let clock = Clock::unconfirmed_at(START);
    clock.doubt_messages(START.after(DAY));
    assert_eq!((clock.message_time(), clock.latest_message_time()), (None, START.after(DAY)));
    clock.doubt_messages(START.before(DAY));
    assert_eq!(clock.message_time(), Some(START.before(DAY)));
    assert_eq!(clock.memory().messages_ahead_ms, Some(-whole_ms(DAY)), "the memory for commands has the doubted time");
}

#[tokio::test(start_paused = true)]
async fn each_jump_of_the_machine_is_told_once() {
    let clock = Clock::starting_at(START);
    let jump = |by_ms, ahead_ms| Some(MachineJump { by_ms, ahead_ms });
    let day = whole_ms(DAY);
    assert_eq!(clock.machine_jump(), None);
    clock.set_machine(START.after(DAY));
    assert_eq!(clock.machine_jump(), jump(day, None), "the API has stated no time");
    assert_eq!(clock.machine_jump(), None);
    tokio::time::advance(HOUR).await;
    clock.synchronize(Some(START.after(HOUR)));
    assert_eq!(clock.machine_jump(), None, "an hour has passed on both clocks");
    clock.set_machine(START.after(HOUR).before(DAY));
    assert_eq!(clock.machine_jump(), jump(-2 * day, Some(-day)));
    clock.set_machine(START.after(HOUR));
    assert_eq!(clock.machine_jump(), jump(day, Some(0)));
    clock.set_machine(START.after(HOUR + HOUR / 12));
    assert_eq!(clock.machine_jump(), None, "5 minutes are no jump");
    clock.set_machine(START.after(HOUR + HOUR / 6));
    assert_eq!(clock.machine_jump(), jump(600_000, Some(600_000)), "two jumps of 5 minutes count as one of 10");
}

#[test]
fn the_next_process_goes_on_where_this_one_was() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let before = Clock::system();
    before.lock().base += 3_600_000;
    before.confirm();
    let memory = before.memory();
    let after = Clock::system();
    after.resume(Some(memory.clone()), UnixMs::MIN);
    let off = trust::apart(before.relay_time(), after.relay_time());
    assert!(off < HOUR / 120, "{off:?}: time goes on, whatever the machine's clock says");
    assert!(!after.is_confirmed(), "the API has confirmed nothing");
    // After another boot of the machine, only the instant at which the memory was written is known.
    let reboot = ClockMemory { boot: Some("another".to_owned()), ..memory.clone() };
    let after = Clock::system();
    after.resume(Some(reboot.clone()), UnixMs::MIN);
    assert!(after.relay_time() >= UnixMs(reboot.written_at), "the machine's clock is behind what is stored");
    assert!(!after.is_confirmed());
    // Instants prove nothing if a process wrote them by a clock that was ahead and was not confirmed.
    let day = 86_400_000;
    let (proven, guess) = (memory.written_at - day, memory.written_at + 8 * day);
    let guessed = ClockMemory { boot: None, written_at: guess, confirmed_at: Some(proven), ..memory.clone() };
    let after = Clock::system();
    after.resume(Some(guessed.clone()), UnixMs(guess));
    assert_eq!(after.lock().proven, UnixMs(proven));
    assert_eq!(after.memory().confirmed_at, Some(proven));
    after.resume(Some(ClockMemory { confirmed: true, ..guessed }), UnixMs(guess));
    assert_eq!(after.lock().proven, UnixMs(guess));
    after.resume(None, UnixMs(guess));
    assert_eq!(after.lock().proven, UnixMs(guess), "no process left a memory");
    // The boot id stayed the same by mistake: within one boot, the machine cannot have been running for less time
    // than when the memory was written.
    let kept = ClockMemory { booted_at: memory.booted_at - 86_400_000, confirmed: true, ..memory };
    let after = Clock::system();
    after.resume(Some(kept), UnixMs::MIN);
    assert!(!after.is_confirmed());
}
