//! A declared key as a value: its name, the values it takes, and its documentation.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One key of a section, or one table in a section.
#[derive(Clone, Debug)]
pub struct DeclaredKey {
    /// The full name below the section. A key in a table has a dot in its name, such as `retry.max`.
    pub name: String,
    /// The values that the key takes.
    pub kind: KeyKind,
    /// The default, as TOML. `None`: there is no default.
    pub default: Option<String>,
    /// The value that the example shows for a key without a default, as TOML.
    pub example: Option<&'static str>,
    /// Whole lines that the example shows for this key, such as `hosts = ["relay.example.com"]`. For a table they
    /// stand in place of its keys.
    pub lines: &'static [&'static str],
    /// The documentation, in sentences.
    pub doc: String,
    /// The types of sinks that have the key; empty if all have it.
    pub types: Vec<&'static str>,
}

/// The values that a key takes.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyKind {
    /// A table with keys of its own.
    Table {
        /// Whether an array of such tables is accepted, too.
        repeatable: bool,
    },
    /// Any text.
    Text {
        /// The kind of text, for the documentation, such as "URL".
        what: &'static str,
        /// A regular expression that matches every accepted text.
        pattern: Option<&'static str>,
    },
    /// A duration such as `1h30m`, or a word.
    Duration {
        /// The shortest and the longest duration.
        bounds: RangeInclusive<Duration>,
        /// The word for no duration, if there is one.
        word: Option<&'static str>,
    },
    /// A size such as `64MiB`, within bounds in bytes.
    Size(RangeInclusive<u64>),
    /// The start of a first run.
    Start,
    /// A whole number within bounds.
    Integer(RangeInclusive<i128>),
    /// A number within bounds.
    Number(RangeInclusive<f64>),
    /// true or false.
    Boolean,
    /// One of these words.
    Words(Vec<&'static str>),
    /// A path. A relative path counts from the directory of the configuration file in which it stands.
    Path,
    /// An array of statuses within bounds.
    Statuses {
        /// The kind of statuses, for the documentation, such as "HTTP statuses".
        what: &'static str,
        /// The least and the greatest status.
        bounds: RangeInclusive<u16>,
    },
    /// A reference to a secret, which must not be written out in the file.
    Secret {
        /// Whether an array of references is accepted, too.
        several: bool,
        /// The variable that error texts propose.
        variable: &'static str,
    },
    /// A table with names that the user chooses, each with a text.
    Map {
        /// The names whose values are secrets, in lower case. The names that the user chooses are compared without
        /// regard to case.
        secret: &'static [&'static str],
    },
    /// One text or several.
    Texts {
        /// Whether a variable may hold several texts, with commas between them.
        split: bool,
    },
}

impl KeyKind {
    /// Whether error texts may show a wrong value of this key. False if people may put a secret there by mistake.
    pub fn may_be_shown(&self) -> bool {
        matches!(self, Self::Duration { .. } | Self::Integer(_) | Self::Number(_) | Self::Boolean)
    }
}
