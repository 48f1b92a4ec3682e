//! Tests of a state that cannot be written or read for a while.

use super::*;

/// Changes the tables of the state through another connection than the relay's.
fn tamper(dir: &std::path::Path, sql: &str) {
    let connection = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stores_nothing_is_tried_less_and_less_often() {
    let world = World::on_a_file(|_, cursor, _| Ok(page(35, cursor))).await;
    tamper(world.dir.path(), "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'full'); END");
    let asked = world.run_for(Duration::from_secs(3600)).await.unwrap();
    assert!(asked < 100, "{asked} requests in an hour");
    let (_stop, stops) = watch::channel(false);
    let running = world.poller(Mode::Once).run(stops);
    let ending = tokio::time::timeout(Duration::from_secs(3600), running).await.expect("`once` does not end").unwrap();
    assert!(matches!(ending, Ending::GaveUp(_)), "{ending:?}");
    tamper(world.dir.path(), "DROP TRIGGER full");
    world.run_for(Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.released().await.len(), 35);
}

/// For a while the state can neither be written nor loaded. In this time no request may leave, because it would be made
/// from a state that is ahead of the disk.
#[tokio::test(start_paused = true)]
async fn a_page_that_was_not_stored_is_read_again_after_the_state_could_be_loaded() {
    let world = World::on_a_file(|_, _, _| Err(Error::Server(500))).await;
    let dir = world.dir.path().to_owned();
    let mut broken = false;
    *world.double.script.lock().unwrap() = Box::new(move |number, cursor, _| {
        assert!(!broken || dir.join("mended").exists(), "a request was made from a state that is ahead of the disk");
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
    assert_eq!(missing, Vec::<i64>::new(), "these messages were never released");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_for_a_while_does_not_end_polling() {
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
