//! Checks that the documents name only files, folders and chapters that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The beginnings of code spans that are paths in this repository.
const ROOTS: [&str; 11] = [
    "src/",
    "tests/",
    "docs/",
    "benches/",
    "examples/",
    "fuzz/",
    "contrib/",
    "simulator/",
    "systemd/",
    ".ci/",
    ".cargo/",
];

#[test]
fn every_path_that_a_document_names_exists() {
    let mut named = 0;
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for path in paths(&text) {
            named += 1;
            if !root().join(&path).exists() {
                missing.push(format!("{}: `{path}`", document.display()));
            }
        }
    }
    assert!(named > 50, "the reader of paths found only {named}");
    assert!(missing.is_empty(), "these do not exist:\n{}", missing.join("\n"));
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (path, chapter) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let leads = target.exists()
                && (chapter.is_empty() || chapters(&fs::read_to_string(&target).unwrap()).contains(chapter));
            if !leads {
                missing.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "these lead nowhere:\n{}", missing.join("\n"));
}

#[test]
fn the_readers_of_documents_see_what_they_should() {
    let text = "# A chapter: with `code`, 2\n`src/a.rs` [`b`](b.md#a-chapter) `src/c/d.rs::test` `x` `docs/e/NAME/f` `src/…`\n";
    assert_eq!(paths(text).collect::<Vec<_>>(), ["src/a.rs", "src/c/d.rs", "docs/e"]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["b.md#a-chapter"]);
    assert_eq!(chapters(text), BTreeSet::from(["a-chapter-with-code-2".to_owned()]));
}

/// Returns the paths of the documents for users and developers.
fn documents() -> Vec<PathBuf> {
    let names =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md", "simulator/README.md"];
    let mut all: Vec<PathBuf> = names.iter().map(|name| root().join(name)).collect();
    for folder in ["docs", "docs/internals", "docs/sinks"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        all.extend(entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    all
}

/// Returns the code spans that are paths. The name of a test or the arguments of a command behind a path are left out.
/// A path ends before a part in capitals, which stands for any name.
fn paths(text: &str) -> impl Iterator<Item = String> {
    let spans = text.split('`').skip(1).step_by(2).filter_map(|span| span.split([' ', ':']).next());
    let is_path = |path: &&str| ROOTS.iter().any(|root| path.starts_with(root)) && !path.contains(['…', '*', '\n']);
    let stands_for_any = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase());
    spans.filter(is_path).map(move |path| {
        let parts: Vec<&str> = path.split('/').take_while(|part| !stands_for_any(part)).collect();
        parts.join("/")
    })
}

/// Returns the targets of the links in a text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

/// Returns the headings of a text, in the form in which links name them.
fn chapters(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let is_kept = |next: &char| next.is_alphanumeric() || matches!(next, ' ' | '-' | '_');
    headings
        .map(|heading| heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-"))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
