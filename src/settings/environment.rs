//! The environment layer: `PREFIX_<SECTION>__<KEY>`, and short names for some keys.
//!
//! In the name of a variable, each `.` of the key is `__` and all letters are capitals: `sinks.crm.retry.max` is
//! `PREFIX_SINKS__CRM__RETRY__MAX`. A variable whose name ends with `__FILE` holds the path of a file with the value.
//!
//! The name of a sink has small letters and may contain a `-`, but the name of a variable cannot contain a `-`. So the
//! part of a variable's name that names a sink is compared with the names of the sinks in the file without regard to
//! case, and with each `-` read as `_`. If there is no such sink, the variable makes a new sink.
//!
//! Each entry of a map, such as one header, has a variable of its own. `PREFIX_SINKS__CRM__HEADERS__X_TEAM` sets the
//! header `x-team`.
//!
//! An unknown variable with the prefix is an error if a key was probably meant: if its name is nearly that of a known
//! variable, begins with the name of a section, or has small letters. The relay only warns of other unknown variables.
//!
//! Kubernetes sets variables for each of its services. If the name of a service begins like the prefix, the names of
//! its variables begin with the prefix, too. They are recognised by their form, and ignored. They never contain `__`.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::declarations::{Declarations, Section};
use super::document::{Document, Origin, Table, WrittenEntry, WrittenValue};
use super::key::{DeclaredKey, KeyKind};
use super::report::Complaints;
use super::suggestion::nearest;
use crate::domain::SinkName;
use crate::secret::{Environment, Secret, Source};

const FILE_SUFFIX: &str = "__FILE";
const SINKS_PREFIX: &str = "SINKS__";

/// What a variable sets.
struct VariableTarget<'v> {
    table: TargetTable<'v>,
    key: &'static str,
    /// The name in the map, spelled as in the variable, if the key is a map.
    member: Option<&'v str>,
    /// Whether the variable holds the path of a file with the value.
    is_file: bool,
}

