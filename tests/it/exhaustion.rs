//! Faults do not add up: what a failed attempt took is given back. The long run is `just measure faults`.

use crate::support::exhaustion;

#[test]
fn descriptors_and_memory_stay_flat_over_hundreds_of_faults() {
    let figures = exhaustion::run(400);
    println!("{figures:?}");
    let [_, early, _, most, _] = figures.descriptors;
    // 16 + 8 deliveries under way, those that end, two connections to the API; one leaked with each fault would be 400.
    assert!(most <= early + 80, "{figures:?}");
    let [_, early, last, ..] = figures.memory;
    assert!(last <= early + 16 * 1024, "{figures:?}");
}
