//! The environment layer: `PREFIX_<SECTION>__<KEY>`, and short names for some keys.
//!
//! In the name of a variable, each `.` of the key is `__` and all letters are capitals: `sinks.crm.retry.max` is
//! `PREFIX_SINKS__CRM__RETRY__MAX`. A variable whose name ends with `__FILE` holds the path of a file with the value.
//!
//! The name of a sink has small letters and may contain a `-`, but the name of a variable cannot contain a `-`. So the
//! part of a variable's name that names a sink is compared with the names of the sinks in the file without regard to
//! case, and with each `-` read as `_`. If there is no such sink, the variable makes a new sink.
//!
//! Each name in a map, such as the name of a header, makes a variable of its own, with `_` for each `-`:
//! `PREFIX_SINKS__CRM__HEADERS__X_TEAM`.
//!
//! An unknown variable with the prefix is an error if a key of a section was probably meant. If not, the relay only
//! warns of the variable. Kubernetes sets variables for each service; the variables of a service whose name begins like
//! the prefix are ignored. They never contain `__`.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::declarations::{Declarations, Section};
use super::document::{Document, Origin, Table, WrittenEntry, WrittenValue};
use super::file::not_yet;
use super::key::{DeclaredKey, KeyKind};
use super::report::Complaints;
use super::suggestion::nearest;
use crate::domain::SinkName;
use crate::secret::{Environment, Secret, Source};

const FILE_SUFFIX: &str = "__FILE";
const SINKS_PREFIX: &str = "SINKS__";

/// The meaning of a variable's name. `file`: the value is the path of a file that holds the value.
enum VariableMeaning<'v> {
    /// A key of a section, or of a sink. The sink's name is spelled as in the variable.
    Key { section: &'static str, sink: Option<&'v str>, key: &'static str, file: bool },
    /// One name in a map of a sink, spelled as in the variable.
    Member { sink: &'v str, map: &'static str, name: &'v str, file: bool },
    /// A section of a later version, described for people.
    Later(String),
    /// This program knows no such name.
    Unknown,
}

/// Merges the environment into the document.
pub fn apply(environment: &Environment, document: &mut Document, report: &mut Complaints) {
    let declared = report.declared();
    let mut unknown = Vec::new();
    // If a value of the file refers to a short variable (`{ env = "NAME" }`), also as one element of an array, this
    // variable does not override the value.
    let named_by_file: Vec<&str> = declared
        .short
        .iter()
        .filter(|(name, section, key, _)| {
            document.section(section).entries.get(*key).is_some_and(|entry| names(entry, name))
        })
        .map(|(name, ..)| *name)
        .collect();
    for (name, value) in environment {
        let name = name.to_string_lossy();
        let origin = Origin::Variable(name.to_string());
        let short = declared.short.iter().find(|(short, ..)| *short == name);
        let meaning = match (short, name.strip_prefix(declared.prefix)) {
            (Some((short, ..)), _) if named_by_file.contains(short) => continue,
            (Some((_, section, key, file)), _) => VariableMeaning::Key { section, sink: None, key, file: *file },
            (None, Some(rest)) if name != declared.file_variable && !is_made_by_kubernetes(rest) => {
                meaning(declared, rest)
            }
            (None, None) => {
                warn_of_small_letters(declared, &name, &origin, report);
                continue;
            }
            _ => continue,
        };
        let (sink, file) = match meaning {
            VariableMeaning::Key { sink, file, .. } => (sink, file),
            VariableMeaning::Member { sink, file, .. } => (Some(sink), file),
            VariableMeaning::Later(section) => {
                report.error(&origin, not_yet(&section), "");
                continue;
            }
            VariableMeaning::Unknown => {
                unknown.push(name);
                continue;
            }
        };
        let Some(value) = text(value, &origin, report) else { continue };
        if value.is_empty() && matches!(meaning, VariableMeaning::Key { .. }) {
            report.is_empty(&name);
        }
        let table = match (sink, &meaning) {
            (Some(sink), _) => table_of_sink(sink, &origin, document, report),
            (None, VariableMeaning::Key { section, .. }) => Some(document.section(section)),
            (None, _) => None,
        };
        let Some(table) = table else { continue };
        match meaning {
            VariableMeaning::Member { map, name, .. } => {
                let name = name.to_ascii_lowercase().replace('_', "-");
                let value = value_of(value, file, &origin, report);
                table.set_member(map, name, &origin, value);
            }
            VariableMeaning::Key { key, .. } => {
                if let Some(Origin::Variable(other)) = table.entries.get(key).map(|entry| &entry.origin) {
                    let message = format!("`{other}` sets the same key");
                    report.error(&origin, message, "unset one of the two");
                    continue;
                }
                let is_in_file = table.entries.get(key).is_some_and(|entry| matches!(entry.origin, Origin::File(_)));
                if let (Some((_, section, ..)), true) = (short, is_in_file) {
                    let message = format!("overrides `{section}.{key}` of the configuration file");
                    report.warn(&origin, message, "unset the variable, or take the key out of the file");
                }
                let value = value_of(value, file, &origin, report);
                table.set(key, origin, value);
            }
            VariableMeaning::Later(_) | VariableMeaning::Unknown => {}
        }
    }
    let known = if unknown.is_empty() { Vec::new() } else { known_names(declared, document) };
    let prefix = declared.prefix;
    for name in unknown {
        let rest = name.strip_prefix(prefix).unwrap_or_default();
        let of_new_sink = names_of_new_sink(declared, rest);
        let meant = nearest(rest, known.iter().chain(&of_new_sink).map(String::as_str));
        let names = format!("the names are {prefix}<SECTION>__<KEY>, such as {prefix}POLL__INTERVAL");
        let origin = Origin::Variable(name.to_string());
        match meant {
            Some(meant) => report.error(&origin, format!("unknown variable; did you mean {prefix}{meant}?"), ""),
            None if is_of_a_section(declared, rest) || rest.contains(char::is_lowercase) => {
                report.error(&origin, format!("unknown variable; {names}"), "");
            }
            None => report.warn(&origin, format!("no key of the configuration, so it is passed over; {names}"), ""),
        }
    }
}

/// Warns of a variable that would be one of the relay's if it had capital letters. Such a variable is not read: it may
/// belong to another program.
fn warn_of_small_letters(declared: &Declarations, name: &str, origin: &Origin, report: &mut Complaints) {
    let capitals = name.to_ascii_uppercase();
    let is_short = declared.short.iter().any(|(short, ..)| *short == capitals);
    if capitals != name && (is_short || capitals == declared.file_variable || capitals.starts_with(declared.prefix)) {
        report.warn(origin, format!("is not read, since it is not in capitals; did you mean {capitals}?"), "");
    }
}

fn text<'v>(value: &'v OsStr, origin: &Origin, report: &mut Complaints) -> Option<&'v str> {
    let text = value.to_str();
    if text.is_none() {
        report.error(origin, "the value is not UTF-8".to_owned(), "");
    }
    text
}

