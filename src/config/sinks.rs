//! `[sinks.NAME]`: what each sink is put together from.

use std::sync::Arc;

use super::sources::Sources;
use super::{Sink, SinkKind};
use crate::delivery::{self, filter};
use crate::domain::SinkName;
use crate::domain::filter::Filter;
use crate::formats;
use crate::settings::{self, Choice, Document, Key, Origin, Reader, Report, Settings as _, nearest, settings};
use crate::sinks::http;
use crate::store;

/// The keys of delivery that a stream of lines does not have.
const NOT_OF_STDOUT: [&str; 2] = ["concurrency", "requests_per_minute"];

settings! {
    /// What every sink has, beside what formats and delivery declare.
    struct Common {
        /// http: an HTTP receiver. stdout: standard output, one line for each message; there can be one such sink.
        kind as "type": Option<Type> = settings::one_choice().such_as("\"http\""),
        /// Which messages it gets; without a filter all. All keys must hold; of a list any value. to, from, service and tags are
        /// shell patterns (`*`, `?`, `[0-9]`) without regard to case, body is a regular expression. What exclude takes is not
        /// wanted; it has the same keys. An array of such tables: any of them. service and tags are what the dashboard says of
        /// the number; while that is not known yet, a message waits.
        filter: Option<Filter> = filter::filter(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Http,
    Stdout,
}

impl Choice for Type {
    const WORDS: &'static [(&'static str, Self)] = &[("http", Self::Http), ("stdout", Self::Stdout)];
}

/// Every key of a sink, each with the types that have it, in the order of the documentation.
pub(super) fn keys() -> Vec<Key> {
    let of_http = |key: Key| Key { types: vec!["http"], ..key };
    let (mut first, filter): (Vec<_>, Vec<_>) = Common::keys().into_iter().partition(|key| key.name == "type");
    let (retry, delivery): (Vec<_>, Vec<_>) =
        delivery::Options::keys().into_iter().partition(|key| key.name.split('.').next() == Some("retry"));
    first.extend(formats::settings::Settings::keys());
    first.extend(http::settings::Settings::keys().into_iter().map(of_http));
    first.extend(delivery.into_iter().map(
        |key| {
            if NOT_OF_STDOUT.contains(&key.name.as_str()) { of_http(key) } else { key }
        },
    ));
    first.into_iter().chain(filter).chain(retry).collect()
}

/// Every sink that could be read, by name; what is wrong with the others is in the report.
pub(super) fn resolve(sources: &Sources, document: &Document, account: &Arc<str>, report: &mut Report) -> Vec<Sink> {
    let mut resolved = Vec::new();
    let mut stdout: Option<&SinkName> = None;
    for (name, table) in &document.sinks {
        let mut at = Reader::new(format!("sinks.{name}"), table, &sources.env, report);
        let common = Common::read(&mut at);
        if common.kind.is_none() {
            missing_type(&mut at, name, document);
        }
        if common.kind == Some(Type::Stdout) {
            if let Some(first) = stdout {
                let message =
                    format!("`sinks.{name}` is a second stdout sink, beside `sinks.{first}`; there can be one");
                at.error(at.origin("type").unwrap_or(at.place()), message, None);
            }
            stdout = stdout.or(Some(name));
            refuse_http_keys(&mut at);
        }
        resolved.extend(sink(&mut at, name, common, account));
    }
    resolved
}

fn missing_type(at: &mut Reader<'_>, name: &SinkName, document: &Document) {
    let mut help = "it must be \"http\" or \"stdout\"".to_owned();
    if let Origin::Variable(_) = at.place() {
        let others = document.sinks.keys().filter(|other| *other != name).map(AsRef::as_ref);
        help = match nearest(name.as_str(), others) {
            Some(meant) => format!("this variable makes a new sink `{name}`; did you mean `{meant}`?"),
            None => format!("this variable makes a new sink `{name}`; {help}"),
        };
    }
    let message = format!("`{}` is missing", at.name("type"));
    at.missing(&["type"], at.place(), message, Some(help));
}

fn refuse_http_keys(at: &mut Reader<'_>) {
    let declared = &super::declarations().sink;
    for (key, entry) in at.all_written("") {
        let Some(declared) = declared.key(key).filter(|key| key.types.contains(&"http")) else { continue };
        let message = format!("`{}` belongs to sinks of type \"http\"; this one is of type \"stdout\"", at.name(key));
        if declared.kind.may_be_shown() {
            at.error_with_value(&entry.origin, message, None);
        } else {
            at.error(&entry.origin, message, None);
        }
    }
}

/// Reads the keys of both types even if the type is not known, so that all errors are found at once.
fn sink(at: &mut Reader<'_>, name: &SinkName, common: Common, account: &Arc<str>) -> Option<Sink> {
    let format = formats::settings::Settings::read(at);
    let format = format.resolve(at, account, common.kind == Some(Type::Stdout)).unwrap_or_default();
    let delivery = delivery::Options::read(at);
    delivery.retry.check(&mut at.inside("retry"));
    let wants = store::Wants { filter: common.filter, number: format.number_use() };
    let kind = match common.kind {
        Some(Type::Stdout) => SinkKind::Stdout,
        kind => {
            let options = http::settings::Settings::read(at).resolve(at);
            if kind.is_some() {
                let message = format!("`{}` is missing: an http sink needs it", at.name("url"));
                at.missing(&["url"], at.place(), message, None);
            }
            kind?;
            SinkKind::Http(Box::new(options?))
        }
    };
    Some(Sink { name: name.clone(), wants, delivery, kind, format })
}
