//! Everything that was declared, for whoever looks names up.
//!
//! The file, the environment and the documentation all look here, so none of them can know a key that the others do not.

use super::key::{DeclaredKey, KeyKind};
use super::suggestion::nearest;

/// The table of the sinks.
pub(super) const SINKS: &str = "sinks";

/// The declarations of a program.
#[derive(Debug)]
pub struct Declarations {
    /// How its variables begin, as in `PREFIX_<SECTION>__<KEY>`; ends with `_`.
    pub prefix: &'static str,
    /// Variables that stand for a key of a section: name, section, key, whether the value is the path of a file.
    pub short: &'static [(&'static str, &'static str, &'static str, bool)],
    /// The variable that names the file; it is no key.
    pub file_variable: &'static str,
    /// Sections that are tables of their own.
    pub sections: Vec<Section>,
    /// What each table `[sinks.NAME]` may hold.
    pub sink: Section,
    /// Sections of later versions. They are refused with the right words: what is silently accepted and does nothing is
    /// worse than an error.
    pub later: &'static [&'static str],
}

/// A table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// Its name in the file.
    pub name: &'static str,
    /// Its keys, and the tables in it, each before its keys.
    pub keys: Vec<DeclaredKey>,
}

/// What a name below a section turned out to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FoundKey<'d> {
    /// A key, or a table of keys.
    Key(&'d DeclaredKey),
    /// No key, and the key that may have been meant, as written at this place.
    Unknown(Option<&'d str>),
}

impl Declarations {
    /// The section of this name that is a table of its own.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Whether a dotted key consists of names that this program knows. The name of a sink is
    /// none of them: in a broken file it may be anything, the rest of a secret included.
    pub(crate) fn is_known(&self, dotted: &str) -> bool {
        let sections = self.sections.iter().chain([&self.sink]);
        let known = |part: &str| {
            self.later.contains(&part)
                || sections.clone().any(|section| {
                    section.name == part || section.keys.iter().any(|key| key.name.split('.').any(|own| own == part))
                })
        };
        dotted.split('.').all(|part| known(part.trim()))
    }

    /// Whether a line, closed or not, is the header of a table that this program knows.
    pub(super) fn is_known_header(&self, line: &str) -> bool {
        let Some(inside) = line.trim().strip_prefix('[') else { return false };
        let mut parts = inside.trim_matches(['[', ']']).split('.');
        let first = parts.next().unwrap_or_default().trim();
        let is_section = self.section(first).is_some() || self.later.contains(&first);
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte));
        if first == SINKS { parts.all(plain) } else { is_section && parts.next().is_none() }
    }

    /// The other place where a key of this name belongs: "a key that is right, in the wrong table".
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

    /// The names of the sections, for a message.
    pub(super) fn section_names(&self) -> impl Iterator<Item = &'static str> {
        self.sections.iter().map(|section| section.name).chain([SINKS])
    }
}

impl Section {
    /// The key of this full name.
    pub fn key(&self, name: &str) -> Option<&DeclaredKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// What stands directly in the table `group`; the section itself is the group "".
    pub(super) fn children<'d>(&'d self, group: &str) -> impl Iterator<Item = &'d DeclaredKey> {
        self.keys.iter().filter(move |key| key.group() == group)
    }

    /// Looks up `name` in the table `group`.
    pub(crate) fn find(&self, group: &str, name: &str) -> FoundKey<'_> {
        match self.children(group).find(|key| key.last() == name) {
            Some(key) => FoundKey::Key(key),
            None => FoundKey::Unknown(nearest(name, self.children(group).map(DeclaredKey::last))),
        }
    }

    fn has(&self, group: &str, name: &str) -> bool {
        self.children(group).any(|key| key.last() == name)
    }
}

impl DeclaredKey {
    /// The name at its place, without that of its table.
    pub fn last(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(_, last)| last)
    }

    /// The table that it stands in, "" for the section itself.
    pub fn group(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |(group, _)| group)
    }

    /// Whether it is a table of keys.
    pub fn is_table(&self) -> bool {
        matches!(self.kind, KeyKind::Table { .. })
    }

    /// The variable, without its prefix and that of the section, that sets the key.
    pub fn variable(&self) -> String {
        self.name.to_ascii_uppercase().replace('.', "__")
    }
}