fn value_of(value: &str, file: bool, origin: &Origin, report: &mut Complaints) -> WrittenValue {
    match file {
        true if value.is_empty() => {
            report.error(origin, "is set but empty; it must be the path of a file".to_owned(), "");
            WrittenValue::Broken
        }
        true => WrittenValue::Reference(Source::File(PathBuf::from(value))),
        false => WrittenValue::Text(Secret::from(value)),
    }
}

/// Whether a value is a reference to this variable, or a list with such a reference.
fn names(entry: &WrittenEntry, variable: &str) -> bool {
    match &entry.value {
        WrittenValue::Reference(Source::Env(name)) => name == variable,
        WrittenValue::List(entries) => entries.iter().any(|entry| names(entry, variable)),
        _ => false,
    }
}

fn meaning<'v>(declared: &'static Declarations, rest: &'v str) -> VariableMeaning<'v> {
    if let Some(rest) = rest.strip_prefix(SINKS_PREFIX) {
        return meaning_for_sink(&declared.sink, rest);
    }
    let Some((section_name, key_name)) = rest.split_once("__") else { return VariableMeaning::Unknown };
    for section in &declared.sections {
        if section_name == section.name.to_ascii_uppercase() {
            return match find(section, key_name) {
                Some((key, file)) => VariableMeaning::Key { section: section.name, sink: None, key: &key.name, file },
                None => VariableMeaning::Unknown,
            };
        }
    }
    let later = declared.later.iter().find(|name| section_name == name.to_ascii_uppercase());
    later.map_or(VariableMeaning::Unknown, |name| VariableMeaning::Later(format!("[{name}]")))
}

/// The name of a sink may itself contain `__`, so a key is looked for after each `__`. The longest key counts:
/// `CRM__FILTER__TAGS` is `filter.tags` of `crm`, although sinks of some types have a key `tags`.
fn meaning_for_sink<'v>(section: &'static Section, rest: &'v str) -> VariableMeaning<'v> {
    // Maps are tried first, because a name in a map, such as the name of a header, may equal the name of a key.
    for map in section.keys.iter().filter(|key| matches!(key.kind, KeyKind::Map { .. })) {
        let parts = rest.split_once(&format!("__{}__", map.variable()));
        if let Some((sink, name)) = parts.filter(|(sink, name)| !sink.is_empty() && !name.is_empty()) {
            let (name, file) = name.strip_suffix(FILE_SUFFIX).map_or((name, false), |name| (name, true));
            return VariableMeaning::Member { sink, map: &map.name, name, file };
        }
    }
    for (at, _) in rest.match_indices("__").filter(|(at, _)| *at > 0) {
        if let Some((key, file)) = find(section, &rest[at + 2..]) {
            return VariableMeaning::Key { section: section.name, sink: Some(&rest[..at]), key: &key.name, file };
        }
    }
    VariableMeaning::Unknown
}

