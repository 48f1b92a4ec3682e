//! config.example.toml explains every key, and its settings are the defaults.

use std::fs;
use std::path::Path;

use super::{Machine, uncommented};
use crate::config::{EXAMPLE, declarations, example, reference};
use crate::settings::Section;

/// A machine with this file in /etc, because the example shows the defaults of a file in that place.
fn with_system_file(text: &str) -> Machine {
    let machine = Machine::new().set("LOGS_DIRECTORY", "/var/log/joltsms-relay");
    machine.write("etc/joltsms-relay/config.toml", text);
    machine
}

#[test]
fn shipped_as_it_is_it_changes_nothing() {
    let (example, empty) = (with_system_file(EXAMPLE).load(), with_system_file("").load());
    assert_eq!(format!("{:#?}", without_file(example)), format!("{:#?}", without_file(empty)));
}

#[test]
fn shows_exactly_the_defaults() {
    let minimal = "[sinks.stdout]\ntype = \"stdout\"\n\
                   [sinks.crm]\ntype = \"http\"\nurl = \"https://crm.example.com/hooks/sms\"\n";
    let (example, defaults) = (with_system_file(&uncommented()).load(), with_system_file(minimal).load());
    assert_eq!(example.api.keys.len(), 1);
    assert_eq!(format!("{:#?}", without_file(example)), format!("{:#?}", without_file(defaults)));
}

#[test]
fn shows_every_key() {
    let table: toml::Table = uncommented().parse().unwrap();
    for section in &declarations().sections {
        assert_keys(section, table[section.name].as_table().unwrap());
    }
    assert_keys(&declarations().sink, table["sinks"]["crm"].as_table().unwrap());
}

#[test]
fn the_implied_sink_is_the_one_shown() {
    let only = |text: &str| format!("{:?}", with_system_file(text).load().sinks);
    assert_eq!(only(""), only("[sinks.stdout]\ntype = \"stdout\"\nformat = \"message\"\n"));
}

fn assert_keys(section: &Section, table: &toml::Table) {
    for key in section.keys.iter().filter(|key| !key.is_table()).map(|key| &key.name) {
        let last = key.rsplit('.').next().unwrap_or(key);
        let found = key.split('.').try_fold(table, |table, part| match table.get(part)? {
            toml::Value::Table(inner) => Some(inner),
            _ => Some(table),
        });
        // A key without a default stands in an explanation.
        let first = key.split('.').next().unwrap_or(key);
        let explained = EXAMPLE.lines().any(|line| line.starts_with(&format!("# {first} = ")) && line.contains(last));
        assert!(found.is_some() || explained, "{}: `{key}` is not in config.example.toml", section.name);
    }
}

fn without_file(mut config: crate::config::Config) -> crate::config::Config {
    config.file = None;
    config
}

/// `JOLTSMS_RELAY_WRITE=1 cargo test --lib generated` writes both files.
#[test]
fn the_generated_files_are_those_of_the_declarations() {
    for (name, text) in [("config.example.toml", example()), ("docs/configuration.md", reference())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("JOLTSMS_RELAY_WRITE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{name} is not what the declarations say: run `just documents`");
    }
}
