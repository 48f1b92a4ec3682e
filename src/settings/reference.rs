//! The declarations as documentation: each key described in words, and a table for each section in Markdown.

use super::declarations::{Declarations, SINKS, Section};
use super::duration::{self, LONGEST};
use super::key::{DeclaredKey, KeyKind};
use super::size;

/// Every section as a table of its keys: what the key takes, default, bounds, what it does, variable.
pub fn reference(declared: &Declarations) -> String {
    let mut text = String::new();
    for section in &declared.sections {
        let variables = format!("{}{}", declared.prefix, section.name.to_ascii_uppercase());
        table(section, section.name, &variables, &mut text);
    }
    let variables = format!("{}{}__NAME", declared.prefix, SINKS.to_ascii_uppercase());
    table(&declared.sink, &format!("{SINKS}.NAME"), &variables, &mut text);
    text
}

fn table(section: &Section, path: &str, variables: &str, text: &mut String) {
    *text += &format!("\n## `[{path}]`\n\n");
    *text += "| key | takes | default | bounds or words | what it does | variable |\n|---|---|---|---|---|---|\n";
    for key in &section.keys {
        let default = key.default.as_ref().map_or_else(String::new, |default| format!("`{default}`"));
        let variable = match key.kind {
            KeyKind::Table { .. } => String::new(),
            KeyKind::Map { .. } => format!("`{variables}__{}__<NAME>`", key.variable()),
            _ => format!("`{variables}__{}`", key.variable()),
        };
        let only = match key.types.as_slice() {
            types if !types.is_empty() && key.group().is_empty() => format!(" {}", key.types_that_have_it()),
            _ => String::new(),
        };
        let (takes, bounds) = (key.kind.takes(), key.kind.bounds().0);
        let cells = [format!("`{}`", key.name), takes, default, bounds, format!("{}{only}", key.doc), variable];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        *text += &format!("| {} |\n", cells.join(" | "));
    }
}

impl DeclaredKey {
    /// The types of sinks that have the key, in a sentence.
    pub(super) fn types_that_have_it(&self) -> String {
        format!("Sinks of type {} only.", self.types.join(", "))
    }

    /// The documentation of the key and its bounds, in sentences.
    pub(super) fn explained(&self) -> String {
        let (_, bounds) = self.kind.bounds();
        [self.doc.as_str(), &bounds].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl KeyKind {
    /// The kind of value in a word or two.
    fn takes(&self) -> String {
        match self {
            Self::Table { repeatable: false } => "table",
            Self::Table { repeatable: true } => "table, or array of tables",
            Self::Text { what, .. } => what,
            Self::Duration { word: None, .. } => "duration",
            Self::Duration { word: Some(word), .. } => return format!("duration or \"{word}\""),
            Self::Size(_) => "size",
            Self::Start => "start",
            Self::Integer(_) => "whole number",
            Self::Number(_) => "number",
            Self::Boolean => "true or false",
            Self::Words(_) => "word",
            Self::Path => "path",
            Self::Statuses { what, .. } => return format!("array of {what}"),
            Self::Secret { several: false, .. } => "secret",
            Self::Secret { several: true, .. } => "secret, or array of them",
            Self::Map { .. } => "table of texts",
            Self::Texts { .. } => "text, or array of them",
        }
        .to_owned()
    }

    /// Says between which bounds a value must lie, or which words it may be: first as the cell of a table, then as a
    /// sentence.
    fn bounds(&self) -> (String, String) {
        let (least, most) = match self {
            Self::Duration { bounds, .. } => (
                Some(*bounds.start()).filter(|least| !least.is_zero()).map(duration::show),
                Some(*bounds.end()).filter(|most| *most != LONGEST).map(duration::show),
            ),
            Self::Size(bounds) => {
                (Some(*bounds.start()).filter(|least| *least > 0).map(size::write), Some(size::write(*bounds.end())))
            }
            Self::Integer(bounds) => (Some(bounds.start().to_string()), Some(bounds.end().to_string())),
            Self::Number(bounds) => (Some(bounds.start().to_string()), Some(bounds.end().to_string())),
            Self::Statuses { bounds, .. } => (Some(bounds.start().to_string()), Some(bounds.end().to_string())),
            Self::Words(words) => return (words.join(", "), format!("One of {}.", words.join(", "))),
            _ => (None, None),
        };
        let or_word = match self {
            Self::Duration { word: Some(word), .. } => format!(", or \"{word}\""),
            _ => String::new(),
        };
        match (least, most) {
            (Some(least), Some(most)) => (format!("{least} to {most}"), format!("From {least} to {most}{or_word}.")),
            (Some(least), None) => (format!("at least {least}"), format!("At least {least}{or_word}.")),
            (None, Some(most)) => (format!("at most {most}"), format!("At most {most}{or_word}.")),
            (None, None) if or_word.is_empty() => (String::new(), String::new()),
            (None, None) => (String::new(), format!("A duration{or_word}.")),
        }
    }
}
