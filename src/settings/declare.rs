//! What a component needs to declare its keys: the macro `settings!`, and what a declaration consists of. `kinds` has
//! the functions for the kinds of keys.

use super::key::{DeclaredKey, KeyKind};
use super::reader::{Reader, WrittenText};

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
    /// A key of this kind. `default`: the default, as TOML.
    pub(super) fn new(
        kind: KeyKind,
        default: Option<String>,
        read: impl FnOnce(&mut Reader<'_>, &str) -> T + 'static,
    ) -> Self {
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

    /// A key with a default; `shown` is the default as TOML. `read` returns `None` if the key is missing or wrong.
    pub(super) fn with_default(
        kind: KeyKind,
        shown: String,
        default: T,
        read: impl FnOnce(&mut Reader<'_>, &str) -> Option<T> + 'static,
    ) -> Self
    where
        T: 'static,
    {
        Self::new(kind, Some(shown), move |from, name| read(from, name).unwrap_or(default))
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

    /// Sets only the default that the documentation shows. Other code decides what is used if the key is missing.
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
    /// Sets the default: the text that is used if none is written.
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

/// A table with the keys of another struct, or an array of such tables. `read` reads the one table or the whole array.
pub fn tables<T: Settings, A: 'static>(read: fn(&mut Reader<'_>, &str) -> A) -> Declared<A> {
    Declared { inside: T::keys(), ..Declared::new(KeyKind::Table { repeatable: true }, None, read) }
}

/// The text as TOML.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
