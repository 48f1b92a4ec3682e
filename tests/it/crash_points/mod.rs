//! Tests in which the real binary is killed at each of its system calls in turn, and started again.
//!
//! `cargo test` plays some of the points; `just crash-points` plays all points. The results are in docs/guarantees.md.

#![expect(clippy::print_stdout, reason = "the figures are for docs/guarantees.md, and what is skipped is said")]

mod records;
mod story;
mod tracer;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use story::{PLAIN, Story};
use verdict::Figures;

use crate::support::prerequisites::skip;

/// The variable that says which points are played: `all`, or a number N, which means every N-th point.
const POINTS: &str = "JOLTSMS_RELAY_CRASH_POINTS";

/// A first run with a catch-up over several pages. Meanwhile messages come, one of them late. The receiver fails, for
/// some messages for good. The other sink is a file of lines. At the end the relay is stopped.
static WORK: Story = Story {
    name: "a day's work",
    budget: 120,
    messages: 19,
    refused: &["past-07"],
    flaky: &["past-02", "past-03", "live-00"],
    settings: &[("POLL__SWEEP_INTERVAL", "300ms")],
    page: 4,
    before: |stage| {
        stage.add_past(1, "past", 11);
        stage.add_at_request(2, "early", 1);
        stage.add_at_request(4, "live", 5);
        stage.add_late_at_request(6, Duration::from_secs(40));
        stage.add_at_request(8, "later", 1);
    },
    ..PLAIN
};

/// The end of a gap of more than 500 rows: the last pages, the release of all rows at once, the first deliveries.
static GAP: Story = Story {
    name: "the release of a long gap",
    messages: 621,
    before: |stage| {
        stage.add_past(2, "old", 1);
        stage.deliver(1);
        stage.scene.handle().clear_requests();
        stage.add_past(1, "gap", 620);
    },
    counts: |stage| stage.scene.handle().counters().rows >= 630 && stage.receiver.count() < 40,
    ..PLAIN
};

/// A stop while a receiver has not answered yet.
static STOP: Story = Story {
    name: "a stop with deliveries under way",
    messages: 12,
    takes: Duration::from_millis(200),
    before: |stage| stage.add_past(1, "past", 12),
    counts: |stage| stage.receiver.count() >= 4,
    stops: |stage| stage.receiver.count() >= 4,
    ..PLAIN
};

/// The first start on a state of the first version, which is migrated to the present format.
static FORMAT: Story = Story {
    name: "a state of format 1",
    messages: 24,
    before: |stage| stage.take_over("state-1.db"),
    counts: |stage| stage.scene.handle().counters().requests == 0,
    ..PLAIN
};

/// The maintenance of each minute, which removes bodies that nobody needs, and ids that cannot be news any more.
static HOUSE: Story = Story {
    name: "housekeeping",
    messages: 215,
    settings: &[("STATE__KEEP_DELIVERED", "0s"), ("POLL__INTERVAL", "1s")],
    before: |stage| {
        stage.add_past(90, "past", 215);
        stage.deliver(215);
    },
    counts: |stage| stage.age() > Duration::from_secs(55),
    targets: &["state/state.db"],
    stops: |stage| stage.age() > Duration::from_secs(60) && stage.scene.count("SELECT count(*) FROM message") == 200,
    ..PLAIN
};

/// A budget that is used up at once. The minute of the budget goes on over the kill.
static BUDGET: Story = Story {
    name: "a budget that is used up",
    budget: 12,
    messages: 2,
    settings: &[("POLL__INTERVAL", "100ms")],
    before: |stage| {
        stage.add_past(1, "past", 1);
        stage.add_at_request(14, "later", 1);
    },
    counts: |stage| stage.scene.handle().counters().requests < 13,
    targets: &["state/budget.ring", "the API"],
    ..PLAIN
};

#[test]
fn nothing_is_lost_wherever_it_is_killed() {
    play(&WORK, Some(61), 20);
}

#[test]
fn nothing_is_lost_when_it_is_killed_at_the_release_of_a_long_gap() {
    play(&GAP, None, 6);
}

#[test]
fn nothing_is_lost_when_it_is_killed_while_it_stops() {
    play(&STOP, Some(41), 10);
}

#[test]
fn nothing_is_lost_when_it_is_killed_while_it_takes_an_older_state_over() {
    play(&FORMAT, Some(41), 10);
}

#[test]
fn nothing_is_lost_when_it_is_killed_while_it_tidies_up() {
    play(&HOUSE, None, 40);
}

#[test]
fn the_budget_holds_wherever_it_is_killed() {
    play(&BUDGET, None, 40);
}

/// Plays every `step`-th point of a story, or all points if no step is given. Many points are played at the same time,
/// since a relay mostly waits.
fn play(story: &'static Story, step: Option<usize>, at_once: usize) {
    if let Some(why) = tracer::is_refused() {
        skip(&format!("{}: this system lets no process watch another ({why})", story.name));
        return;
    }
    let step = match std::env::var(POINTS).as_deref() {
        Ok("all") => Some(1),
        Ok(step) => Some(step.parse().unwrap()),
        Err(_) => step,
    };
    let Some(step) = step else {
        println!("{}: takes minutes, and is played by `just crash-points` only", story.name);
        return;
    };
    let figures = Mutex::new(Figures::default());
    let whole = story.play(None);
    whole.judge(&mut figures.lock().unwrap());
    println!("{}: {} calls, {} points", story.name, whole.first.calls.len(), whole.first.points);

    let (next, survived, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                // The number of calls differs between runs. So points beyond the counted number are played until the
                // relay survives a few times.
                while survived.load(Ordering::Relaxed) < 3 && failed.lock().unwrap().len() < 10 {
                    let point = next.fetch_add(1, Ordering::Relaxed) * step;
                    let played = catch_unwind(AssertUnwindSafe(|| {
                        let seen = story.play(Some(point));
                        seen.judge(&mut figures.lock().unwrap_or_else(PoisonError::into_inner));
                        seen.first.killed.is_none()
                    }));
                    match played {
                        Ok(true) if point >= whole.first.points => drop(survived.fetch_add(1, Ordering::Relaxed)),
                        Ok(_) => {}
                        Err(panic) => {
                            let text = panic.downcast_ref::<String>().map(String::as_str);
                            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                            failed.lock().unwrap().push(format!("point {point}: {text}"));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let figures = figures.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}\n{}", story.name, figures.table());
    assert!(failed.is_empty(), "{} points failed:\n{}", failed.len(), failed.join("\n\n"));
}
