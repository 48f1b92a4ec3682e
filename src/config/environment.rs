//! The environment layer: `JOLTSMS_RELAY_<SECTION>__<KEY>`, and the three short names `JOLTSMS_API_*`.
//!
//! A `.` of a key is written `__`, all letters are capitals: `sinks.crm.retry.max` is
//! `JOLTSMS_RELAY_SINKS__CRM__RETRY__MAX`. With `__FILE` appended the variable names a file that holds the value.
//!
//! The name of a sink is lower-cased. Variables cannot hold a `-`, so a sink of the file is meant if its name is the same
//! once every `-` is read as `_`; otherwise the variable makes a new sink.
//!
//! The headers of a sink are variables of their own, `_` for each `-`: `JOLTSMS_RELAY_SINKS__CRM__HEADERS__X_TEAM`.
//!
//! Unknown variables of the prefix are errors where a key of a section was probably meant, otherwise warnings. Those that
//! Kubernetes makes by itself for a service named `joltsms-relay…` are passed over: they never contain `__`.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::errors::Report;
use super::file::not_yet;
use super::keys::{self, Section};
use super::nearest::nearest;
use super::sources::Sources;
use super::written::{Entry, Origin, Table, Value, Written};
use crate::domain::SinkName;
use crate::secret::{Secret, Source};

const PREFIX: &str = "JOLTSMS_RELAY_";
const FILE_SUFFIX: &str = "__FILE";
const SINKS_PREFIX: &str = "SINKS__";

/// The key whose names are the user's own, and how it stands in a variable.
const HEADERS: &str = "headers";
const HEADERS_INFIX: &str = "__HEADERS__";

/// Names the configuration file; not a key.
pub(super) const CONFIG: &str = "JOLTSMS_RELAY_CONFIG";

/// The variable from which the key is taken if nothing else says where it is.
pub(super) const API_KEY: &str = "JOLTSMS_API_KEY";

/// Short names of keys: variable, key of `[api]`, whether the value is the path of a file.
const SHORT: [(&str, &str, bool); 3] =
    [(API_KEY, "key", false), ("JOLTSMS_API_KEY_FILE", "key", true), ("JOLTSMS_API_URL", "url", false)];

/// What a variable of the prefix stands for.
enum Meaning<'v> {
    /// A key, and whether the value is the path of a file. The sink, if it is one, as the variable has it.
    Key { section: Section, sink: Option<&'v str>, key: &'static str, file: bool },
    /// One header of a sink, and whether the value is the path of a file. The name as the variable has it.
    Header { sink: &'v str, name: &'v str, file: bool },
    /// A section of a later version, for people.
    Later(String),
    /// Nothing that this program knows.
    Unknown,
}

/// Lays the environment over what is written already.
pub(super) fn apply(sources: &Sources, written: &mut Written, report: &mut Report) {
    // A file that says where this variable goes, in an array of keys perhaps, is not overridden by it.
    let named_by_file = written.section(Section::Api).entries.get("key").is_some_and(names_api_key);
    let mut unknown = Vec::new();
    for (name, value) in &sources.env {
        let name = name.to_string_lossy();
        let origin = Origin::Variable(name.to_string());
        let short = SHORT.iter().find(|(short, ..)| *short == name);
        let meaning = match (short, name.strip_prefix(PREFIX)) {
            (Some((API_KEY, ..)), _) if named_by_file => continue,
            (Some((_, key, file)), _) => Meaning::Key { section: Section::Api, sink: None, key, file: *file },
            (None, Some(rest)) if name != CONFIG && !is_made_by_kubernetes(rest) => meaning(rest),
            _ => continue,
        };
        match meaning {
            Meaning::Later(key) => report.error(&origin, not_yet(&key), None),
            Meaning::Unknown => unknown.push(name),
            Meaning::Header { sink, name: header, file } => {
                let Some(value) = text(value, &origin, report) else { continue };
                let header = header.to_ascii_lowercase().replace('_', "-");
                let value = value_of(value, file, &origin, report);
                if let Some(table) = table(Section::Sink, Some(sink), &origin, written, report) {
                    table.set_member(HEADERS, header, &origin, value);
                }
            }
            Meaning::Key { section, sink, key, file } => {
                let Some(value) = text(value, &origin, report) else { continue };
                if value.is_empty() {
                    report.is_empty(&name);
                }
                let Some(table) = table(section, sink, &origin, written, report) else { continue };
                if let Some(Origin::Variable(other)) = table.entries.get(key).map(|entry| &entry.origin) {
                    let message = format!("`{other}` sets the same key");
                    report.error(&origin, message, Some("unset one of the two".to_owned()));
                    continue;
                }
                let value = value_of(value, file, &origin, report);
                table.set(key, origin, value);
            }
        }
    }
    let known = if unknown.is_empty() { Vec::new() } else { known_names(written) };
    for name in unknown {
        let rest = name.strip_prefix(PREFIX).unwrap_or_default();
        let meant = nearest(rest, known.iter().map(String::as_str));
        let names = format!("the names are {PREFIX}<SECTION>__<KEY>, such as {PREFIX}POLL__INTERVAL");
        let origin = Origin::Variable(name.to_string());
        match meant {
            Some(meant) => report.error(&origin, format!("unknown variable; did you mean {PREFIX}{meant}?"), None),
            None if is_of_a_section(rest) || rest.contains(char::is_lowercase) => {
                report.error(&origin, format!("unknown variable; {names}"), None);
            }
            None => report.warn(&origin, format!("no key of the configuration, so it is passed over; {names}"), None),
        }
    }
}

fn text<'v>(value: &'v OsStr, origin: &Origin, report: &mut Report) -> Option<&'v str> {
    let text = value.to_str();
    if text.is_none() {
        report.error(origin, "the value is not UTF-8".to_owned(), None);
    }
    text
}

