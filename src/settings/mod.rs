//! The engine of the configuration: components declare their keys with it, and it reads the values. It contains no key
//! of any component.
//!
//! A component declares its keys with `settings!`, as the fields of a struct. The name, documentation, kind, bounds and
//! default of a key stand there and nowhere else. Everything else comes from these [`Declarations`]: the names that a
//! file and a variable may use, suggestions for misspelt names, the commented example, the JSON Schema, and the tables
//! of the documentation.
//!
//! A configuration is read in two steps. First the layers are merged key by key: flags take precedence over the
//! environment, and the environment over the file. Each value keeps its [`Origin`]. The result is a [`Document`]. Then
//! a [`Reader`] reads the structs from the document.
//!
//! Invariants: nothing here reads the environment of the process; all errors are reported at once, each with its place;
//! a key that is not declared is an error; no error text, `Debug` or `Display` shows a secret.
//!
//! `serde` and `schemars` are not used for this: reading would stop at the first error, and the place of a value would
//! be lost. The place of a value is needed for more than error texts, because two rules depend on whether a value
//! stands in a variable or in the file: in a variable, commas separate the elements of a list; and a secret may stand in a
//! variable but not in the file.

mod declarations;
mod declare;
mod document;
mod duration;
mod environment;
mod example;
mod excerpt;
mod file;
mod fingerprints;
mod json_schema;
mod key;
mod kinds;
mod named_file;
mod reader;
mod reference;
mod report;
mod size;
mod suggestion;

pub use declarations::{Declarations, Section};
pub(crate) use declare::settings;
pub use declare::{Declared, Settings, WordChoice, table, tables};
pub use document::{Document, Member, Origin, Table, WrittenEntry, WrittenValue};
pub use duration::{LONGEST, parse as parse_duration, show as show_duration};
pub use environment::apply as apply_environment;
pub use example::{comment, example};
pub use file::read as read_file;
pub use fingerprints::Fingerprints;
pub use json_schema::json_schema;
pub use key::{DeclaredKey, KeyKind};
pub use kinds::{
    boolean, choice, duration, duration_or, exit_statuses, http_statuses, integer, map, number, one_choice, one_of,
    optional_boolean, path, required_path, secret, secrets, sink_name, size, start, text, texts,
};
pub use named_file::{FileUsage, NamedFile};
pub use reader::{Reader, Texts, WrittenText};
pub use reference::reference;
pub use report::{Complaints, Errors, Problem};
pub use suggestion::{alternatives, nearest};
