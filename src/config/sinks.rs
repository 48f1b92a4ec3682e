//! `[sinks.NAME]`: the parts of which each sink is made.
//!
//! The parts declare their keys themselves: `delivery/settings.rs` has the keys of all sinks, `formats/settings.rs` the
//! keys of the payload, and `sinks/TYPE/settings.rs` the keys of a type.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::loading::Loading;
use super::sources::Sources;
use super::{ConfiguredSink, declarations};
use crate::codes::{CodeFinder, CodeMask};
use crate::delivery::{self, filter};
use crate::domain::SinkName;
use crate::domain::filter::Filter;
use crate::formats::settings::{PayloadUse, Settings as FormatSettings};
use crate::settings::{
    self, Complaints, DeclaredKey, Document, Origin, Reader, Settings as _, Table, WrittenEntry, alternatives, nearest,
    settings,
};
use crate::sinks::{KNOWN_TYPES, KnownType, ReadContext, SinkType, types};
use crate::store;

/// Advice for words that people write for a type.
const TYPE_HINTS: &[(&str, &str)] = &[
    ("webhook", "write \"http\", which posts each message to a URL"),
    ("https", "write \"http\": the URL says whether TLS is used"),
    ("slack", "write \"http\", with format = \"slack\""),
    ("discord", "write \"http\", with format = \"discord\""),
    ("teams", "write \"http\", with format = \"teams\""),
    ("email", "write \"smtp\""),
    ("mail", "write \"smtp\""),
    ("command", "write \"exec\""),
    ("script", "write \"exec\""),
    ("rabbitmq", "write \"amqp\""),
    ("console", "write \"stdout\""),
];

settings! {
    /// The keys that every sink has, beside those of formats and delivery.
    struct Common {
        /// http: an HTTP receiver. stdout: standard output, one line for each message; there can be one such sink.
        /// docs/sinks/README.md explains the other types.
        kind as "type": Option<KnownType> =
            settings::one_of(KNOWN_TYPES.iter().map(|kind| (kind.name(), *kind)).collect(), TYPE_HINTS)
                .such_as("\"http\""),
        /// Which messages the sink gets; without a filter it gets all. A message must meet the condition of every key.
        /// A condition that is a list is met if one of its values matches. to, from, service and tags are shell
        /// patterns (`*`, `?`, `[0-9]`) without regard to case; body is a regular expression. exclude has the same
        /// keys: a message that meets all of its conditions is left out. With an array of filters, the sink gets each
        /// message that at least one of them accepts. service and tags are the number's details in the dashboard; while
        /// they are not known yet, a message waits.
        filter: Option<Filter> = filter::filter(),
    }
}

/// How the documentation of a key begins if the key means the same as for another type. The name of that type follows,
/// as in `As for http.`
const AS_FOR: &str = "As for ";

/// What a key means for some of the types that have it.
struct KeyDoc {
    types: Vec<&'static str>,
    text: String,
}

/// Every key of a sink, each with the types of sinks that have it, in the order of the documentation: `type` comes
/// first, the tables of filters and retries come last.
pub(super) fn keys() -> Vec<DeclaredKey> {
    let mut keys = FormatSettings::keys();
    let mut docs: BTreeMap<String, Vec<KeyDoc>> = BTreeMap::new();
    for kind in types() {
        for key in kind.keys() {
            let own = docs.entry(key.name.clone()).or_default();
            let other = key.doc.strip_prefix(AS_FOR).map(|other| other.trim_end_matches('.'));
            let is_same =
                |known: &KeyDoc| known.text == key.doc || other.is_some_and(|other| known.types.contains(&other));
            match own.iter_mut().find(|known| is_same(known)) {
                Some(known) => known.types.push(kind.name()),
                None => own.push(KeyDoc { types: vec![kind.name()], text: key.doc.clone() }),
            }
            match keys.iter_mut().find(|known| known.name == key.name) {
                Some(known) => known.types.push(kind.name()),
                None => keys.push(DeclaredKey { types: vec![kind.name()], ..key }),
            }
        }
    }
    for key in &mut keys {
        if let Some(several) = docs.get(&key.name).filter(|docs| docs.len() > 1) {
            let told: Vec<_> = several.iter().map(|doc| format!("{}: {}", doc.types.join(", "), doc.text)).collect();
            key.doc = told.join(" ");
        }
    }
    for key in delivery::Options::keys() {
        let has = types().filter(|kind| !kind.lacks().contains(&key.name.as_str()));
        let having: Vec<_> = has.map(SinkType::name).collect();
        keys.push(DeclaredKey { types: if having.len() < types().count() { having } else { Vec::new() }, ..key });
    }
    keys.extend(Common::keys());
    let place = |key: &DeclaredKey| match key.name.split('.').next() {
        Some("type") => 0,
        Some("filter") => 2,
        Some("retry") => 3,
        _ => 1,
    };
    keys.sort_by_key(place);
    keys
}

