//! Tests of which settlements share a transaction, and that no settlement waits long.

use tokio::task::yield_now;

use super::*;
use crate::domain::Outcome;
use crate::store::Settlement;

/// Starts a settler, with 20 messages to be settled.
async fn settler(world: &World) -> Settler {
    world.register(&["crm"]).await;
    world.release(20, DeliveryClass::Live).await;
    world.context(options(1), Receiver::healthy(world)).await.shared.settler
}

fn settlement(world: &World, seq: i64) -> Settlement {
    let (sink, outcome) = (world.sinks.lock().unwrap()["crm"], Outcome::Delivered { status: Some(200) });
    Settlement { sink, seq: Seq(seq), attempts: 1, first_attempt: START, outcome, health: None }
}

fn transactions(world: &World) -> i64 {
    let count = "SELECT value FROM counter WHERE name = 'commits'";
    world.second_connection().query_row(count, [], |row| row.get(0)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn answers_that_come_together_share_a_transaction() {
    let world = World::on_a_file();
    let settler = settler(&world).await;
    let before = transactions(&world);
    let under_way = settler.expect_settlement();
    let first = settler.settle(settlement(&world, 1), 0);
    for _ in 0..100 {
        // The settler's task gets turns here, but no time passes. If the task did not wait for the attempt under way,
        // it would write now.
        yield_now().await;
    }
    drop(under_way);
    let second = settler.settle(settlement(&world, 2), 0);
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(transactions(&world) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_does_not_wait_if_no_attempt_is_under_way() {
    let world = World::new();
    let settler = settler(&world).await;
    let began = world.clock.monotonic();
    for seq in 1..=20 {
        settler.settle(settlement(&world, seq), 0).await.unwrap();
    }
    assert_eq!(world.clock.monotonic() - began, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_waited_for_once() {
    let world = World::new();
    let settler = settler(&world).await;
    let hangs = [settler.expect_settlement(), settler.expect_settlement()];
    let began = world.clock.monotonic();
    settler.settle(settlement(&world, 1), 0).await.unwrap();
    let once = world.clock.monotonic() - began;
    assert!(once > Duration::ZERO && once <= Duration::from_millis(2), "{once:?}");
    for seq in 2..=19 {
        settler.settle(settlement(&world, seq), 0).await.unwrap();
    }
    assert_eq!(world.clock.monotonic() - began, once);
    // Once the hanging attempts have ended, the settler waits for a new attempt again.
    drop(hangs);
    settler.settle(settlement(&world, 19), 0).await.unwrap();
    let _another = settler.expect_settlement();
    settler.settle(settlement(&world, 20), 0).await.unwrap();
    assert!(world.clock.monotonic() - began > once);
}
