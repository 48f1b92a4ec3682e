//! Tests that messages are saved from whole states and from states that were damaged on purpose.

use std::fs;

use super::*;
use crate::store::sqlite::tests::{Random, contents, make_state};
use crate::store::tests::scratch;

fn saved(dir: &Path) -> (Vec<SalvagedMessage>, SalvageReport) {
    let mut all = Vec::new();
    let salvage = save(dir, |saved| {
        all.push(saved.clone());
        Ok(())
    });
    all.sort_unstable_by_key(|saved| saved.seq);
    (all, salvage.unwrap().unwrap())
}

#[test]
fn reading_page_by_page_finds_what_sqlite_finds() {
    for seed in 0..4 {
        let (orderly, killed) = (scratch(), scratch());
        make_state(&mut Random(seed), orderly.path(), killed.path());
        let before = contents(killed.path());
        for dir in [&orderly, &killed] {
            let (whole, salvage) = saved(dir.path());
            assert!(salvage.wrong.is_none() && whole.len() > 50, "{salvage:?}");
            let mut carved = Vec::new();
            let pages = Pages::open(dir.path()).unwrap();
            let found = carve(&pages, &mut |saved| {
                carved.push(saved.clone());
                Ok(())
            });
            assert_eq!(
                (found.unwrap().unreadable, carved.iter().filter(|saved| saved.intact != Some(true)).count()),
                (0, 0)
            );
            // Messages that were removed recently may be found again.
            carved.retain(|saved| whole.iter().any(|known| known.seq == saved.seq));
            carved.sort_unstable_by_key(|saved| saved.seq);
            assert!(carved == whole);
        }
        assert!(contents(killed.path()) == before, "nothing was touched");
    }
}

#[test]
fn a_damaged_state_is_saved_as_far_as_it_can_be_read() {
    let (dir, killed) = (scratch(), scratch());
    make_state(&mut Random(1), dir.path(), killed.path());
    let (whole, _) = saved(dir.path());
    let file = dir.path().join("state.db");
    let bytes = fs::read(&file).unwrap();
    let damage = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let (found, salvage) = saved(dir.path());
        assert!(salvage.wrong.is_some() && fs::read(&file).unwrap() == bytes, "{salvage:?}");
        for saved in &found {
            let known = whole.iter().find(|known| known.seq == saved.seq);
            assert!(saved.intact == Some(false) || known.is_none_or(|known| known.raw == saved.raw), "{saved:?}");
        }
        found.len()
    };
    // The first page is gone. Without it, SQLite cannot find any row.
    let mut headless = bytes.clone();
    headless[..4096].fill(0);
    assert!(damage(&headless) >= whole.len());
    // Half of the file is gone.
    assert!(damage(&bytes[..bytes.len() / 2]) > whole.len() / 4);
    // Every second page is noise.
    let mut torn = bytes.clone();
    let mut random = Random(3);
    torn.chunks_mut(4096).skip(1).step_by(2).for_each(|page| page.fill_with(|| random.next().to_le_bytes()[0]));
    damage(&torn);
    assert_eq!(damage(b""), 0);
    // One bit of one text is changed. The message is reported as altered, unless the file has another, intact copy.
    let mut changed = bytes.clone();
    let at = bytes.windows(8).rposition(|part| part == b"\"body\":\"").unwrap() + 9;
    changed[at] ^= 1;
    fs::write(&file, &changed).unwrap();
    let (found, salvage) = saved(dir.path());
    let is_intact =
        |known: &SalvagedMessage| found.iter().any(|saved| saved.seq == known.seq && saved.raw == known.raw);
    let altered = whole.iter().filter(|known| !is_intact(known)).count();
    assert!(
        altered <= 1 && salvage.altered == u64::try_from(altered).unwrap() && salvage.wrong.is_some(),
        "{altered} {salvage:?}"
    );
}