/// Reads every sink, by name. `codes` finds the codes of messages for filters and templates. Sinks with errors are left
/// out, and their errors are in the report.
pub(super) fn resolve(
    Loading { sources, document, report, .. }: &mut Loading<'_>,
    account: &Arc<str>,
    codes: &CodeFinder,
) -> Vec<ConfiguredSink> {
    let mut resolved = Vec::new();
    let mut single: BTreeMap<&str, &SinkName> = BTreeMap::new();
    let mut fallbacks: BTreeMap<&SinkName, SinkName> = BTreeMap::new();
    let mut switched_off: BTreeSet<&SinkName> = BTreeSet::new();
    for (name, table) in &document.sinks {
        let mut whole = reader_of(name, table, sources, report);
        let common = Common::read(&mut whole);
        let own = common.kind.map(|known| own_keys(&mut whole, table, known));
        let mut at = reader_of(name, own.as_ref().unwrap_or(table), sources, report);
        match common.kind.map(|known| known.kind) {
            None => missing_type(&mut at, name, document),
            Some(kind) if kind.is_single() => {
                let first = *single.entry(kind.name()).or_insert(name);
                if first != name {
                    let kind = kind.name();
                    let message =
                        format!("`sinks.{name}` is a second {kind} sink, beside `sinks.{first}`; there can be one");
                    at.error(at.origin("type").unwrap_or(at.place()), message, "");
                }
            }
            Some(_) => {}
        }
        let delivery = delivery::Options::read(&mut at);
        delivery.retry.check(&mut at.inside("retry"));
        if !delivery.enabled {
            switched_off.insert(name);
        }
        fallbacks.extend(delivery.fallback.clone().map(|fallback| (name, fallback)));
        resolved.extend(sink(&mut at, name, common, delivery, account, codes));
    }
    check_fallbacks(document, &fallbacks, &switched_off, report);
    resolved
}

/// Returns the sinks that take no events. Errors of the sinks are left to [`resolve`].
pub(super) fn without_events(loading: &Loading<'_>) -> Vec<SinkName> {
    let mut unread = Complaints::new(declarations());
    let takes_none = |(name, table): (&SinkName, &Table)| {
        let mut at = reader_of(name, table, loading.sources, &mut unread);
        (!delivery::Options::read(&mut at).events).then(|| name.clone())
    };
    loading.document.sinks.iter().filter_map(takes_none).collect()
}

fn reader_of<'r>(name: &SinkName, table: &'r Table, sources: &'r Sources, report: &'r mut Complaints) -> Reader<'r> {
    Reader::new(format!("sinks.{name}"), table, &sources.env, report)
}

/// Reports each `fallback` that names no other sink, and each chain of fallbacks that leads back to its beginning.
/// Warns of each `fallback` that names a sink with `enabled = false`: such a sink keeps the dead letters that are
/// handed over to it, and sends none. `next` is the fallback of each sink that has one, also of sinks with errors.
fn check_fallbacks(
    document: &Document,
    next: &BTreeMap<&SinkName, SinkName>,
    switched_off: &BTreeSet<&SinkName>,
    report: &mut Complaints,
) {
    for (&name, fallback) in next {
        let entry = document.sinks.get(name).and_then(|table| table.entries.get("fallback"));
        let Some(WrittenEntry { origin, .. }) = entry else { continue };
        let key = format!("sinks.{name}.fallback");
        if switched_off.contains(fallback) {
            let message = format!(
                "`{key}` = \"{fallback}\": that sink is switched off (enabled = false), so it keeps the dead letters \
                 that it gets, and sends none"
            );
            report.warn(origin, message, "switch it on, or name another sink");
        }
        if fallback == name {
            let message = format!("`{key}` names the sink itself");
            report.error_with_value(origin, message, "name another sink, or leave it out");
        } else if let Some(circle) = circle(name, next) {
            let round = circle.iter().map(|sink| sink.as_str()).collect::<Vec<_>>().join(" -> ");
            let message = format!("`{key}`: dead letters would go round: {round}");
            report.error_with_value(origin, message, "leave one of these fallbacks out");
        } else if !document.sinks.contains_key(fallback) && report.is_complete() {
            // If a part of the file could not be read, the sink may stand there.
            let others = document.sinks.keys().filter(|other| *other != name).map(AsRef::as_ref);
            let help = nearest(fallback.as_str(), others).map(|meant| format!("did you mean `{meant}`?"));
            let message = format!("`{key}` = \"{fallback}\": there is no such sink");
            report.error_with_value(origin, message, &help.unwrap_or_default());
        }
    }
}

