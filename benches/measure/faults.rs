//! Measures descriptors and memory over ten thousand faults.

use crate::support::scenarios::fault_storm;

pub(crate) fn measure() {
    let figures = fault_storm::run(10_000);
    let [receiver, tls, api] = figures.faults;
    println!("faults: {receiver} of a receiver, {tls} of TLS, {api} of the API, in {:.0?}", figures.took);
    println!("messages: {} to two receivers, lost 0, repeats {}", figures.messages, figures.repeats);
    let [before, early, last, most, end] = figures.descriptors;
    println!(
        "descriptors: {before} before, {early} after 1,000, {last} after 10,000, {most} at most, {end} at the end"
    );
    let [before, early, last, most, end] = figures.memory.map(|kib| kib as f64 / 1024.0);
    println!(
        "resident, MiB: {before:.1} before, {early:.1} after 1,000, {last:.1} after 10,000, {most:.1} at most, {end:.1} at the end"
    );
}
