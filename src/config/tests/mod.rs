//! The configuration as a whole: files, variables and flags go in, options or errors come out.

mod admin;
mod docs;
mod example;
mod fallback;
mod filters;
mod formats;
mod http;
mod layers;
mod names;
mod refusals;
mod schema;
mod secrets;

use std::any::Any;
use std::fs;
use std::path::PathBuf;

use super::{Config, ConfiguredSink, EXAMPLE, Errors, Overrides, Sources, declarations, load};
use crate::secret::Environment;
use crate::settings::{DeclaredKey, Section};
use crate::sinks::http::Options as HttpOptions;
use crate::sinks::{KNOWN_TYPES, types};

/// An API key in the form that the vendor documents.
pub(crate) const KEY: &str = "jolt_sk_0123456789abcdef0123456789abcdef";

/// Every section, in the order of the documentation.
fn sections() -> impl Iterator<Item = &'static Section> {
    declarations().sections.iter().chain([&declarations().sink])
}

/// The keys of a section, without its tables.
fn keys(section: &'static Section) -> impl Iterator<Item = &'static DeclaredKey> {
    section.keys.iter().filter(|key| !key.is_table())
}

/// The type of sink with which a test tries this key.
fn type_with(key: &DeclaredKey) -> &'static str {
    key.types.first().copied().unwrap_or("http")
}

/// Whether this build has sinks of this type.
fn is_built(kind: &str) -> bool {
    KNOWN_TYPES.iter().any(|known| known.name() == kind && known.lacking.is_none())
}

/// Returns the lines of all keys that a sink of this type needs, except `left_out`. `is_encrypted`: whether its address
/// asks for TLS.
fn needed_by(kind: &str, left_out: &str, is_encrypted: bool) -> String {
    let kind = types().find(|known| known.name() == kind).unwrap();
    let needed = |key: &DeclaredKey| key.name != left_out && key.default.is_none() && key.group().is_empty();
    let lines = kind.keys().into_iter().filter(needed).filter_map(|key| Some((key.name, key.example?)));
    let shown = |example: &str| if is_encrypted { example.to_owned() } else { example.replace("s://", "://") };
    lines.map(|(name, example)| format!("{name} = {}\n", shown(example))).collect()
}

/// The options of a configured http sink.
fn http_options(sink: &ConfiguredSink) -> &HttpOptions {
    (&*sink.target as &dyn Any).downcast_ref().unwrap_or_else(|| panic!("no http sink: {sink:?}"))
}

/// The example with all commented-out settings switched on; explanations stay comments.
fn uncommented() -> String {
    let switched_on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') && !setting.is_empty() => setting.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(switched_on).collect::<Vec<_>>().join("\n")
}

/// A simulated machine: a home directory, an `/etc` and an environment.
pub(crate) struct Machine {
    pub(crate) root: tempfile::TempDir,
    env: Environment,
    flags: Overrides,
}

impl Machine {
    /// A machine with an API key and a home directory.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        fs::create_dir(&home).unwrap();
        let secrets = [("JOLTSMS_API_KEY", KEY), ("TELEGRAM_TOKEN", "123:abc"), ("NTFY_TOPIC", "a-topic")];
        let secrets = secrets.map(|(name, value)| (name.into(), value.into()));
        let env = [("HOME".into(), home.into())].into_iter().chain(secrets).collect();
        Self { root, env, flags: Overrides::default() }
    }

    /// A machine with this text as the user's configuration file.
    pub(crate) fn with_file(text: &str) -> Self {
        let machine = Self::new();
        machine.write("home/.config/joltsms-relay/config.toml", text);
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.env.remove(std::ffi::OsStr::new(name));
        self
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources { env: self.env.clone(), flags: self.flags.clone(), etc: self.path("etc") }
    }

    fn try_load(&self) -> Result<Config, Errors> {
        load(&self.sources())
    }

    pub(crate) fn load(&self) -> Config {
        self.try_load().unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The errors as a user sees them, with the path of the file cut down to its name.
    fn refused(&self) -> String {
        let text = self.try_load().expect_err("a configuration that must be refused").to_string();
        text.replace(&format!("{}/", self.path("home/.config/joltsms-relay").display()), "")
            .replace(&self.root.path().display().to_string(), "")
    }
}
