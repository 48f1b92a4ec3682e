//! Runs many cases of one test side by side. A relay mostly waits, so twenty cases take hardly longer than one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most cases that run at once. With more cases, a small machine would be too busy to meet the deadlines.
const AT_ONCE: usize = 12;

/// Runs the test for every case, and fails with the names of all cases that failed.
pub(crate) fn side_by_side<C: Sync>(cases: &[(&str, C)], test: impl Fn(&C) + Sync) {
    // A skipped case is reported under the name of the test.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            let thread = std::thread::Builder::new().name(name.clone());
            let work = || {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(case))) {
                        let text = panic.downcast_ref::<String>().map(String::as_str);
                        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                        failed.lock().unwrap().push(format!("{name}: {text}"));
                    }
                }
            };
            thread.spawn_scoped(scope, work).unwrap();
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n\n"));
}
