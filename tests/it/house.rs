//! Checks the house rules of the sources: there is no circle of imports between files, and each type name occurs only
//! once.
//!
//! A file may use the `mod.rs` of its folder, and the `mod.rs` uses the files of the folder. Rust's modules are built
//! like this, so this counts as no circle. Sources are read as text, as in [`super::layering`].

use std::collections::{BTreeMap, BTreeSet};

use super::layering::{Source, sources};

/// The names that several modules may use, because the module says which type is meant.
const SHARED_NAMES: [&str; 3] = ["Options", "Error", "Settings"];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let names: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let imports: BTreeMap<&str, BTreeSet<&str>> =
        sources.iter().map(|source| (source.name.as_str(), imported_files(source, &names))).collect();
    let circles = circles(&imports);
    assert!(circles.is_empty(), "these files import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn each_type_name_stands_once() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for name in types(&source.code) {
            places.entry(name).or_default().push(source.name.clone());
        }
    }
    places.retain(|name, places| places.len() > 1 && !SHARED_NAMES.contains(&name.as_str()));
    let told: Vec<String> = places.iter().map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
    assert!(told.is_empty(), "these type names stand in several places:\n{}", told.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_what_it_should() {
    let names = BTreeSet::from(["a/mod.rs", "a/b.rs", "a/c.rs", "d.rs", "e/mod.rs", "e/f/mod.rs", "e/f/g.rs"]);
    let read = |name: &str, code: &str| {
        let source = Source { name: name.to_owned(), code: code.to_owned() };
        imported_files(&source, &names).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(read("a/b.rs", "use super::c::X;\nuse crate::d::{Y, Z};\n"), ["a/c.rs", "d.rs"]);
    assert_eq!(read("a/b.rs", "use super::Own;\nuse crate::a::b::Me;\n"), Vec::<&str>::new());
    assert_eq!(
        read("d.rs", "use crate::{a::{self, c::X}, e::f::{g, H}};\n"),
        ["a/c.rs", "a/mod.rs", "e/f/g.rs", "e/f/mod.rs"]
    );
    assert_eq!(read("e/f/g.rs", "fn x() { crate::a::c::y() }\nuse super::super::f::g::Z;\n"), ["a/c.rs"]);
    assert_eq!(read("a/mod.rs", "mod b;\npub use b::X;\nuse self::c::Y;\nuse std::d;\n"), ["a/b.rs", "a/c.rs"]);
    let circle =
        BTreeMap::from([("x", BTreeSet::from(["y"])), ("y", BTreeSet::from(["z"])), ("z", BTreeSet::from(["x"]))]);
    assert_eq!(circles(&circle), ["x y z"]);
    assert_eq!(types("pub(super) struct A<T>;\n    enum B {\nstruct_like!();\npub trait C {"), ["A", "B", "C"]);
}

/// Returns the files of src that a file names in its paths, without the file itself and without the `mod.rs` of the
/// folders in which the file lies.
fn imported_files<'n>(source: &Source, names: &BTreeSet<&'n str>) -> BTreeSet<&'n str> {
    let own: Vec<&str> = module_path(&source.name);
    let mut found = BTreeSet::new();
    for path in paths(&source.code) {
        let mut segments: Vec<&str> = Vec::new();
        for (place, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "crate" => segments.clear(),
                "super" if place == 0 => segments = own[..own.len().saturating_sub(1)].to_vec(),
                "super" => drop(segments.pop()),
                "self" if place == 0 => segments.clone_from(&own),
                "self" => {}
                child if place == 0 => segments = own.iter().copied().chain([child]).collect(),
                name => segments.push(name),
            }
        }
        found.extend(file_of(&segments, names));
    }
    let is_own = |file: &&str| {
        *file == source.name || file.strip_suffix("mod.rs").is_some_and(|folder| source.name.starts_with(folder))
    };
    found.retain(|file| !is_own(file));
    found
}

/// Returns the path of the module in a file: `a/b.rs` and `a/b/mod.rs` are the module a::b.
fn module_path(name: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    parts
}

/// Returns the file of the innermost module to which a path leads.
fn file_of<'n>(segments: &[&str], names: &BTreeSet<&'n str>) -> Option<&'n str> {
    (1..=segments.len()).rev().find_map(|length| {
        let module = segments[..length].join("/");
        names.get(format!("{module}.rs").as_str()).or_else(|| names.get(format!("{module}/mod.rs").as_str())).copied()
    })
}

/// Returns every path that begins with `crate`, `super` or `self`, and every path of a `use`. Groups in a path are
/// expanded.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("use ") {
        if code[..at].chars().next_back().is_none_or(char::is_whitespace) {
            expand(&code[at + start.len()..], &mut Vec::new(), &mut found);
        }
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            if !before.ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == ':') {
                expand(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

/// Takes one path, or a group of paths, from the beginning of `rest`. Returns the text that follows.
fn expand<'c>(rest: &'c str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'c str {
    let rest = rest.trim_start();
    let end = rest.find(|next: char| !(next.is_alphanumeric() || next == '_')).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    before.push(name.to_owned());
    let mut after = after;
    match after.strip_prefix("::") {
        Some(inner) if inner.starts_with('{') => {
            after = &inner[1..];
            while !after.trim_start().starts_with('}') && !after.trim_start().is_empty() {
                after = expand(after, before, found).trim_start();
                after = after.split_once([',', '}']).map_or("", |(skipped, _)| &after[skipped.len()..]);
                after = after.strip_prefix(',').unwrap_or(after);
            }
            after = after.trim_start().strip_prefix('}').unwrap_or("");
        }
        Some(inner) if inner.starts_with(|next: char| next.is_alphabetic() || next == '_') => {
            after = expand(inner, before, found);
        }
        _ => found.push(before.clone()),
    }
    before.pop();
    after
}

/// Returns the circles of imports: sets of files in which each file leads to all others of its set.
fn circles(imports: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let reachable = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = open.pop() {
            for next in imports.get(file.as_str()).into_iter().flatten() {
                if seen.insert((*next).to_owned()) {
                    open.push((*next).to_owned());
                }
            }
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<String>> = imports.keys().map(|file| (*file, reachable(file))).collect();
    let mut found: Vec<String> = Vec::new();
    for (file, reached) in all.iter().filter(|(file, reached)| reached.contains(**file)) {
        let members: Vec<&str> = all
            .iter()
            .filter(|(other, back)| reached.contains(**other) && back.contains(*file))
            .map(|(other, _)| *other)
            .collect();
        found.push(members.join(" "));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns the names of the types and traits that are declared in a file, but not the associated types of traits.
fn types(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in code.lines() {
        let mut line = line.trim_start();
        if let Some(rest) = line.strip_prefix("pub") {
            line = rest
                .strip_prefix('(')
                .and_then(|rest| rest.split_once(") "))
                .map_or(rest, |(_, rest)| rest)
                .trim_start();
        }
        let declared = ["struct ", "enum ", "trait "].iter().find_map(|kind| line.strip_prefix(kind));
        names.extend(
            declared.map(|rest| rest.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect()),
        );
    }
    names
}
