//! `[sinks.NAME.filter]`, or several of them as an array: as written -> resolved.
//!
//! Patterns are compiled here, each for itself, so that one which is none is an error with its place.

use super::reader::{Reader, Text};
use super::written::{Entry, Origin, Value};
use crate::domain::filter::{Clause, Filter, Globs, InvalidPattern, Regexes};

/// The keys of a filter begin with this.
const FILTER: &str = "filter";

/// The keys below a filter, and below its `exclude`.
const KEYS: [[&str; 2]; 6] = [
    ["filter.to", "filter.exclude.to"],
    ["filter.from", "filter.exclude.from"],
    ["filter.body", "filter.exclude.body"],
    ["filter.has_code", "filter.exclude.has_code"],
    ["filter.service", "filter.exclude.service"],
    ["filter.tags", "filter.exclude.tags"],
];

/// What the sink wants; `None` = everything.
pub(super) fn resolve(reader: &mut Reader<'_>) -> Option<Filter> {
    let table = reader.table();
    let own = table.entries.iter().find(|(key, _)| key.starts_with("filter."));
    if table.filters.is_empty() {
        own?;
        return Some(Filter::any_of(vec![clause(reader)]));
    }
    if let Some((key, Entry { origin: origin @ Origin::Variable(_), .. })) = own {
        let message = format!("`{}` cannot be set by a variable: the file has an array of filters", reader.name(key));
        reader.report().error(origin, message, None);
    }
    let clauses = table.filters.iter().map(|table| clause(&mut reader.of(table))).collect();
    Some(Filter::any_of(clauses))
}

fn clause(reader: &mut Reader<'_>) -> Clause {
    let exclude = reader.table().entries.keys().any(|key| key.starts_with("filter.exclude."));
    let exclude = exclude.then(|| Box::new(conditions(reader, 1)));
    let clause = Clause { exclude, ..conditions(reader, 0) };
    let written = &reader.table().entries;
    if clause.is_empty() && !written.keys().any(|key| key.starts_with("filter.")) && reader.report().is_complete() {
        let origin = reader.table().origin.clone();
        let message = format!("`{}` has no keys: it would take every message", reader.name(FILTER));
        let help = Some("remove it, or say what is wanted, such as from = [\"+1800*\"]".to_owned());
        reader.report().error(&origin, message, help);
    }
    clause
}

/// The conditions of a filter (0) or of its `exclude` (1).
fn conditions(reader: &mut Reader<'_>, place: usize) -> Clause {
    let [to, from, body, has_code, service, tags] = KEYS.map(|names| names[place]);
    let has_code = reader.table().entries.contains_key(has_code).then(|| reader.boolean(has_code, true));
    Clause {
        to: globs(reader, to),
        from: globs(reader, from),
        body: regexes(reader, body),
        has_code,
        service: globs(reader, service),
        tags: globs(reader, tags),
        exclude: None,
    }
}

fn globs(reader: &mut Reader<'_>, key: &str) -> Option<Globs> {
    let patterns = patterns(reader, key, true, Globs::check)?;
    Globs::new(patterns.iter().map(Text::as_str)).ok()
}

fn regexes(reader: &mut Reader<'_>, key: &str) -> Option<Regexes> {
    let patterns = patterns(reader, key, false, Regexes::check)?;
    let compiled = Regexes::new(patterns.iter().map(Text::as_str));
    match (compiled, patterns.first()) {
        (Ok(compiled), _) => Some(compiled),
        // Each is one, but all together are too large.
        (Err(error), Some(first)) => {
            let message = format!("`{}`: all patterns together: {error}", reader.name(key));
            reader.report().error(&first.origin, message, None);
            None
        }
        (Err(_), None) => None,
    }
}

/// One pattern or a list of them; what is wrong is in the report. A variable holds one, or `split` ones with commas between.
fn patterns(
    reader: &mut Reader<'_>,
    key: &str,
    split: bool,
    check: impl Fn(&str) -> Result<(), InvalidPattern>,
) -> Option<Vec<Text>> {
    let expected = "a text in quotes, or a list of them";
    let entry = reader.table().entries.get(key)?;
    let mut texts = Vec::new();
    let mut whole = true;
    match &entry.value {
        Value::List(entries) if entries.is_empty() => {
            let message = format!("`{}` is an empty list: it would match nothing", reader.name(key));
            reader.report().error(&entry.origin, message, None);
            return None;
        }
        Value::List(entries) => {
            for entry in entries {
                let text = reader.text_of(key, entry, expected);
                whole &= text.is_some();
                texts.extend(text);
            }
        }
        _ => {
            let text = reader.text_of(key, entry, expected)?;
            if split && text.written_out && !matches!(text.origin, Origin::File(_)) {
                texts.extend(text.split(','));
            } else {
                texts.push(text);
            }
        }
    }
    for text in &texts {
        if let Err(error) = check(text.as_str()) {
            reader.refuse(key, text, &format!("is no pattern: {error}"), None);
            whole = false;
        }
    }
    whole.then_some(texts)
}

/// Whether a key of a sink may also be an array of tables.
pub(super) fn may_repeat(group: &str) -> bool {
    group == FILTER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::Section;

    #[test]
    fn the_keys_are_those_of_the_table() {
        let known = |key: &&&str| key.starts_with("filter.");
        let mut table: Vec<_> = Section::Sink.keys().iter().filter(known).copied().collect();
        let mut ours: Vec<_> = KEYS.iter().flatten().copied().collect();
        table.sort_unstable();
        ours.sort_unstable();
        assert_eq!(table, ours);
    }
}
