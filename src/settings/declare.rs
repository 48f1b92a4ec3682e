//! The functions and the macro with which a component declares its keys.

#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method of a type with a lifetime is not general enough"
)]

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::document::Member;
use super::key::{DeclaredKey, KeyKind};
use super::reader::{Reader, Texts, WrittenText};
use super::{duration as spans, size as sizes};
use crate::domain::{InvalidSinkName, SinkName, Start};

/// A struct whose fields are the keys of one table. `settings!` implements this.
pub trait Settings: Sized {
    /// The keys, in the order of the documentation.
    fn keys() -> Vec<DeclaredKey>;

    /// Reads the keys. Errors go to the report, and the default takes the place of a wrong value.
    fn read(from: &mut Reader<'_>) -> Self;
}

/// A type whose values are written as words.
pub trait WordChoice: Clone + PartialEq + 'static {
    /// Each word with its value.
    const WORDS: &'static [(&'static str, Self)];
}

/// The declaration of one key: the values it takes, and how they become a `T`.
pub struct Declared<T> {
    key: DeclaredKey,
    inside: Vec<DeclaredKey>,
    read: Read<T>,
}

/// Reads the key with this name.
type Read<T> = Box<dyn FnOnce(&mut Reader<'_>, &str) -> T>;

impl<T> Declared<T> {
    fn new(kind: KeyKind, default: Option<String>, read: impl FnOnce(&mut Reader<'_>, &str) -> T + 'static) -> Self {
        let key = DeclaredKey {
            name: String::new(),
            kind,
            default,
            example: None,
            lines: &[],
            doc: String::new(),
            types: Vec::new(),
        };
        Self { key, inside: Vec::new(), read: Box::new(read) }
    }

    /// Sets the value that the example shows for a key without a default, as TOML.
    pub fn such_as(mut self, example: &'static str) -> Self {
        self.key.example = Some(example);
        self
    }

    /// Sets the lines that the example shows for this key.
    pub fn lines(mut self, lines: &'static [&'static str]) -> Self {
        self.key.lines = lines;
        self
    }

    /// Sets the default that the documentation shows, if other code decides about a missing value.
    pub fn by_default(mut self, shown: &'static str) -> Self {
        self.key.default = Some(shown.to_owned());
        self
    }

    /// Adds the key, and the keys in its table, to the keys of its struct.
    pub fn add_to(self, keys: &mut Vec<DeclaredKey>, name: &str, doc: &str) {
        let lines: Vec<&str> = doc.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        keys.push(DeclaredKey { name: name.to_owned(), doc: lines.join(" "), ..self.key });
        keys.extend(self.inside.into_iter().map(|key| DeclaredKey { name: format!("{name}.{}", key.name), ..key }));
    }

    /// Reads the key with this name.
    pub fn read(self, from: &mut Reader<'_>, name: &str) -> T {
        (self.read)(from, name)
    }
}

impl Declared<Option<WrittenText>> {
    /// Sets the text that counts if none is written.
    pub fn or(self, default: &'static str) -> Self {
        let Self { key, inside, read } = self;
        let read: Read<_> = Box::new(move |from, name| match from.written(name) {
            Some(_) => read(from, name),
            None => Some(WrittenText::implied(default)),
        });
        Self { key: DeclaredKey { default: Some(quoted(default)), ..key }, inside, read }
    }
}

/// Declares a struct whose fields are keys. Each field has its documentation, name, type, and the function that reads
/// its value. `as` gives a key another name than its field.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $doc:literal])* $field_vis:vis $field:ident $(as $key:literal)?: $type:ty = $declared:expr),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[doc = $doc])* $field_vis $field: $type,)*
        }

        impl $crate::settings::Settings for $name {
            fn keys() -> Vec<$crate::settings::DeclaredKey> {
                let mut keys = Vec::new();
                $({
                    let declared: $crate::settings::Declared<$type> = $declared;
                    let name = [$($key,)? stringify!($field)][0];
                    declared.add_to(&mut keys, name, concat!($($doc, "\n"),*));
                })*
                keys
            }

            fn read(from: &mut $crate::settings::Reader<'_>) -> Self {
                Self {
                    $($field: {
                        let declared: $crate::settings::Declared<$type> = $declared;
                        declared.read(from, [$($key,)? stringify!($field)][0])
                    },)*
                }
            }
        }
    };
}
pub(crate) use settings;

/// A table with the keys of another struct.
pub fn table<T: Settings>() -> Declared<T> {
    let read = |from: &mut Reader<'_>, name: &str| T::read(&mut from.inside(name));
    Declared { inside: T::keys(), ..Declared::new(KeyKind::Table { repeatable: false }, None, read) }
}

/// A table with the keys of another struct, or an array of such tables. `read` reads all of them.
pub fn tables<T: Settings, A: 'static>(read: fn(&mut Reader<'_>, &str) -> A) -> Declared<A> {
    Declared { inside: T::keys(), ..Declared::new(KeyKind::Table { repeatable: true }, None, read) }
}

/// Any text. `what` names the kind of text in error texts, as in "URL".
pub fn text(
    what: &'static str,
    expected: &'static str,
    pattern: Option<&'static str>,
) -> Declared<Option<WrittenText>> {
    Declared::new(KeyKind::Text { what, pattern }, None, move |from, name| from.text(name, expected))
}

/// One text or several texts.
pub fn texts(split: bool) -> Declared<Option<Texts>> {
    Declared::new(KeyKind::Texts { split }, None, move |from, name| {
        from.texts(name, "a text in quotes, or a list of them", split)
    })
}

