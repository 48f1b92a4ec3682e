//! The rules of ARCHITECTURE.md about who may import whom, and about what is in one place only.
//!
//! Sources are read as text. Comments and code for tests do not count.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the lowest to the highest. A module imports from lower layers only.
const LAYERS: [&[&str]; 12] = [
    &["domain", "time", "files", "secret"],
    &["settings", "metrics", "humanize"],
    &["http", "codes"],
    &["template"],
    &["api", "store", "formats", "sinks"],
    &["ingest", "delivery"],
    &["status", "operator"],
    &["arrivals"],
    &["admin", "heartbeat"],
    &["config"],
    &["daemon"],
    &["cli"],
];

/// Imports that the layers do not allow, each with its reason: who, whom, why.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("time", "domain", "an instant is a value of the domain, and clocks tell instants"),
    ("secret", "files", "a secret may lie in a file"),
];

/// Words that may stand in some places only: the word, the places, the reason.
const PLACES: [(&str, &[&str], &str); 17] = [
    ("SystemTime::now", &["time/clock/mod.rs"], "one file reads clocks"),
    ("Instant::now", &["time/clock/mod.rs"], "one file reads clocks"),
    ("Timestamp::now", &["time/clock/mod.rs"], "one file reads clocks"),
    ("Zoned::now", &["time/clock/mod.rs"], "one file reads clocks"),
    (".elapsed()", &["time/clock/"], "it reads a clock"),
    ("rusqlite", &["store/sqlite/"], "one folder knows SQLite"),
    ("sqlite::", &["store/mod.rs", "store/open.rs", "store/sqlite/"], "one file knows which backend keeps a state"),
    (
        "tokio_postgres",
        &["store/postgres/", "sinks/postgres/"],
        "the state and the sinks in PostgreSQL know its client",
    ),
    (
        "postgres::",
        &["store/handle.rs", "store/mod.rs", "store/open.rs", "store/postgres/", "sinks/mod.rs"],
        "one file knows which backend keeps a state",
    ),
    ("backoff::backoff", &["time/backoff.rs"], "an unmaintained crate stays in one file"),
    (
        "std::env::var",
        &["cli/", "config/sources.rs", "daemon/service.rs", "main.rs"],
        "configuration is passed on as values",
    ),
    ("process::exit", &[], "main returns an exit code"),
    ("println!", &[], "stdout belongs to messages; the log has macros of its own"),
    ("print!", &[], "stdout belongs to messages"),
    ("eprintln!", &["cli/"], "what there is to say goes to the log, once there is one"),
    ("dbg!", &[], "it is for debugging"),
    ("unsafe ", &[], "there is none"),
];

/// Files and folders that decide and do nothing else: no I/O, no clock, no tasks.
const PURE: [&str; 25] = [
    "admin/gauges.rs",
    "domain/",
    "formats/",
    "template/",
    "ingest/coverage/",
    "ingest/account.rs",
    "ingest/events.rs",
    "ingest/foreign_requests.rs",
    "ingest/number_list.rs",
    "ingest/waiting_readers.rs",
    "arrivals/baseline.rs",
    "ingest/poller/erasure.rs",
    "ingest/poller/maintenance.rs",
    "api/budget/rate_limited.rs",
    "api/budget/server_limit/",
    "api/budget/unstated_limit.rs",
    "api/budget/window.rs",
    "delivery/after_attempt.rs",
    "delivery/max_age.rs",
    "delivery/lanes.rs",
    "delivery/pace.rs",
    "delivery/health.rs",
    "daemon/logging/repetition.rs",
    "daemon/service_status.rs",
    "daemon/reload/diff.rs",
];

/// Words that may not occur in files of decisions.
const IMPURE: [&str; 8] =
    ["tokio::", "reqwest::", "rusqlite", "std::fs", "std::net", "std::io", "async fn", "tracing::"];

/// How SQL begins.
const SQL: [&str; 8] =
    ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE FROM ", "\"PRAGMA ", "\"CREATE ", "BEGIN IMMEDIATE", "\"COMMIT"];

