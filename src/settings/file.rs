//! The file layer: TOML -> [`Document`].
//!
//! Every name is checked against the declarations here. The parser recovers from errors, so the lines after a broken
//! line are still checked; complaints that the broken line makes doubtful are left out (see
//! [`Complaints::syntax_error`]).

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::declarations::{SINKS, Section};
use super::document::{Document, Member, Origin, Table, WrittenEntry, WrittenValue};
use super::excerpt::SourceFile;
use super::key::{DeclaredKey, KeyKind};
use super::report::Complaints;
use super::suggestion::nearest;
use crate::domain::{InvalidSinkName, SinkName};
use crate::secret::{Secret, Source};

/// The three kinds of reference.
const REFERENCES: [&str; 3] = ["env", "file", "credential"];

type TomlKey<'i> = Spanned<DeString<'i>>;
type TomlItem<'i> = Spanned<DeValue<'i>>;

/// The table whose keys are read: a section or a sink, or a table in it.
#[derive(Clone, Copy)]
struct TablePlace<'p> {
    section: &'static Section,
    /// The section or sink, as error texts show it, such as `poll` or `sinks.crm`.
    path: &'p str,
    /// The table in the section, such as `retry`; "" for the section itself.
    group: &'p str,
}

/// Reads the text of the file at `path`. Errors go to the report.
pub fn read(path: PathBuf, text: &str, report: &mut Complaints) -> Document {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut values = Vec::new();
    positions_in_table(root.get_ref(), &mut values);
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    let source = SourceFile::new(path, text.to_owned(), values);
    let mut places: Vec<_> =
        errors.iter().map(|error| (error.span().map_or(text.len(), |span| span.start), error.message())).collect();
    places.sort_unstable();
    report.set_file(source);
    for (at, message) in places {
        report.syntax_error(at, in_plain_words(message));
    }
    let mut reader = FileReader { document: Document::default(), report, base };
    reader.root(root.get_ref());
    reader.document
}

fn in_plain_words(message: &str) -> String {
    match message {
        "string values must be quoted, expected literal string" => "a text must stand in quotes: \"…\"".to_owned(),
        "duplicate key" => "this key or table is there twice".to_owned(),
        other => other.replace("``", "`"),
    }
}

fn positions_in_table(table: &DeTable<'_>, values: &mut Vec<Range<usize>>) {
    for (key, item) in table {
        if !is_plain(key.get_ref()) {
            values.push(key.span());
        }
        positions(item, values);
    }
}

fn positions(item: &TomlItem<'_>, values: &mut Vec<Range<usize>>) {
    match item.get_ref() {
        DeValue::Table(table) => positions_in_table(table, values),
        DeValue::Array(items) => items.iter().for_each(|item| positions(item, values)),
        _ => values.push(item.span()),
    }
}

struct FileReader<'r> {
    document: Document,
    report: &'r mut Complaints,
    /// The directory from which relative paths of the file count.
    base: PathBuf,
}

