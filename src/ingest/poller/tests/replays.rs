//! Tests of messages that an operator asks for again.

use super::*;

/// When an operator asks for messages that a sink never had, the poller decides within five seconds whether the sink
/// wants them, even while the API is down and nothing else happens.
#[tokio::test(start_paused = true)]
async fn a_replay_is_decided_within_five_seconds() {
    let world = World::new(|_, cursor, _| Ok(page(20, cursor))).await;
    world.run_for(Duration::from_secs(20)).await.unwrap();
    let sinks = [SinkSetup::new("all"), SinkSetup::new("later")];
    let known = world.store.write(move |spool| spool.register_sinks(&sinks, UnixMs::MAX, UnixMs(0))).await.unwrap();
    let sink = known[1].id;
    *world.double.script.lock().unwrap() = Box::new(|_, _, _| Err(Error::Server(503)));
    let (_stop, stops) = watch::channel(false);
    let running = tokio::spawn(world.poller(Mode::Run).run(stops));
    tokio::time::sleep(Duration::from_secs(600)).await;
    for seq in 1..=20_i64 {
        let found = Replayable { seq: Seq(seq), sink, received: UnixMs(0), before: PastDelivery::Never };
        assert_eq!(world.store.write(move |spool| spool.replay(&[found])).await.unwrap(), 1);
        let asked = world.clock.monotonic();
        while world.store.read(Spool::has_undecided).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let waited = world.clock.monotonic() - asked;
            assert!(waited <= Duration::from_millis(5_100), "{waited:?}");
        }
        tokio::time::sleep(Duration::from_millis(730)).await;
    }
    running.abort();
}
