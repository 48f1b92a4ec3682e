//! A key as a value: its name, what it takes, and what is said about it. The declarations are made of these.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One key of a section, or one table in it.
#[derive(Clone, Debug)]
pub struct DeclaredKey {
    /// In full below its section: a key in a table of its own has a dot, such as `retry.max`.
    pub name: String,
    /// What it takes.
    pub kind: KeyKind,
    /// Its default, as TOML. Where there is none, nothing stands for it, or it is required.
    pub default: Option<String>,
    /// A value to begin with where there is no default, as TOML.
    pub example: Option<&'static str>,
    /// Lines of the example for what is best shown in one: a table, or a key without a default.
    pub lines: &'static [&'static str],
    /// What it does, in sentences.
    pub doc: String,
    /// The types of sinks that have it, where not all do.
    pub types: Vec<&'static str>,
}

/// What a key takes.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyKind {
    /// A table with keys of its own, or also an array of such tables.
    Table {
        /// Whether an array of tables may stand there, too.
        repeatable: bool,
    },
    /// Any text. `pattern` is a regular expression that all that are accepted match.
    Text {
        /// What it is, for people, such as "URL".
        what: &'static str,
        /// A regular expression that matches each accepted text.
        pattern: Option<&'static str>,
    },
    /// Such as `1h30m`, within bounds; or this word.
    Duration {
        /// The least and the most.
        bounds: RangeInclusive<Duration>,
        /// What stands for none.
        word: Option<&'static str>,
    },
    /// Such as `64MiB`, within bounds.
    Size(RangeInclusive<u64>),
    /// Where a first run begins.
    Start,
    /// A whole number within bounds.
    Integer(RangeInclusive<i128>),
    /// A number within bounds.
    Number(RangeInclusive<f64>),
    /// true or false.
    Boolean,
    /// One of these words.
    Words(Vec<&'static str>),
    /// A path; a relative one counts from the file.
    Path,
    /// An array of HTTP statuses within bounds.
    Statuses(RangeInclusive<u16>),
    /// A reference: never written out in the file.
    Secret {
        /// Whether it may be an array of references, too.
        several: bool,
        /// The variable that messages propose.
        variable: &'static str,
    },
    /// A table of the user's own names, each with a text. Values of these names are secrets.
    Map {
        /// In small letters; case does not count.
        secret: &'static [&'static str],
    },
    /// One text or several. In a variable they have commas between them if `split` is true.
    Texts {
        /// Whether a variable may hold several.
        split: bool,
    },
}

impl KeyKind {
    /// Whether a value that stands where it does not belong may be shown: nobody takes it for the place of a secret.
    pub fn may_be_shown(&self) -> bool {
        matches!(self, Self::Duration { .. } | Self::Integer(_) | Self::Number(_) | Self::Boolean)
    }
}
