//! Tests of a state that cannot be written or read for a while.

use super::*;

/// Changes tables through a connection beside the relay's own, so that the relay's next statements meet the changes.
fn tamper(dir: &std::path::Path, sql: &str) {
    let connection = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_is_tried_less_and_less_often() {
    let world = World::on_a_file(|_, cursor, _| Ok(page(35, cursor))).await;
    tamper(world.dir.path(), "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'full'); END");
    let asked = world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert!(asked < 100, "{asked} requests in an hour");
    let (_stop, stops) = watch::channel(false);
    let running = world.poller(Mode::Once).run(stops);
    let ending = tokio::time::timeout(Duration::from_secs(3600), running).await.expect("an end").unwrap();
    assert!(matches!(ending, Ending::GaveUp(_)), "{ending:?}");
    tamper(world.dir.path(), "DROP TRIGGER full");
    world.run_for(Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.released().await.len(), 35);
}

/// The state can neither be written nor read again for a while. Decisions that are made in this time must have no
/// effect.
#[tokio::test(start_paused = true)]
async fn a_page_that_was_not_stored_is_read_again_also_if_the_state_cannot_be_loaded_at_once() {
    let world = World::on_a_file(|_, _, _| Err(Error::Server(500))).await;
    let dir = world.dir.path().to_owned();
    let mut broken = false;
    *world.double.script.lock().unwrap() = Box::new(move |number, cursor, _| {
        assert!(!broken || dir.join("mended").exists(), "asked by a state that is ahead of the disk");
        if number == 6 {
            broken = true;
            tamper(&dir, "ALTER TABLE walk RENAME TO gone");
        }
        Ok(page(135, cursor))
    });
    let dir = world.dir.path().to_owned();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        tamper(&dir, "ALTER TABLE gone RENAME TO walk");
        std::fs::write(dir.join("mended"), "").unwrap();
    });
    world.run_for(Duration::from_secs(300)).await.unwrap();
    let released = world.released().await;
    let missing: Vec<i64> = (1..=135).filter(|number| !released.contains(&format!("m{number}"))).collect();
    assert_eq!(missing, Vec::<i64>::new(), "never handed on");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_for_a_while_does_not_end_it() {
    let world = World::on_a_file(|_, cursor, _| Ok(page(5, cursor))).await;
    let dir = world.dir.path().to_owned();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        tamper(&dir, "ALTER TABLE message RENAME TO gone");
        tokio::time::sleep(Duration::from_secs(120)).await;
        tamper(&dir, "ALTER TABLE gone RENAME TO message");
    });
    world.run_for(Duration::from_secs(600)).await.unwrap();
    assert_eq!(world.released().await.len(), 5);
}
