//! A test that faults leave nothing behind: a failed attempt gives back its descriptors and its memory. The long run is
//! `just measure faults`.

use crate::support::scenarios::fault_storm;

#[test]
fn descriptors_and_memory_stay_flat_over_hundreds_of_faults() {
    let figures = fault_storm::run(400);
    println!("{figures:?}");
    let [_, early, _, most, _] = figures.descriptors;
    // There are 24 deliveries under way, some that are ending, and two connections to the API. If each fault left a
    // descriptor open, there would be 400 more.
    assert!(most <= early + 80, "{figures:?}");
    let [_, early, last, ..] = figures.memory;
    assert!(last <= early + 16 * 1024, "{figures:?}");
}
