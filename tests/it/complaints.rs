//! Checks `docs/complaints.md`: the tests that it names exist.

use std::fs;
use std::path::Path;

use crate::events_table::source;

#[test]
fn every_row_names_a_test_that_exists_or_says_why_none_is_needed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/complaints.md")).unwrap();
    let mut rows = 0;
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.contains("| shown by |")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [complaint, here, tests] = cells.as_slice() else { panic!("not three cells: {row}") };
        assert!(!complaint.trim().is_empty() && !here.trim().is_empty(), "{row}");
        rows += 1;
        let mut named = 0;
        for name in tests.split('`').skip(1).step_by(2) {
            let (module, test) = name.rsplit_once("::").unwrap_or_else(|| panic!("no module: {name}"));
            let code = match module.contains('/') {
                true => fs::read_to_string(root.join(module)).unwrap_or_else(|error| panic!("{module}: {error}")),
                false => source(module),
            };
            assert!(code.contains(&format!("fn {test}()")), "{name} does not exist");
            named += 1;
        }
        assert!(named > 0 || tests.trim().starts_with("cannot happen: "), "neither a test nor a reason: {row}");
    }
    assert!(rows > 40, "only {rows} rows");
}
