//! Where rows get their place in the order of release.

use super::*;

const GAP: WalkId = WalkId(1);

fn release(rows: &[i64]) -> StoreOp {
    StoreOp::Release { rows: rows.iter().map(|&seq| Seq(seq)).collect(), class: Class::Live }
}

fn news(seq: i64, held_by: Option<WalkId>) -> StoreOp {
    insert(seq, "hello", RowStanding::News, held_by)
}

/// News of the same time as those before: further down the page.
fn at_the_time_of(other: i64, seq: i64) -> StoreOp {
    let StoreOp::Insert(mut inserted) = news(seq, None) else { unreachable!() };
    inserted.row.time = UnixMs(other * 1000);
    StoreOp::Insert(inserted)
}

/// The rows as they are handed on.
fn order(spool: &Spool) -> String {
    let ordered = "SELECT group_concat(seq, ' ' ORDER BY release_no) FROM delivery";
    spool.connection.query_row(ordered, [], |row| row.get(0)).unwrap()
}

fn opened() -> (tempfile::TempDir, Spool) {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    register(&mut spool, &["crm"]);
    (dir, spool)
}

#[test]
fn the_order_does_not_depend_on_where_rows_get_their_places() {
    let rows = || [news(3, None), news(2, None), at_the_time_of(2, 4), news(1, None)];
    let (_dir, mut at_once) = opened();
    at_once.commit(&rows().into_iter().chain([release(&[3, 2, 4, 1])]).collect::<Vec<_>>(), UnixMs(0)).unwrap();
    let (_dir, mut later) = opened();
    later.commit(&rows(), UnixMs(0)).unwrap();
    later.commit(&[release(&[3, 2, 4, 1])], UnixMs(0)).unwrap();
    assert_eq!(order(&at_once), "1 4 2 3");
    assert_eq!(order(&later), "1 4 2 3");
}

#[test]
fn what_a_gap_held_goes_before_rows_that_are_released_after_it() {
    let (_dir, mut spool) = opened();
    spool.commit(&[news(5, Some(GAP)), news(4, Some(GAP))], UnixMs(0)).unwrap();
    let held = StoreOp::ReleaseHeld { walk: GAP, class: Class::Live };
    spool.commit(&[news(1, None), held, release(&[1])], UnixMs(0)).unwrap();
    assert_eq!(order(&spool), "4 5 1");
}

#[test]
fn each_release_of_a_commit_follows_the_one_before() {
    let (_dir, mut spool) = opened();
    spool.commit(&[news(9, None)], UnixMs(0)).unwrap();
    let ops = [news(2, None), news(1, None), release(&[2]), release(&[9, 1]), news(3, None), release(&[3])];
    spool.commit(&ops, UnixMs(0)).unwrap();
    assert_eq!(order(&spool), "2 1 9 3");
}

#[test]
fn a_row_that_is_released_at_once_is_written_once() {
    let (_dir, mut spool) = opened();
    spool
        .connection
        .execute_batch(
            "CREATE TEMP TRIGGER again BEFORE UPDATE ON main.message BEGIN SELECT RAISE(ABORT, 'again'); END",
        )
        .unwrap();
    spool.commit(&[news(2, None), news(1, None), release(&[2, 1])], UnixMs(0)).unwrap();
    assert_eq!(order(&spool), "1 2");
}

#[test]
fn no_change_of_a_row_fills_a_temporary_table() {
    let (_dir, spool) = opened();
    for change in [
        "INSERT INTO message (seq, id, time, standing, stored_at) VALUES (1, 'a', 1, 'news', 1)",
        "INSERT INTO delivery (seq, sink, class, release_no, state) VALUES (1, 1, 0, 1, 'fresh')",
        "UPDATE delivery SET state = 'delivered' WHERE seq = 1 AND sink = 1",
        "UPDATE sink SET paused = 'gone', ordered = 1 WHERE id = 1",
        "INSERT OR REPLACE INTO walk VALUES (1, 'gap', 1, 0, '', '[]', 1, 1, 1, 1, 0, 0, 0, NULL, NULL)",
    ] {
        let mut steps = spool.connection.prepare(&format!("EXPLAIN {change}")).unwrap();
        let steps: Vec<String> = steps.query_map([], |row| row.get("opcode")).unwrap().map(Result::unwrap).collect();
        assert!(steps.contains(&"MakeRecord".to_owned()), "{change}");
        assert!(!steps.contains(&"OpenEphemeral".to_owned()), "{change}");
    }
}

#[test]
fn what_came_too_late_is_kept_for_a_replay_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path()).unwrap();
    let sinks = spool.register_sinks(&[SinkSetup::new("crm"), SinkSetup::new("ops")], UnixMs::MAX, UnixMs(0)).unwrap();
    let sinks: Vec<SinkId> = sinks.iter().map(|sink| sink.id).collect();
    let ops = [
        insert(1, "news", RowStanding::News, None),
        insert(2, "late", RowStanding::BelowWatermark, None),
        insert(3, "seed", RowStanding::Seed, None),
        StoreOp::Release { rows: vec![Seq(1)], class: Class::Live },
    ];
    spool.commit(&ops, UnixMs(10)).unwrap();
    let choice = Choice {
        sinks,
        new: false,
        ids: ["m2", "m3"].map(str::to_owned).to_vec(),
        since: UnixMs::MIN,
        until: UnixMs::MAX,
        filter: None,
        failed: false,
    };
    let all = Choice { ids: Vec::new(), new: true, ..choice.clone() };
    let last = spool.last_released().unwrap();
    assert_eq!(spool.replayable(&all, 0, last).unwrap().found, [], "it waits already, and nothing else is meant");
    let found = spool.replayable(&choice, 0, last).unwrap().found;
    assert_eq!(found.iter().map(|found| (found.seq, found.before)).collect::<Vec<_>>(), [(Seq(2), Before::Never); 2]);
    assert_eq!(spool.replay(&found).unwrap(), 2);
    assert_eq!(spool.last_released().unwrap(), last + 1);
    assert_eq!(spool.decide(None, WhichUndecided::All).unwrap().0, 1, "one sink at a time");
    let chunk = Chunk { rows: 9, bytes: usize::MAX, details: false };
    let claims = spool.claim_fresh(found[0].sink, Class::Backfill, chunk, |_| false).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(), ["m2"]);
    assert_eq!(spool.replayable(&choice, 0, last + 1).unwrap().found, [], "asking twice sends once");

    // Its text goes like that of a message that every sink has.
    let ops = [insert(4, "late", RowStanding::BelowWatermark, None)];
    spool.commit(&ops, UnixMs(20)).unwrap();
    let cutoffs = |at| Cutoffs { delivered: Some(UnixMs(at)), dead: None };
    assert_eq!(spool.drop_settled(cutoffs(20), Seq(0)).unwrap().messages, 0);
    assert_eq!(spool.drop_settled(cutoffs(21), Seq(0)).unwrap().messages, 1);
}
