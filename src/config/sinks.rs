//! `[sinks.NAME]`: as written -> resolved.

use std::sync::Arc;
use std::time::Duration;

use super::errors::Report;
use super::filter;
use super::keys::HTTP_ONLY;
use super::reader::{LONGEST, Reader};
use super::resolve::TIMEOUTS;
use super::sources::Sources;
use super::written::{Origin, Written};
use super::{Sink, SinkKind, defaults, duration};
use crate::domain::SinkName;
use crate::{delivery, sinks, store};

/// The least wait after a failure: less would be a hot loop.
const LEAST_WAIT: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Stdout,
    Http,
}

/// Every sink that could be read, by name; what is wrong with the others is in the report.
pub(super) fn resolve(sources: &Sources, written: &Written, account: &Arc<str>, report: &mut Report) -> Vec<Sink> {
    let mut resolved = Vec::new();
    let mut stdout: Option<&SinkName> = None;
    for (name, table) in &written.sinks {
        let mut reader = Reader::new(format!("sinks.{name}"), table, &sources.env, report);
        let kind = kind(&mut reader, name, written);
        if kind == Some(Type::Stdout) {
            if let Some(first) = stdout {
                let message =
                    format!("`sinks.{name}` is a second stdout sink, beside `sinks.{first}`; there can be one");
                let origin = table.entries.get("type").map_or(&table.origin, |entry| &entry.origin);
                reader.report().error(origin, message, None);
            }
            stdout = stdout.or(Some(name));
            refuse_http_keys(&mut reader);
        }
        resolved.extend(sink(&mut reader, name, kind, account));
    }
    resolved
}

fn kind(reader: &mut Reader<'_>, name: &SinkName, written: &Written) -> Option<Type> {
    let types = [("http", Type::Http), ("stdout", Type::Stdout)];
    let table = reader.table();
    if !table.entries.contains_key("type") && !table.misspelt.contains("type") && reader.report().is_complete() {
        let message = format!("`{}` is missing", reader.name("type"));
        let mut help = "it must be \"http\" or \"stdout\"".to_owned();
        if let Origin::Variable(_) = table.origin {
            let others = written.sinks.keys().filter(|other| *other != name).map(AsRef::as_ref);
            help = match super::nearest::nearest(name.as_str(), others) {
                Some(meant) => format!("this variable makes a new sink `{name}`; did you mean `{meant}`?"),
                None => format!("this variable makes a new sink `{name}`; {help}"),
            };
        }
        reader.report().error(&table.origin, message, Some(help));
    }
    reader.choice("type", &types)
}

fn refuse_http_keys(reader: &mut Reader<'_>) {
    for (key, entry) in &reader.table().entries {
        if HTTP_ONLY.contains(key) {
            let name = reader.name(key);
            let message = format!("`{name}` belongs to sinks of type \"http\"; this one is of type \"stdout\"");
            match *key {
                "timeout" | "connect_timeout" | "allow_http" | "concurrency" | "method" => {
                    reader.report().error_with_value(&entry.origin, message, None);
                }
                // Others may hold a password.
                _ => reader.report().error(&entry.origin, message, None),
            }
        }
    }
}

/// Reads the keys of both types even if the type is not known, so that all errors are found at once.
fn sink(reader: &mut Reader<'_>, name: &SinkName, kind: Option<Type>, account: &Arc<str>) -> Option<Sink> {
    let format = reader.format(account, kind == Some(Type::Stdout)).unwrap_or(defaults::SINK_FORMAT);
    let retry = retry(reader);
    let wants = store::Wants { filter: filter::resolve(reader), number: format.number_use() };
    if kind == Some(Type::Stdout) {
        let delivery = reader.delivery(defaults::SINK_CONCURRENCY, retry);
        return Some(Sink { name: name.clone(), wants, delivery, kind: SinkKind::Stdout, format });
    }
    let allow_http = reader.boolean("allow_http", false);
    let concurrency = reader.integer("concurrency", defaults::SINK_CONCURRENCY, 1..=256);
    let timeout = reader.duration("timeout", defaults::SINK_TIMEOUT, TIMEOUTS);
    let connect_timeout = reader.duration("connect_timeout", defaults::CONNECT_TIMEOUT, TIMEOUTS);
    let delivery = reader.delivery(concurrency, retry);
    let statuses = reader.statuses();
    let url = reader.receiver_url("url", allow_http);
    let table = reader.table();
    let is_missing = !table.entries.contains_key("url") && !table.misspelt.contains("url");
    if kind == Some(Type::Http) && is_missing && reader.report().is_complete() {
        let message = format!("`{}` is missing: an http sink needs it", reader.name("url"));
        reader.report().error(&table.origin, message, None);
    }
    let method = reader.method("method");
    let headers = reader.request_headers(url.as_ref());
    let signing = reader.signing(&headers);
    let way = reader.way(url.as_ref());
    let http = sinks::http::Options { url: url?, method, headers, timeout, connect_timeout, way, signing, statuses };
    kind.map(|_| Sink { name: name.clone(), wants, delivery, kind: SinkKind::Http(Box::new(http)), format })
}

fn retry(reader: &mut Reader<'_>) -> delivery::Retry {
    let default = defaults::RETRY;
    let day = Duration::from_secs(86_400);
    let initial = reader.duration("retry.initial", default.initial, LEAST_WAIT..=day);
    let max = reader.duration("retry.max", default.max, LEAST_WAIT..=30 * day);
    let written = &reader.table().entries;
    if let Some(entry) = written.get("retry.max").or(written.get("retry.initial")).filter(|_| max < initial) {
        let (max_name, initial_name) = (reader.name("retry.max"), reader.name("retry.initial"));
        let by_default = |key| if written.contains_key(key) { "" } else { " by default" };
        let max = duration::show(max) + by_default("retry.max");
        let initial = duration::show(initial) + by_default("retry.initial");
        let message = format!("`{max_name}` ({max}) is less than `{initial_name}` ({initial})");
        reader.report().error(&entry.origin, message, None);
    }
    delivery::Retry {
        initial,
        factor: reader.float("retry.factor", default.factor, 1.0..=100.0),
        max,
        give_up_after: reader.duration_or(
            "retry.give_up_after",
            "never",
            default.give_up_after,
            Duration::ZERO..=LONGEST,
        ),
    }
}
