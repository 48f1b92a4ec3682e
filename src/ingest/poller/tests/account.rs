//! Tests of a key that belongs to another account than the state.

use super::*;

#[tokio::test(start_paused = true)]
async fn polling_ends_before_anything_of_another_account_is_stored() {
    let mut world = World::on_a_file(|_, cursor, _| Ok(page(5, cursor))).await;
    world.run_for(Duration::from_secs(5)).await.unwrap();
    world.double.key = 7;
    let other = |_: usize, _: Option<&Cursor>, _: u32| {
        let mut page = page(3, None);
        for row in &mut page.rows {
            row.id = format!("other {}", row.id);
            row.number = Some("other".to_owned());
        }
        Ok(page)
    };
    *world.double.script.lock().unwrap() = Box::new(other);
    let before = world.store.read(|spool| Ok((spool.load_coverage()?, spool.account()?))).await.unwrap();
    assert!(matches!(world.run_for(Duration::from_secs(5)).await, Err(PollError::OtherAccount)));
    let after = world.store.read(|spool| Ok((spool.load_coverage()?, spool.account()?))).await.unwrap();
    assert_eq!(before, after);
    *world.double.script.lock().unwrap() = Box::new(|_, cursor, _| Ok(page(6, cursor)));
    world.run_for(Duration::from_secs(5)).await.unwrap();
    assert_eq!(world.released().await.len(), 6, "a known message shows that the key belongs to the account");
}
