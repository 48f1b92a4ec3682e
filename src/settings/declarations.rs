//! All declared keys, as one value in which names are looked up.
//!
//! The file, the environment and the documentation all look names up here, so all of them know the same keys.

use super::key::{DeclaredKey, KeyKind};
use super::suggestion::nearest;

/// The name of the table of all sinks.
pub(super) const SINKS: &str = "sinks";

/// All declarations of a program.
#[derive(Debug)]
pub struct Declarations {
    /// The beginning of every variable, as in `PREFIX_<SECTION>__<KEY>`. It ends with `_`.
    pub prefix: &'static str,
    /// Short names of some variables. Each stands beside the variable's full name without the prefix, such as
    /// `API__KEY`.
    pub short: &'static [(&'static str, &'static str)],
    /// The variable that names the configuration file. It stands for no key.
    pub file_variable: &'static str,
    /// The sections that are single tables, such as `[poll]`.
    pub sections: Vec<Section>,
    /// The keys of each table `[sinks.NAME]`.
    pub sink: Section,
}

/// A table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// The section's name in the file.
    pub name: &'static str,
    /// The section's keys and tables, each table before its own keys.
    pub keys: Vec<DeclaredKey>,
}

impl Declarations {
    /// The single table of this name, if there is one.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Whether a dotted key consists of names that this program knows. The name of a sink does not count as known: in a
    /// broken file anything may stand there, even a piece of a secret.
    pub(crate) fn is_known(&self, dotted: &str) -> bool {
        let sections = self.sections.iter().chain([&self.sink]);
        let known = |part: &str| {
            sections.clone().any(|section| {
                section.name == part || section.keys.iter().any(|key| key.name.split('.').any(|own| own == part))
            })
        };
        dotted.split('.').all(|part| known(part.trim()))
    }

    /// Whether a line is the header of a table that this program knows. The closing bracket may be missing.
    pub(super) fn is_known_header(&self, line: &str) -> bool {
        let Some(inside) = line.trim().strip_prefix('[') else { return false };
        let mut parts = inside.trim_matches(['[', ']']).split('.');
        let first = parts.next().unwrap_or_default().trim();
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte));
        if first == SINKS { parts.all(plain) } else { self.section(first).is_some() && parts.next().is_none() }
    }

    /// Names the sections and tables that have a key of this name, for the error about a key that stands in the wrong
    /// table.
    pub(crate) fn elsewhere(&self, name: &str) -> Option<String> {
        let own = self.sections.iter().map(|section| (section.name.to_owned(), section));
        let own = own.chain([(format!("{SINKS}.NAME"), &self.sink)]);
        let mut places: Vec<String> =
            own.clone().filter(|(_, section)| section.has("", name)).map(|(path, _)| format!("[{path}]")).collect();
        for (path, section) in own {
            let groups = section.children("").filter(|key| key.is_table() && section.has(&key.name, name));
            places.extend(groups.map(|group| format!("[{path}.{}]", group.name)));
        }
        if places.is_empty() { None } else { Some(places.join(" or ")) }
    }

    /// The names of all sections, for an error text.
    pub(super) fn section_names(&self) -> impl Iterator<Item = &'static str> {
        self.sections.iter().map(|section| section.name).chain([SINKS])
    }
}

impl Section {
    /// The key with this full name.
    pub fn key(&self, name: &str) -> Option<&DeclaredKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys and tables that stand directly in the table `group`. The group "" is the section itself.
    pub(super) fn children<'d>(&'d self, group: &str) -> impl Iterator<Item = &'d DeclaredKey> {
        self.keys.iter().filter(move |key| key.group() == group)
    }

    /// The key or table with this name in the table `group`.
    ///
    /// # Errors
    /// The name of the key that was probably meant, if there is no key with this name.
    pub(crate) fn find(&self, group: &str, name: &str) -> Result<&DeclaredKey, Option<&str>> {
        let found = self.children(group).find(|key| key.last() == name);
        found.ok_or_else(|| nearest(name, self.children(group).map(DeclaredKey::last)))
    }

    /// The key in the table `group` whose name begins or ends with the words of `name`, if there is exactly one:
    /// `give_up_after` for `give_up`.
    pub(crate) fn with_words(&self, group: &str, name: &str) -> Option<&str> {
        let has_words = |key: &&str| {
            let rest = key.strip_prefix(name).map(|rest| rest.starts_with('_'));
            rest.or(key.strip_suffix(name).map(|rest| rest.ends_with('_'))).unwrap_or(false)
        };
        let mut found = self.children(group).map(DeclaredKey::last).filter(has_words);
        found.next().filter(|_| found.next().is_none())
    }

    fn has(&self, group: &str, name: &str) -> bool {
        self.children(group).any(|key| key.last() == name)
    }
}

impl DeclaredKey {
    /// The last part of the name, without the name of its table.
    pub fn last(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(_, last)| last)
    }

    /// The table in which the key stands; "" for the section itself.
    pub fn group(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |(group, _)| group)
    }

    /// Whether this is a table of keys.
    pub fn is_table(&self) -> bool {
        matches!(self.kind, KeyKind::Table { .. })
    }

    /// The variable of the key, without the prefix and the section.
    pub fn variable(&self) -> String {
        self.name.to_ascii_uppercase().replace('.', "__")
    }
}