impl FileReader<'_> {
    fn root(&mut self, root: &DeTable<'_>) {
        let declared = self.report.declared();
        for (key, item) in root {
            let (name, origin) = (key.get_ref().as_ref(), Origin::File(key.span()));
            if let Some(section) = declared.section(name) {
                let place = TablePlace { section, path: name, group: "" };
                if let Some(table) = self.whole_table(place, item, origin, &format!("[{name}]")) {
                    *self.document.section(section.name) = table;
                }
            } else if name == SINKS {
                let Some(sinks) = self.table(item, &origin, "[sinks.NAME]") else { continue };
                sinks.iter().for_each(|(key, item)| self.sink(key, item));
            } else {
                self.unknown_section(name, &origin);
            }
        }
    }

    fn unknown_section(&mut self, name: &str, origin: &Origin) {
        let declared = self.report.declared();
        let meant = nearest(name, declared.section_names());
        let name_shown = self.shown(name, meant.is_some(), origin);
        let message = if let Some(meant) = meant {
            format!("unknown section `{name_shown}`; did you mean `{meant}`?")
        } else if let Some(place) = declared.elsewhere(name) {
            format!("`{name_shown}` stands outside of any section; it belongs in {place}")
        } else {
            let sections: Vec<_> = declared.sections.iter().map(|section| format!("[{}]", section.name)).collect();
            format!("unknown section `{name_shown}`; there are {} and [sinks.NAME]", sections.join(", "))
        };
        self.report.error(origin, message, "");
    }

    fn sink(&mut self, key: &TomlKey<'_>, item: &TomlItem<'_>) {
        let (name, origin) = (key.get_ref().as_ref(), Origin::File(key.span()));
        let parsed = name.parse::<SinkName>();
        if let Err(InvalidSinkName) = parsed {
            let message =
                format!("`{}` cannot be the name of a sink: {InvalidSinkName}", self.shown(name, false, &origin));
            self.report.error(&origin, message, "");
        }
        let path = format!("sinks.{}", self.shown(name, parsed.is_ok(), &origin));
        let place = TablePlace { section: &self.report.declared().sink, path: &path, group: "" };
        let table = self.whole_table(place, item, origin, &format!("[{path}]"));
        if let (Ok(name), Some(table)) = (parsed, table) {
            self.document.sinks.insert(name, table);
        }
    }

    /// Reads a table that begins at `origin`.
    fn whole_table(&mut self, place: TablePlace<'_>, item: &TomlItem<'_>, origin: Origin, what: &str) -> Option<Table> {
        let keys = self.table(item, &origin, what)?;
        let mut table = Table::new(origin);
        self.keys(place, keys, &mut table);
        Some(table)
    }

    /// Reads the keys of a table.
    fn keys(&mut self, place: TablePlace<'_>, keys: &DeTable<'_>, into: &mut Table) {
        for (key, item) in keys {
            let (name, origin) = (key.get_ref().as_ref(), Origin::File(key.span()));
            let declared = match place.section.find(place.group, name) {
                Ok(declared) => declared,
                Err(meant) => {
                    self.unknown_key(place, name, meant, &origin, into);
                    continue;
                }
            };
            let full = format!("{}.{}", place.path, declared.name);
            let inside = TablePlace { group: &declared.name, ..place };
            match &declared.kind {
                KeyKind::Map { secret } => {
                    if let Some(names) = self.table(item, &origin, &format!("`{full}`")) {
                        let members = self.members(&full, secret, names);
                        into.set(&declared.name, origin, WrittenValue::Map(members));
                    }
                }
                KeyKind::Table { repeatable: true } if item.get_ref().is_array() => {
                    let what = format!("an element of `{full}`");
                    let elements = item.get_ref().as_array().into_iter().flatten();
                    let elements = elements
                        .filter_map(|item| self.whole_table(inside, item, Origin::File(item.span()), &what))
                        .collect();
                    into.elements.insert(declared.name.clone(), elements);
                }
                KeyKind::Table { .. } => {
                    if let Some(keys) = self.table(item, &origin, &format!("[{full}]")) {
                        self.keys(inside, keys, into);
                    }
                }
                kind => {
                    let mut entry = self.entry(&full, item, &origin);
                    if let KeyKind::Secret { variable, .. } = kind {
                        self.refuse_literals(&full, variable, &mut entry);
                    }
                    into.entries.insert(declared.name.clone(), entry);
                }
            }
        }
    }

    /// Reports a name that is no key of the table. `meant`: the key of the table that was probably meant.
    fn unknown_key(
        &mut self,
        TablePlace { section, path, group }: TablePlace<'_>,
        name: &str,
        meant: Option<&str>,
        origin: &Origin,
        into: &mut Table,
    ) {
        let name_shown = self.shown(name, meant.is_some(), origin);
        let table = [path, group].join(".");
        let table = table.trim_end_matches('.');
        let shown = format!("unknown key `{table}.{name_shown}`");
        let message = if let Some(meant) = meant {
            into.misspelt.insert([group, meant].join(".").trim_start_matches('.').to_owned());
            format!("{shown}; did you mean `{meant}`?")
        } else if let Some(place) = self.report.declared().elsewhere(name) {
            format!("{shown}; `{name}` belongs in {place}")
        } else if let Some(meant) = section.with_words(group, name) {
            format!("{shown}; did you mean `{meant}`?")
        } else {
            let names: Vec<_> = section.children(group).map(DeclaredKey::last).collect();
            format!("{shown}; the keys of [{table}] are {}", names.join(", "))
        };
        self.report.error(origin, message, "");
    }

    /// Reads a table with names that the user chooses.
    fn members(&mut self, path: &str, secret: &[&str], names: &DeTable<'_>) -> Vec<Member> {
        let member = |(key, item): (&TomlKey<'_>, &TomlItem<'_>)| {
            let (name, origin) = (key.get_ref().as_ref(), Origin::File(key.span()));
            let path = format!("{path}.{}", self.shown(name, false, &origin));
            let mut entry = self.entry(&path, item, &origin);
            if secret.contains(&name.to_ascii_lowercase().as_str()) {
                self.refuse_literals(&path, "NAME", &mut entry);
            }
            Member { name: name.to_owned(), origin, entry }
        };
        names.iter().map(member).collect()
    }

    /// The name as an error text may show it. A name may be a piece of a secret if it needs quotes, or if the file is
    /// not TOML and the name resembles no known name. Such a name is shown as `…`.
    fn shown<'n>(&self, name: &'n str, is_near: bool, origin: &Origin) -> &'n str {
        if is_plain(name) && (is_near || self.report.may_show(origin)) { name } else { "…" }
    }

    fn table<'t, 'i>(&mut self, item: &'t TomlItem<'i>, origin: &Origin, what: &str) -> Option<&'t DeTable<'i>> {
        let table = item.get_ref().as_table();
        if table.is_none() {
            let found = with_article(item.get_ref());
            let found = if found == "an array" { "an array, such as [[...]] makes" } else { found };
            let help = if what.starts_with("[sinks") { "write [sinks.NAME], such as [sinks.crm]" } else { "" };
            self.report.error(origin, format!("{what} must be a table, not {found}"), help);
        }
        table
    }

    fn entry(&mut self, path: &str, item: &TomlItem<'_>, key: &Origin) -> WrittenEntry {
        let value = match item.get_ref() {
            DeValue::String(text) => WrittenValue::Text(Secret::from(text.as_ref())),
            DeValue::Integer(number) => {
                WrittenValue::Integer(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Float(number) => number.as_str().parse().map_or(WrittenValue::Broken, WrittenValue::Float),
            DeValue::Boolean(value) => WrittenValue::Boolean(*value),
            DeValue::Datetime(datetime) => WrittenValue::Datetime(datetime.to_string()),
            DeValue::Array(items) => WrittenValue::List(items.iter().map(|item| self.entry(path, item, key)).collect()),
            DeValue::Table(table) => {
                self.reference(path, table, key).map_or(WrittenValue::Broken, WrittenValue::Reference)
            }
        };
        // `key.env = "X"` has no braces. The parser gives the place of the key to the table that is implied.
        WrittenEntry { origin: Origin::File(item.span()), value }
    }

    /// Refuses secrets that are written out. This is checked here and not when the value is read: even if a variable
    /// overrides the value, the secret is still in the file.
    fn refuse_literals(&mut self, path: &str, variable: &str, entry: &mut WrittenEntry) {
        match &mut entry.value {
            WrittenValue::Reference(_) | WrittenValue::Broken => {}
            WrittenValue::List(entries) => {
                entries.iter_mut().for_each(|entry| self.refuse_literals(path, variable, entry));
            }
            literal => {
                *literal = WrittenValue::Broken;
                let message = format!("`{path}` is written out; secrets do not belong in the configuration file");
                let help = format!(
                    "write {{ env = \"{variable}\" }}, {{ file = \"path\" }} or {{ credential = \"name\" }}, and revoke this one"
                );
                self.report.error(&entry.origin, message, &help);
            }
        }
    }

    fn reference(&mut self, path: &str, table: &DeTable<'_>, origin: &Origin) -> Option<Source> {
        let help = "a value may be { env = \"X\" }, { file = \"path\" } or { credential = \"name\" }";
        if let Some(key) = table.keys().find(|key| !REFERENCES.contains(&key.get_ref().as_ref())) {
            let (name, origin) = (key.get_ref().as_ref(), Origin::File(key.span()));
            let meant = nearest(name, REFERENCES);
            let name = self.shown(name, meant.is_some(), &origin);
            let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            self.report.error(&origin, format!("unknown key `{name}` in the value of `{path}`{meant}"), help);
            return None;
        }
        let mut items = table.iter();
        let (Some((key, item)), None) = (items.next(), items.next()) else {
            let message = format!("the value of `{path}` must name exactly one source");
            self.report.error(origin, message, help);
            return None;
        };
        let (kind, origin) = (key.get_ref().as_ref(), Origin::File(key.span()));
        let DeValue::String(text) = item.get_ref() else {
            let found = with_article(item.get_ref());
            self.report.error(&origin, format!("`{kind}` of `{path}` must be a text in quotes, not {found}"), help);
            return None;
        };
        match kind {
            "env" if is_variable_name(text) => Some(Source::Env(text.to_string())),
            "env" => {
                // The text that stands here may be the secret itself.
                let message = format!("`env` of `{path}` is not the name of an environment variable");
                let help = "names have letters, digits and `_`; the value itself must not stand in this file";
                self.report.error(&origin, message, help);
                None
            }
            "file" => Some(Source::File(self.base.join(text.as_ref()))),
            _ => Some(Source::Credential(text.to_string())),
        }
    }
}

/// Whether a text could be a name.
fn is_plain(name: &str) -> bool {
    name.len() <= SinkName::MAX_LENGTH
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_variable_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|next| next.is_ascii_alphanumeric() || next == '_')
}

fn with_article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
