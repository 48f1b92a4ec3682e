//! Keys with texts: texts of any form, secrets, paths, names of sinks, and tables of texts.

use std::path::PathBuf;

use serde::Deserialize as _;

use super::super::declare::Declared;
use super::super::document::{Member, Origin, WrittenValue};
use super::super::key::KeyKind;
use super::super::reader::{Reader, Texts, WrittenText};
use crate::domain::{InvalidSinkName, SinkName};
use crate::secret::trimming;

/// Any text. `what` names the kind of text, such as "URL"; the documentation shows this name. `expected` says in error texts what must
/// be written. `pattern` is a regular expression that matches every accepted text.
pub fn text(
    what: &'static str,
    expected: &'static str,
    pattern: Option<&'static str>,
) -> Declared<Option<WrittenText>> {
    Declared::new(KeyKind::Text { what, pattern }, None, move |from, name| from.text(name, expected))
}

/// One text or several texts. `split`: a variable or a flag may hold several texts, with commas between them.
pub fn texts(split: bool) -> Declared<Option<Texts>> {
    Declared::new(KeyKind::Texts { split }, None, move |from, name| {
        read_texts(from, name, "a text in quotes, or a list of them", split)
    })
}

/// A reference to a secret. Error texts propose `variable` as the variable that holds it.
pub fn secret(variable: &'static str) -> Declared<Option<WrittenText>> {
    Declared::new(KeyKind::Secret { several: false, variable }, None, |from, name| from.text(name, "a text"))
}

/// One reference to a secret, or several.
pub fn secrets(variable: &'static str) -> Declared<Option<Texts>> {
    Declared::new(KeyKind::Secret { several: true, variable }, None, |from, name| {
        read_texts(from, name, "a text in quotes", false)
    })
}

/// The name of a sink, or nothing.
pub fn sink_name() -> Declared<Option<SinkName>> {
    let kind = KeyKind::Text { what: "name of a sink", pattern: Some("^[a-z0-9_-]{1,64}$") };
    Declared::new(kind, None, |from, name| {
        let text = from.text(name, "the name of a sink in quotes")?;
        let parsed = text.bare().parse();
        if parsed.is_err() {
            from.refuse(name, &text, "is not the name of a sink", &InvalidSinkName.to_string());
        }
        parsed.ok()
    })
}

/// A path, or nothing. A relative path in the file counts from the directory of the file.
pub fn path() -> Declared<Option<PathBuf>> {
    Declared::new(KeyKind::Path, None, read_path)
}

/// A path. If the key is missing, the path is empty, and the caller uses the usual place.
pub fn required_path() -> Declared<PathBuf> {
    Declared::new(KeyKind::Path, None, |from, name| read_path(from, name).unwrap_or_default())
}

/// A table with names that the user chooses. `secret` lists the names whose values are secrets. In the file, the value of such a name must be a reference to the
/// secret, not the secret itself.
/// [`Reader::text_of`] reads the texts of its members.
pub fn map(secret: &'static [&'static str]) -> Declared<Vec<Member>> {
    Declared::with_default(KeyKind::Map { secret }, "{}".to_owned(), Vec::new(), |from, name| {
        let entry = from.written(name)?;
        match &entry.value {
            WrittenValue::Map(members) => return Some(members.clone()),
            WrittenValue::Broken => {}
            _ => {
                let help =
                    format!("set each of them by a variable of its own, such as …__{}__X_TEAM", name.to_uppercase());
                from.wrong(name, &entry.origin, "cannot be set as a whole by a variable", &help);
            }
        }
        None
    })
}

fn read_path(from: &mut Reader<'_>, name: &str) -> Option<PathBuf> {
    let text = from.text(name, "a path in quotes")?;
    let wrong = match text.as_str() {
        "" => "is empty",
        home if home == "~" || home.starts_with("~/") => "begins with `~`, which only a shell understands",
        odd if odd.contains(char::is_control) => "holds a control character",
        quoted if trimming::unquoted(quoted) != quoted => "is in quotes",
        _ => return Some(from.beside_file(&text)),
    };
    from.refuse(name, &text, wrong, "write the path in full");
    None
}

fn read_texts(from: &mut Reader<'_>, name: &str, expected: &str, split: bool) -> Option<Texts> {
    let entry = from.written(name)?;
    let entries = match &entry.value {
        WrittenValue::List(entries) => entries.as_slice(),
        _ => std::slice::from_ref(entry),
    };
    let is_empty_array = entries.is_empty();
    let mut found = Texts { origin: entry.origin.clone(), texts: Vec::new(), whole: true, is_empty_array };
    for entry in entries {
        let Some(text) = from.text_of(name, entry, expected) else {
            found.whole = false;
            continue;
        };
        if let Some(members) = array_of_variable(&text) {
            found.is_empty_array |= members.is_empty();
            found.texts.extend(members);
        } else if split && text.is_written_out() && !text.is_in_file() {
            found.texts.extend(text.split(','));
        } else {
            found.texts.push(text);
        }
    }
    Some(found)
}

/// If the value of a variable is an array of texts in TOML, such as `["/bin/sh", "on-sms.sh"]`, returns these texts.
/// Other values that begin with a bracket, such as the pattern `[+]1*`, are not arrays.
fn array_of_variable(text: &WrittenText) -> Option<Vec<WrittenText>> {
    let array = text.as_str().trim();
    if !text.is_written_out() || !matches!(text.origin, Origin::Variable(_)) || !array.starts_with('[') {
        return None;
    }
    let members = Vec::<String>::deserialize(toml::de::ValueDeserializer::parse(array).ok()?).ok()?;
    Some(members.iter().map(|member| text.with(member)).collect())
}