/// Whether the name of a variable begins with the name of a section. Then a key was probably meant. Other variables may
/// have another purpose, such as `JOLTSMS_RELAY_VERSION` in an image.
fn is_of_a_section(declared: &Declarations, rest: &str) -> bool {
    let first = rest.split('_').next().unwrap_or_default();
    let sections = declared.section_names().chain(declared.later.iter().copied()).chain(["sink"]);
    sections.into_iter().any(|name| name.eq_ignore_ascii_case(first))
}

/// The key that a variable sets, and whether the variable holds the path of a file.
fn find<'d>(section: &'d Section, variable: &str) -> Option<(&'d DeclaredKey, bool)> {
    section.keys.iter().filter(|key| !key.is_table()).find_map(|key| match variable.strip_prefix(&key.variable())? {
        "" => Some((key, false)),
        FILE_SUFFIX => Some((key, true)),
        _ => None,
    })
}

fn table_of_sink<'w>(
    fragment: &str,
    origin: &Origin,
    document: &'w mut Document,
    report: &mut Complaints,
) -> Option<&'w mut Table> {
    let lower = fragment.to_ascii_lowercase();
    let name = match lower.parse::<SinkName>() {
        Ok(name) if fragment == fragment.to_ascii_uppercase() => name,
        Ok(_) => {
            report.error(origin, "unknown variable; it must be in capitals".to_owned(), "");
            return None;
        }
        Err(error) => {
            report.error(origin, format!("`{}` cannot be the name of a sink: {error}", lower.escape_debug()), "");
            return None;
        }
    };
    if document.sinks.contains_key(&name) {
        return document.sinks.get_mut(&name);
    }
    let alike = |known: &&SinkName| known.as_str().replace('-', "_") == lower;
    let alike: Vec<_> = document.sinks.keys().filter(alike).cloned().collect();
    match alike.as_slice() {
        [] => Some(document.sink(name, origin)),
        [one] => document.sinks.get_mut(one),
        [one, other, ..] => {
            let message = format!("may mean the sink `{one}` or `{other}`; set this key in the file");
            report.error(origin, message, "");
            None
        }
    }
}

/// Whether Kubernetes sets a variable like this. It gives each container, for every service of the namespace,
/// `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT` (also with `_<PORTNAME>`), `<SERVICE>_PORT` and
/// `<SERVICE>_PORT_<NUMBER>_<PROTOCOL>` (also with `_PROTO` and so on).
fn is_made_by_kubernetes(rest: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let with_prefix = format!("_{rest}");
    let port = with_prefix.rsplit_once("_PORT").map(|(_, after)| after);
    let numbered = |after: &str| {
        let mut parts = after.split('_').skip(1);
        let number =
            parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        number && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    with_prefix.ends_with("_SERVICE_HOST")
        || with_prefix.contains("_SERVICE_PORT")
        || port.is_some_and(|after| after.is_empty() || numbered(after))
        || with_prefix
            .strip_suffix("_PORT")
            .and_then(|rest| rest.rsplit_once("_PORT"))
            .is_some_and(|(_, a)| numbered(a))
}

/// The names of variables for all keys of a section.
fn variables<'s>(section: &'s Section, path: &'s str) -> impl Iterator<Item = String> + 's {
    let keys = section.keys.iter().filter(|key| !key.is_table());
    keys.map(move |key| format!("{path}__{}", key.variable()))
}

/// The valid names of variables for the sink that the misspelt name `written` seems to mean. Like `written`, these
/// names lack the prefix.
fn names_of_new_sink(declared: &Declarations, written: &str) -> Vec<String> {
    let Some(rest) = written.strip_prefix("SINK") else { return Vec::new() };
    let rest = rest.trim_start_matches('S').trim_start_matches('_');
    let sink = rest.split_once("__").or_else(|| rest.split_once('_')).map_or("", |(sink, _)| sink);
    variables(&declared.sink, &format!("{SINKS_PREFIX}{sink}")).filter(|_| !sink.is_empty()).collect()
}

/// Every valid name of a variable, without the prefix.
fn known_names(declared: &Declarations, document: &Document) -> Vec<String> {
    let mut names: Vec<_> =
        declared.file_variable.strip_prefix(declared.prefix).map(str::to_owned).into_iter().collect();
    for section in &declared.sections {
        names.extend(variables(section, &section.name.to_ascii_uppercase()));
    }
    for sink in document.sinks.keys() {
        let sink = sink.as_str().to_ascii_uppercase().replace('-', "_");
        names.extend(variables(&declared.sink, &format!("{SINKS_PREFIX}{sink}")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_variables_of_kubernetes() {
        for name in [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_METRICS",
            "PORT",
            "PORT_9465_TCP",
            "PORT_9465_TCP_ADDR",
            "PORT_9465_TCP_PORT",
            "PORT_9465_TCP_PROTO",
            "MAIN_SERVICE_HOST",
            "MAIN_PORT_53_UDP",
        ] {
            assert!(is_made_by_kubernetes(name), "{name}");
        }
        for name in
            ["API__URL", "POLL_INTERVAL", "SINKS__PORT__URL", "SINKS__A_SERVICE_PORT__URL", "PORT_X_TCP", "PORTS"]
        {
            assert!(!is_made_by_kubernetes(name), "{name}");
        }
    }
}
