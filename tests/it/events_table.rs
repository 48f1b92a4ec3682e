//! Checks `docs/events.md`, which says what happens and which test shows it: the named tests exist, and a test uses
//! each fault and each switch of the simulator.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use joltsms_relay::daemon;
use joltsms_relay::delivery::log_sentences as log;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the source of a module of `tests/it`, in whichever folder the module lies.
pub(super) fn source(module: &str) -> String {
    let folders = fs::read_dir(root().join("tests/it")).unwrap().map(|entry| entry.unwrap().path());
    let mut places = folders
        .map(|folder| folder.join(format!("{module}.rs")))
        .chain([root().join(format!("tests/it/{module}.rs")), root().join(format!("tests/it/{module}/mod.rs"))]);
    let path = places.find(|path| path.is_file()).unwrap_or_else(|| panic!("no module {module} in tests/it"));
    fs::read_to_string(path).unwrap()
}

/// Returns the text between the first two of these marks, and the text after the second mark.
fn between(text: &str, mark: char) -> Option<(&str, &str)> {
    let (_, after) = text.split_once(mark)?;
    after.split_once(mark)
}

/// The last cell of each row names tests as `module::test`, and cases of these tests as "case".
#[test]
fn every_test_that_the_table_names_exists() {
    let text = fs::read_to_string(root().join("docs/events.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |"));
    let mut named = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [event, seen, tests] = cells.as_slice() else { panic!("not three cells: {row}") };
        assert!(!event.trim().is_empty() && !seen.trim().is_empty(), "{row}");
        let mut rest = *tests;
        let mut module_source = String::new();
        let mut count = 0;
        while let Some(start) = rest.find(['`', '"']) {
            let mark = if rest[start..].starts_with('`') { '`' } else { '"' };
            let (name, after) = between(&rest[start..], mark).unwrap_or_else(|| panic!("an open {mark}: {row}"));
            if mark == '`' {
                let (module, test) = name.split_once("::").unwrap_or_else(|| panic!("no module: {name}"));
                module_source = source(module);
                assert!(module_source.contains(&format!("fn {test}()")), "{name} does not exist");
                named.insert(name.to_owned());
                count += 1;
            } else {
                assert!(module_source.contains(&format!("\"{name}\",")), "no case {name:?} for {event}");
            }
            rest = after;
        }
        assert!(count > 0, "no test: {row}");
    }
    assert!(named.len() > 80, "only {} tests are named", named.len());
}

/// The table contains the log sentences of delivery and of the daemon, as the program writes them.
#[test]
fn the_table_has_the_log_sentences() {
    let text = fs::read_to_string(root().join("docs/events.md")).unwrap();
    let of_delivery = [
        log::SINK_FAILS,
        log::SINK_WORKS_AGAIN,
        log::NOTHING_GETS_THROUGH,
        log::RECEIVER_WANTS_SILENCE,
        log::RECEIVER_IS_GONE,
        log::RECEIVER_TAKES_NOTHING,
        log::OUTPUT_IS_CLOSED,
        log::SINK_IS_PAUSED,
        log::SINK_WAS_PAUSED,
        log::SINK_WAS_RESUMED,
        log::SINK_IS_SWITCHED_OFF,
        log::SINK_WAS_RENAMED,
        log::SINK_IS_NEW,
        log::NEW_SINK_IS_FILLED,
        log::MESSAGE_IS_DEAD,
        log::CANNOT_BE_RECORDED,
        log::CAN_BE_RECORDED,
        log::PAUSED_SINK_HAS_MESSAGES,
    ];
    for sentence in of_delivery.into_iter().chain(daemon::log_sentences::ALL) {
        assert!(text.contains(sentence), "docs/events.md does not have {sentence:?}");
    }
}

/// Returns the variants of each public enum in a file, each as the enum's name and the variant's name.
fn variants(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut name = None;
    let mut depth = 0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("pub enum ") {
            name = Some(rest.trim_end_matches(" {").to_owned());
            depth = 0;
        } else if line == "}" {
            name = None;
        } else if let Some(name) = &name {
            let word: String = line.trim().chars().take_while(char::is_ascii_alphanumeric).collect();
            if depth == 0 && line.starts_with("    ") && word.starts_with(char::is_uppercase) {
                found.push((name.clone(), word));
            }
            depth += line.matches('{').count();
            depth -= line.matches('}').count();
        }
    }
    found
}

/// Returns the functions that make an effect, given the name of the effect's variant.
fn short_forms(variant: &str) -> &'static [&'static str] {
    match variant {
        "Status" => &["Effect::status(", "Effect::html("],
        "Break" => &["Effect::reset(", "Effect::cut("],
        "BadRow" => &["Effect::bad_row("],
        _ => &[],
    }
}

#[test]
fn every_fault_and_every_reading_of_the_api_is_tried() {
    let all: String = ["account", "api_faults", "assumptions", "commands", "feed_faults", "keys", "service", "stdout"]
        .map(source)
        .concat();
    let mut known = 0;
    for file in ["faults/effect", "switches"] {
        let text = fs::read_to_string(root().join(format!("simulator/src/{file}.rs"))).unwrap();
        for (name, variant) in variants(&text) {
            // Only `Empty` has tests of its own; the other bodies are tried together with the statuses.
            if name == "ErrorBody" && variant != "Empty" {
                continue;
            }
            // The relay rents no numbers; the simulator's own tests try these answers.
            if name == "Rent" {
                continue;
            }
            // The documented behaviour is the default, so all other tests try it.
            let default =
                file == "switches" && format!("{:?}", joltsms_simulator::Switches::default()).contains(&variant);
            let used = all.contains(&format!("{name}::{variant}"))
                || short_forms(&variant).iter().any(|short| all.contains(short));
            assert!(used || default, "{name}::{variant} is in no test");
            known += 1;
        }
        for line in text.lines().filter(|line| file == "switches" && line.starts_with("    pub ")) {
            let field = line.trim_start_matches("    pub ").split(':').next().unwrap();
            // These switches are for browser sessions, for requests without a limit, and for programs that make keys or
            // rent numbers.
            let foreign = ["session_page_cap", "page_default", "max_keys", "rent", "provisioning"].contains(&field);
            assert!(foreign || all.contains(&format!("switches.{field}")), "no test changes the switch {field}");
        }
    }
    assert!(known > 70, "{known}");
}