#[test]
fn lower_layers_never_import_higher_ones_and_siblings_do_not_meet() {
    let mut wrong = String::new();
    for source in sources() {
        let Some(own) = layer_of(&source.module()) else {
            assert!(matches!(source.name.as_str(), "main.rs" | "lib.rs"), "{}: which layer is it?", source.name);
            continue;
        };
        for target in source.imports() {
            let own_module = source.module();
            let allowed = target == own_module
                || layer_of(&target).unwrap_or_else(|| panic!("{}: which layer is `{target}`?", source.name)) < own
                || EXCEPTIONS.iter().any(|(who, whom, _)| *who == own_module && *whom == target);
            if !allowed {
                writeln!(wrong, "{} imports crate::{target}", source.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "against the import rules of ARCHITECTURE.md:\n{wrong}");
}

#[test]
fn every_exception_is_needed() {
    let sources = sources();
    for (who, whom, reason) in EXCEPTIONS {
        let used =
            sources.iter().any(|source| source.module() == who && source.imports().iter().any(|target| target == whom));
        assert!(used, "{who} -> {whom} ({reason}) does not occur any more: remove it");
    }
}

#[test]
fn what_belongs_to_one_place_stays_there() {
    let mut wrong = String::new();
    for source in sources() {
        for (word, places, reason) in PLACES {
            if !places.iter().any(|place| source.name.starts_with(place)) && holds_word(&source.code, word) {
                writeln!(wrong, "{}: `{word}` ({reason})", source.name).unwrap();
            }
        }
        if !["store/sqlite/", "store/postgres/", "sinks/postgres/"].iter().any(|place| source.name.starts_with(place)) {
            for sql in SQL.iter().filter(|sql| source.code.contains(*sql)) {
                writeln!(
                    wrong,
                    "{}: `{sql}` (SQL stays in src/store/sqlite, src/store/postgres and src/sinks/postgres)",
                    source.name
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "out of place:\n{wrong}");
}

#[test]
fn decisions_are_pure() {
    let sources = sources();
    let mut wrong = String::new();
    for place in PURE {
        let mut found = sources.iter().filter(|source| source.name.starts_with(place)).peekable();
        assert!(found.peek().is_some(), "src/{place} is gone");
        for source in found {
            for word in IMPURE.iter().filter(|word| source.code.contains(*word)) {
                writeln!(wrong, "{}: `{word}`", source.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "not pure:\n{wrong}");
}

#[test]
fn the_simulator_knows_nothing_of_the_relay() {
    let manifest = fs::read_to_string(root().join("simulator/Cargo.toml")).unwrap();
    let names_it = manifest.lines().any(|line| line.trim_start().starts_with("joltsms-relay"));
    assert!(!names_it, "a mistake that both shared would cancel out");
}

#[test]
fn every_module_of_the_map_exists() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = map.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| line.split('`').next());
    let paths: Vec<&str> = lines.filter(|path| path.contains('/')).collect();
    assert!(paths.len() > 12, "the code map of ARCHITECTURE.md was not found: {paths:?}");
    for path in &paths {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let name = format!("src/{}/", entry.unwrap().file_name().to_str().unwrap());
        let is_folder = root().join(&name).is_dir();
        assert!(!is_folder || paths.contains(&name.as_str()), "ARCHITECTURE.md does not name {name}");
    }
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let code = "use crate::a::{b, c};\nuse crate::{\n    d,\n    e::{self, f},\n};\n// use crate::comment;\n\
                #[cfg(test)]\nmod tests {\n    use crate::only_for_tests;\n}\nfn g() -> super::super::h::I {}\n\
                #[cfg(test)]\nuse crate::also_for_tests::{\n    x,\n};\nlet url = \"http://crate::k\";\n";
    let source = Source { name: "x/y.rs".to_owned(), code: without_tests(&without_comments(code)) };
    assert_eq!(source.imports(), ["a", "d", "e", "h", "k"]);
    assert!(holds_word("x println!(", "println!") && !holds_word("eprintln!(", "println!"));
}

/// A source file without its comments, and without the code that is compiled for tests only.
pub(super) struct Source {
    /// The path of the file below `src`.
    pub(super) name: String,
    pub(super) code: String,
}

impl Source {
    /// Returns the top module of the crate to which the file belongs.
    fn module(&self) -> String {
        self.name.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
    }

    /// Returns how many `super::` lead from the file to the root of the crate.
    fn depth(&self) -> usize {
        let parts = self.name.split('/').count();
        if self.name.ends_with("mod.rs") { parts - 1 } else { parts }
    }

    /// Returns the top modules of the crate that the file names in its paths.
    fn imports(&self) -> Vec<String> {
        let to_root = "super::".repeat(self.depth());
        let mut found = Vec::new();
        for prefix in ["crate::", to_root.as_str()] {
            for (at, _) in self.code.match_indices(prefix) {
                if !self.code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before)) {
                    found.extend(heads(&self.code[at + prefix.len()..]));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Returns the first name of a path. If the path begins with a group in braces, returns the first name of each member.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, next) in group.char_indices() {
        match next {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(group[start..at].trim_start()));
                start = at + 1;
                if next == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns whether the code contains the word, and not only as the end of a longer word.
fn holds_word(code: &str, word: &str) -> bool {
    let part_of_a_word = |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    let needs_start = word.starts_with(char::is_alphanumeric);
    code.match_indices(word).any(|(at, _)| !needs_start || !part_of_a_word(&code[..at]))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every file of `src`, except the files that are compiled for tests only.
pub(super) fn sources() -> Vec<Source> {
    let src = root().join("src");
    let (mut files, mut for_tests) = (Vec::new(), Vec::new());
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = without_comments(&fs::read_to_string(&path).unwrap());
                for_tests.extend(modules_for_tests(&path, &code));
                files.push((path, code));
            }
        }
    }
    files
        .retain(|(path, _)| !for_tests.iter().any(|test| path.starts_with(test) || path == &test.with_extension("rs")));
    files.sort_unstable();
    let name = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    let sources: Vec<Source> =
        files.iter().map(|(path, code)| Source { name: name(path), code: without_tests(code) }).collect();
    assert!(sources.len() > 50, "{} files", sources.len());
    sources
}

/// Returns the modules that a file declares for tests only, as paths without `.rs`.
fn modules_for_tests(path: &Path, code: &str) -> Vec<PathBuf> {
    let folder = match path.file_stem().unwrap().to_str().unwrap() {
        "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = code.lines().collect();
    let pairs = lines.windows(2).filter(|pair| is_for_tests(pair[0]));
    let module = |line: &str| {
        let (visibility, name) = line.split_once("mod ")?;
        let is_declaration = visibility.is_empty() || visibility.starts_with("pub");
        name.strip_suffix(';').filter(|_| is_declaration).map(str::to_owned)
    };
    pairs.filter_map(|pair| Some(folder.join(module(pair[1])?))).collect()
}

/// Removes the comments. By the style of this project, a comment has lines of its own.
fn without_comments(code: &str) -> String {
    code.lines().filter(|line| !line.trim_start().starts_with("//")).fold(String::new(), |all, line| all + line + "\n")
}

/// Returns whether the attribute on this line means that the next item is compiled for tests only, or for tests and
/// fuzz targets only.
fn is_for_tests(line: &str) -> bool {
    matches!(line.trim(), "#[cfg(test)]" | "#[cfg(any(test, fuzzing))]")
}

/// Removes each item that is compiled for tests only. As rustfmt writes it, an item ends with the first closing line
/// that has the same indentation as the item.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if !is_for_tests(line) {
            kept += line;
            kept.push('\n');
            continue;
        }
        let indentation = line.len() - line.trim_start().len();
        for line in lines.by_ref() {
            let own = line.len() - line.trim_start().len() == indentation;
            let is_attribute = line.trim_start().starts_with("#[");
            if own && !is_attribute && line.ends_with([';', ',', '}']) {
                break;
            }
        }
    }
    kept
}