/// Returns the sinks of the chain of fallbacks that leads from `name` back to `name`. `None` if there is no such chain.
/// `None` also if `name` is not the first sink of the chain by the alphabet, so that each circle is reported once.
fn circle<'n>(name: &'n SinkName, next: &'n BTreeMap<&SinkName, SinkName>) -> Option<Vec<&'n SinkName>> {
    // The length of the chain is limited, because it may run into a circle that does not contain this sink.
    let chain: Vec<_> = std::iter::successors(Some(name), |sink| next.get(sink)).take(next.len() + 1).collect();
    let back = chain.iter().skip(1).position(|sink| *sink == name)?;
    let circle = chain[..back + 2].to_vec();
    (!circle.iter().any(|sink| *sink < name)).then_some(circle)
}

fn missing_type(at: &mut Reader<'_>, name: &SinkName, document: &Document) {
    let types = alternatives(KNOWN_TYPES.iter().map(KnownType::name));
    let mut help = format!("it must be {types}");
    if let Origin::Variable(_) = at.place() {
        let others = document.sinks.keys().filter(|other| *other != name).map(AsRef::as_ref);
        help = match nearest(name.as_str(), others) {
            Some(meant) => format!("this variable makes a new sink `{name}`; did you mean `{meant}`?"),
            None => format!("this variable makes a new sink `{name}`; set {} to {types}", at.variable("type")),
        };
    }
    let message = format!("`{}` is missing", at.name("type"));
    at.missing(&["type"], at.place(), message, &help);
}

/// The part of the table that a sink of this type can have. Keys of other types are errors, whatever their values are.
/// A type that this build lacks is an error, too.
fn own_keys(at: &mut Reader<'_>, table: &Table, known: KnownType) -> Table {
    let name = known.name();
    if let Some(feature) = known.lacking {
        let message = format!("`{}` = \"{name}\": this build of the relay lacks it", at.name("type"));
        let help = format!("use a build with the cargo feature `{feature}`; release builds have it");
        at.error(at.origin("type").unwrap_or(at.place()), message, &help);
    }
    let mut own = table.clone();
    for (key, entry) in &table.entries {
        let declared = declarations().sink.key(key).filter(|key| !key.types.is_empty());
        let Some(declared) = declared.filter(|key| !key.types.contains(&name)) else { continue };
        own.entries.remove(key);
        let types = alternatives(declared.types.iter().copied());
        let message = format!("`{}` belongs to sinks of type {types}; this one is of type \"{name}\"", at.name(key));
        if declared.kind.may_be_shown() {
            at.error_with_value(&entry.origin, message, "");
        } else {
            at.error(&entry.origin, message, "");
        }
    }
    own
}

/// Returns the type that was probably meant, if the written type is misspelt; `None` if no type is similar.
fn meant_type(at: &Reader<'_>) -> Option<&'static dyn SinkType> {
    let meant = nearest(&at.written_out("type")?.to_ascii_lowercase(), types().map(SinkType::name))?;
    types().find(|kind| kind.name() == meant)
}

/// Reads one sink. If the type is misspelt, the keys of the type that was probably meant are read, so that all errors
/// are found at once. If no type is similar, the keys that depend on the type are not read: their errors would be
/// guesses.
fn sink(
    at: &mut Reader<'_>,
    name: &SinkName,
    Common { kind, filter }: Common,
    delivery: delivery::Options,
    account: &Arc<str>,
    codes: &CodeFinder,
) -> Option<ConfiguredSink> {
    let target = match kind {
        Some(known) => known.kind.read(at, ReadContext { is_meant: true, codes }),
        None => {
            drop(meant_type(at).map(|kind| kind.read(at, ReadContext { is_meant: false, codes })));
            None
        }
    };
    let payload_use = match &target {
        Some(target) if target.takes_lines() => PayloadUse::Line,
        Some(target) if target.shows_text() => PayloadUse::Text,
        _ => PayloadUse::Body,
    };
    let format = FormatSettings::read(at).resolve(at, account, codes, payload_use).unwrap_or_default();
    let filter = filter.map(|filter| filter.with_code_pattern(codes.pattern().cloned()));
    let selection = store::MessageSelection { filter, number_use: format.number_use() };
    let mask = delivery.mask_codes.then(|| CodeMask::new(codes.clone()));
    Some(ConfiguredSink { name: name.clone(), selection, delivery, target: target?, format, mask })
}