fn value_of(value: &str, file: bool, origin: &Origin, report: &mut Report) -> Value {
    match file {
        true if value.is_empty() => {
            report.error(origin, "is set but empty; it must be the path of a file".to_owned(), None);
            Value::Broken
        }
        true => Value::Reference(Source::File(PathBuf::from(value))),
        false => Value::Text(Secret::from(value)),
    }
}

/// The variable, without the prefix, that sets a key below a section.
pub(super) fn variable(key: &str) -> String {
    key.to_ascii_uppercase().replace('.', "__")
}

/// How a variable says that the key of this full name is true, for a hint.
pub(super) fn assignment(key: &str) -> String {
    format!("{PREFIX}{}=true", variable(key).replace('-', "_"))
}

fn names_api_key(entry: &Entry) -> bool {
    match &entry.value {
        Value::Reference(Source::Env(name)) => name == API_KEY,
        Value::List(entries) => entries.iter().any(names_api_key),
        _ => false,
    }
}

fn meaning(rest: &str) -> Meaning<'_> {
    if let Some(rest) = rest.strip_prefix(SINKS_PREFIX) {
        return meaning_for_sink(rest);
    }
    let Some((section_name, key_name)) = rest.split_once("__") else { return Meaning::Unknown };
    for (name, section) in keys::SECTIONS {
        if section_name != name.to_ascii_uppercase() {
            continue;
        }
        for key in section.keys() {
            if let Some(file) = value_or_file(key_name, &variable(key)) {
                return Meaning::Key { section, sink: None, key, file };
            }
        }
        return Meaning::Unknown;
    }
    let later = keys::LATER_SECTIONS.iter().find(|name| section_name == name.to_ascii_uppercase());
    later.map_or(Meaning::Unknown, |name| Meaning::Later(format!("[{name}]")))
}

/// Names of sinks may hold `__` themselves, so the key is looked for from the right.
fn meaning_for_sink(rest: &str) -> Meaning<'_> {
    // A header may have the name of a key.
    if let Some((sink, name)) =
        rest.split_once(HEADERS_INFIX).filter(|(sink, name)| !sink.is_empty() && !name.is_empty())
    {
        let (name, file) = name.strip_suffix(FILE_SUFFIX).map_or((name, false), |name| (name, true));
        return Meaning::Header { sink, name, file };
    }
    for (at, _) in rest.rmatch_indices("__").filter(|(at, _)| *at > 0) {
        let (sink, key_name) = (&rest[..at], &rest[at + 2..]);
        for key in Section::Sink.keys() {
            if let Some(file) = value_or_file(key_name, &variable(key)) {
                return Meaning::Key { section: Section::Sink, sink: Some(sink), key, file };
            }
        }
    }
    Meaning::Unknown
}

/// Whether the name of a variable begins with that of a section, so that a key was meant. Others may belong to whoever
/// runs the relay, such as `JOLTSMS_RELAY_VERSION` of an image.
fn is_of_a_section(rest: &str) -> bool {
    let first = rest.split('_').next().unwrap_or_default();
    let sections =
        keys::SECTIONS.iter().map(|(name, _)| *name).chain(keys::LATER_SECTIONS).chain([keys::SINKS, "sink"]);
    sections.into_iter().any(|name| name.eq_ignore_ascii_case(first))
}

fn value_or_file(name: &str, key: &str) -> Option<bool> {
    match name.strip_prefix(key)? {
        "" => Some(false),
        FILE_SUFFIX => Some(true),
        _ => None,
    }
}

fn table<'w>(
    section: Section,
    sink: Option<&str>,
    origin: &Origin,
    written: &'w mut Written,
    report: &mut Report,
) -> Option<&'w mut Table> {
    let Some(fragment) = sink else { return Some(written.section(section)) };
    let lower = fragment.to_ascii_lowercase();
    let name = match lower.parse::<SinkName>() {
        Ok(name) if fragment == fragment.to_ascii_uppercase() => name,
        Ok(_) => {
            report.error(origin, "unknown variable; it must be in capitals".to_owned(), None);
            return None;
        }
        Err(error) => {
            report.error(origin, format!("`{}` cannot be the name of a sink: {error}", lower.escape_debug()), None);
            return None;
        }
    };
    if written.sinks.contains_key(&name) {
        return written.sinks.get_mut(&name);
    }
    let alike = |known: &&SinkName| known.as_str().replace('-', "_") == lower;
    let alike: Vec<_> = written.sinks.keys().filter(alike).cloned().collect();
    match alike.as_slice() {
        [] => Some(written.sink(name, origin)),
        [one] => written.sinks.get_mut(one),
        [one, other, ..] => {
            let message = format!("may mean the sink `{one}` or `{other}`; set this key in the file");
            report.error(origin, message, None);
            None
        }
    }
}

/// Kubernetes tells each container of every service of its namespace: `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT`
/// (also with `_<PORTNAME>`), `<SERVICE>_PORT` and `<SERVICE>_PORT_<NUMBER>_<PROTOCOL>` (also with `_PROTO` and so on).
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

/// Every name that would be right, without the prefix.
fn known_names(written: &Written) -> Vec<String> {
    let mut names = vec!["CONFIG".to_owned()];
    for (section, keys) in keys::SECTIONS {
        names.extend(keys.keys().iter().map(|key| format!("{}__{}", section.to_ascii_uppercase(), variable(key))));
    }
    for sink in written.sinks.keys() {
        let sink = sink.as_str().to_ascii_uppercase().replace('-', "_");
        names.extend(Section::Sink.keys().iter().map(|key| format!("{SINKS_PREFIX}{sink}__{}", variable(key))));
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