/// A reference to a secret. Error texts propose `variable` as the variable that holds it.
pub fn secret(variable: &'static str) -> Declared<Option<WrittenText>> {
    Declared::new(KeyKind::Secret { several: false, variable }, None, |from, name| from.text(name, "a text"))
}

/// One reference to a secret, or several.
pub fn secrets(variable: &'static str) -> Declared<Option<Texts>> {
    Declared::new(KeyKind::Secret { several: true, variable }, None, |from, name| {
        from.texts(name, "a text in quotes", false)
    })
}

/// A table with names that the user chooses. In the file, the values of the names in `secret` must be references.
pub fn map(secret: &'static [&'static str]) -> Declared<Vec<Member>> {
    Declared::new(KeyKind::Map { secret }, Some("{}".to_owned()), |from, name| from.map(name))
}

/// A duration within bounds.
pub fn duration(default: Duration, bounds: RangeInclusive<Duration>) -> Declared<Duration> {
    let kind = KeyKind::Duration { bounds: bounds.clone(), word: None };
    Declared::new(kind, Some(quoted(&spans::show(default))), move |from, name| from.duration(name, default, bounds))
}

/// A duration within bounds, or `word` for no duration.
pub fn duration_or<T: From<Option<Duration>>>(
    word: &'static str,
    default: Option<Duration>,
    bounds: RangeInclusive<Duration>,
) -> Declared<T> {
    let kind = KeyKind::Duration { bounds: bounds.clone(), word: Some(word) };
    let shown = default.map_or(word.to_owned(), spans::show);
    Declared::new(kind, Some(quoted(&shown)), move |from, name| from.duration_or(name, word, default, bounds).into())
}

/// A size in bytes within bounds.
pub fn size(default: u64, bounds: RangeInclusive<u64>) -> Declared<u64> {
    let shown = quoted(&sizes::write(default));
    Declared::new(KeyKind::Size(bounds.clone()), Some(shown), move |from, name| from.size(name, default, bounds))
}

/// Where a first run begins.
pub fn start(default: Start) -> Declared<Start> {
    let shown = quoted(&default.to_string());
    Declared::new(KeyKind::Start, Some(shown), move |from, name| from.start(name, default))
}

/// A whole number within bounds.
pub fn integer<T>(default: T, bounds: RangeInclusive<i128>) -> Declared<T>
where
    T: TryFrom<i128> + Copy + ToString + 'static,
{
    let shown = Some(default.to_string());
    Declared::new(KeyKind::Integer(bounds.clone()), shown, move |from, name| from.integer(name, default, bounds))
}

/// A number within bounds.
pub fn number(default: f64, bounds: RangeInclusive<f64>) -> Declared<f64> {
    let shown = Some(format!("{default:?}"));
    Declared::new(KeyKind::Number(bounds.clone()), shown, move |from, name| from.float(name, default, bounds))
}

/// true or false.
pub fn boolean(default: bool) -> Declared<bool> {
    Declared::new(KeyKind::Boolean, Some(default.to_string()), move |from, name| from.boolean(name, default))
}

/// true, false or nothing.
pub fn optional_boolean() -> Declared<Option<bool>> {
    Declared::new(KeyKind::Boolean, None, |from, name| from.written(name).is_some().then(|| from.boolean(name, true)))
}

/// One of a few words.
pub fn choice<T: WordChoice>(default: T) -> Declared<T> {
    let shown = T::WORDS.iter().find(|(_, value)| *value == default).map(|(word, _)| quoted(word));
    let words = KeyKind::Words(T::WORDS.iter().map(|(word, _)| *word).collect());
    Declared::new(words, shown, move |from, name| from.choice(name, T::WORDS, &[]).unwrap_or(default))
}

/// One of a few words, or nothing.
pub fn one_choice<T: WordChoice>() -> Declared<Option<T>> {
    one_of(T::WORDS.to_vec(), &[])
}

/// One of these words, each with its value; or nothing. `hints` has advice for wrong words that people write often.
pub fn one_of<T: Clone + 'static>(
    words: Vec<(&'static str, T)>,
    hints: &'static [(&'static str, &'static str)],
) -> Declared<Option<T>> {
    let kind = KeyKind::Words(words.iter().map(|(word, _)| *word).collect());
    Declared::new(kind, None, move |from, name| from.choice(name, &words, hints))
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

/// A path, or nothing.
pub fn path() -> Declared<Option<PathBuf>> {
    Declared::new(KeyKind::Path, None, |from, name| from.path(name))
}

/// A path. If the key is missing, the path is empty, and the caller uses the usual place.
pub fn required_path() -> Declared<PathBuf> {
    Declared::new(KeyKind::Path, None, |from, name| from.path(name).unwrap_or_default())
}

/// HTTP statuses within bounds.
pub fn http_statuses(bounds: RangeInclusive<u16>) -> Declared<Vec<u16>> {
    statuses("HTTP statuses", &[], bounds)
}

/// Exit statuses of a program within bounds.
pub fn exit_statuses(default: &'static [u16], bounds: RangeInclusive<u16>) -> Declared<Vec<u16>> {
    statuses("exit statuses", default, bounds)
}

fn statuses(what: &'static str, default: &'static [u16], bounds: RangeInclusive<u16>) -> Declared<Vec<u16>> {
    let kind = KeyKind::Statuses { what, bounds: bounds.clone() };
    Declared::new(kind, Some(format!("{default:?}")), move |from, name| match from.written(name) {
        Some(_) => from.statuses(name, what, &bounds),
        None => default.to_vec(),
    })
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