enum TargetTable<'v> {
    Section(&'static str),
    /// The name of the sink, spelled as in the variable.
    Sink(&'v str),
}

/// Merges the environment into the document.
pub fn apply(environment: &Environment, document: &mut Document, report: &mut Complaints) {
    let declared = report.declared();
    let mut unknown = Vec::new();
    for (name, value) in environment {
        let name = name.to_string_lossy();
        let origin = Origin::Variable(name.to_string());
        let long = declared.short.iter().find(|(short, _)| *short == name).map(|(_, long)| *long);
        let Some(rest) = long.or(name.strip_prefix(declared.prefix)) else {
            warn_of_small_letters(declared, &name, &origin, report);
            continue;
        };
        if name == declared.file_variable || is_made_by_kubernetes(rest) {
            continue;
        }
        match target(declared, rest) {
            Some(target) if long.is_some() && is_named_by_file(&name, &target, document) => {}
            Some(target) => set(&target, long.is_some(), value, origin, document, report),
            None => unknown.push(origin),
        }
    }
    report_unknown(&unknown, document, report);
}

/// Whether the file itself names this variable for the key that the variable sets: as the value, `{ env = "NAME" }`, or
/// as one element of an array. In this case a short variable does not override the value of the file.
fn is_named_by_file(name: &str, target: &VariableTarget<'_>, document: &mut Document) -> bool {
    let TargetTable::Section(section) = target.table else { return false };
    document.section(section).entries.get(target.key).is_some_and(|entry| names(entry, name))
}

/// Sets the key that is the target of a variable. `is_short`: the variable has a short name.
fn set(
    target: &VariableTarget<'_>,
    is_short: bool,
    value: &OsStr,
    origin: Origin,
    document: &mut Document,
    report: &mut Complaints,
) {
    let Some(value) = value.to_str() else {
        return report.error(&origin, "the value is not UTF-8".to_owned(), "");
    };
    if value.is_empty() && target.member.is_none() {
        report.note_empty(&origin);
    }
    let table = match target.table {
        TargetTable::Section(section) => Some(document.section(section)),
        TargetTable::Sink(sink) => table_of_sink(sink, &origin, document, report),
    };
    let Some(table) = table else { return };
    if let Some(member) = target.member {
        let value = value_of(value, target.is_file, &origin, report);
        return table.set_member(target.key, member.to_ascii_lowercase().replace('_', "-"), &origin, value);
    }
    match (table.entries.get(target.key).map(|entry| &entry.origin), &target.table) {
        (Some(Origin::Variable(other)), _) => {
            return report.error(&origin, format!("`{other}` sets the same key"), "unset one of the two");
        }
        (Some(Origin::File(_)), TargetTable::Section(section)) if is_short => {
            let message = format!("overrides `{section}.{}` of the configuration file", target.key);
            report.warn(&origin, message, "unset the variable, or take the key out of the file");
        }
        _ => {}
    }
    let value = value_of(value, target.is_file, &origin, report);
    table.set(target.key, origin, value);
}

/// Reports variables that have the prefix and set no key.
fn report_unknown(unknown: &[Origin], document: &Document, report: &mut Complaints) {
    let declared = report.declared();
    let prefix = declared.prefix;
    let names = format!("the names are {prefix}<SECTION>__<KEY>, such as {prefix}POLL__INTERVAL");
    for origin in unknown {
        let Origin::Variable(name) = origin else { continue };
        let rest = name.strip_prefix(prefix).unwrap_or_default();
        let known = known_names(declared, document, rest);
        match nearest(rest, known.iter().map(String::as_str)) {
            Some(meant) => report.error(origin, format!("unknown variable; did you mean {prefix}{meant}?"), ""),
            None if is_of_a_section(declared, rest) || rest.contains(char::is_lowercase) => {
                report.error(origin, format!("unknown variable; {names}"), "");
            }
            None => report.warn(origin, format!("no key of the configuration, so it is passed over; {names}"), ""),
        }
    }
}

/// Warns of a variable whose name has small letters, and would be a name of the relay's in capitals. Such a variable is
/// not read: it may belong to another program.
fn warn_of_small_letters(declared: &Declarations, name: &str, origin: &Origin, report: &mut Complaints) {
    let capitals = name.to_ascii_uppercase();
    let is_short = declared.short.iter().any(|(short, _)| *short == capitals);
    if capitals != name && (is_short || capitals == declared.file_variable || capitals.starts_with(declared.prefix)) {
        report.warn(origin, format!("is not read, since it is not in capitals; did you mean {capitals}?"), "");
    }
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

/// The key that a variable sets. `rest`: the name of the variable without the prefix.
fn target<'v>(declared: &'static Declarations, rest: &'v str) -> Option<VariableTarget<'v>> {
    if let Some(rest) = rest.strip_prefix(SINKS_PREFIX) {
        return target_in_sink(&declared.sink, rest);
    }
    let (section, key) = rest.split_once("__")?;
    let section = declared.sections.iter().find(|known| known.name.to_ascii_uppercase() == section)?;
    let (key, is_file) = find(section, key)?;
    Some(VariableTarget { table: TargetTable::Section(section.name), key: &key.name, member: None, is_file })
}

/// The name of a sink may itself contain `__`, so a key is looked for after each `__`. The longest key counts:
/// `CRM__FILTER__TAGS` is the key `filter.tags` of the sink `crm`, and not a key `tags` of a sink `crm__filter`.
fn target_in_sink<'v>(section: &'static Section, rest: &'v str) -> Option<VariableTarget<'v>> {
    // Maps are tried first, because a name in a map, such as the name of a header, may equal the name of a key.
    for map in section.keys.iter().filter(|key| matches!(key.kind, KeyKind::Map { .. })) {
        let parts = rest.split_once(&format!("__{}__", map.variable()));
        if let Some((sink, name)) = parts.filter(|(sink, name)| !sink.is_empty() && !name.is_empty()) {
            let (name, is_file) = name.strip_suffix(FILE_SUFFIX).map_or((name, false), |name| (name, true));
            let table = TargetTable::Sink(sink);
            return Some(VariableTarget { table, key: &map.name, member: Some(name), is_file });
        }
    }
    let mut parts = rest.match_indices("__").map(|(at, _)| (&rest[..at], &rest[at + 2..]));
    parts.find_map(|(sink, key)| {
        let (key, is_file) = find(section, key).filter(|_| !sink.is_empty())?;
        Some(VariableTarget { table: TargetTable::Sink(sink), key: &key.name, member: None, is_file })
    })
}

/// Whether the name of a variable begins with the name of a section. Then a key was probably meant. Other variables may
/// have another purpose, such as `JOLTSMS_RELAY_VERSION` in an image.
fn is_of_a_section(declared: &Declarations, rest: &str) -> bool {
    let first = rest.split('_').next().unwrap_or_default();
    declared.section_names().chain(["sink"]).any(|name| name.eq_ignore_ascii_case(first))
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
        return Some(document.sink(name, origin));
    }
    let alike = |known: &&SinkName| known.as_str().replace('-', "_") == lower;
    let alike: Vec<_> = document.sinks.keys().filter(alike).cloned().collect();
    if let [one, other, ..] = alike.as_slice() {
        let message = format!("may mean the sink `{one}` or `{other}`; set this key in the file");
        report.error(origin, message, "");
        return None;
    }
    Some(document.sink(alike.into_iter().next().unwrap_or(name), origin))
}

/// Whether Kubernetes sets a variable like this. It gives each container, for every service of the namespace,
/// `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT` (also with `_<PORTNAME>`), `<SERVICE>_PORT` and
/// `<SERVICE>_PORT_<NUMBER>_<PROTOCOL>` (also with `_PROTO` and so on).
fn is_made_by_kubernetes(rest: &str) -> bool {
    let name = format!("_{rest}");
    let is_address = |after: &str| {
        let mut parts = after.split('_');
        let port = parts.next().filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        port.is_some() && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    let is_of_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.ends_with("_PORT");
    !rest.contains("__") && (is_of_service || name.split("_PORT_").skip(1).any(is_address))
}

/// The names, without the prefix, of all variables that set a key or name the file. The keys are those of all sections,
/// of the sinks in the document, and of the sink that the misspelt name `written` seems to contain.
fn known_names(declared: &Declarations, document: &Document, written: &str) -> Vec<String> {
    let sections = declared.sections.iter().map(|section| (section, section.name.to_ascii_uppercase()));
    let sinks = document.sinks.keys().map(|sink| sink.as_str().to_ascii_uppercase().replace('-', "_"));
    let sinks = sinks.chain(sink_of_misspelt(written).map(str::to_owned));
    let sinks = sinks.map(|sink| (&declared.sink, format!("{SINKS_PREFIX}{sink}")));
    let keys = sections.chain(sinks).flat_map(|(section, path)| {
        let keys = section.keys.iter().filter(|key| !key.is_table());
        keys.map(move |key| format!("{path}__{}", key.variable()))
    });
    let file = declared.file_variable.strip_prefix(declared.prefix).map(str::to_owned);
    file.into_iter().chain(keys).collect()
}

/// The name of the sink in the misspelt name of a variable, such as `CRM` in `SINK_CRM_URL`.
fn sink_of_misspelt(written: &str) -> Option<&str> {
    let rest = written.strip_prefix("SINK")?.trim_start_matches('S').trim_start_matches('_');
    let (sink, _) = rest.split_once("__").or_else(|| rest.split_once('_'))?;
    Some(sink).filter(|sink| !sink.is_empty())
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
