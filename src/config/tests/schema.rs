//! The schema accepts every file that the relay accepts, and explains every key.

use jsonschema::Validator;
use serde_json::Value;

use super::{KEY, Machine, is_built, keys, needed_by, sections, type_with, uncommented};
use crate::config::{declarations, schema};
use crate::settings::{KeyKind, Section};

fn validator() -> Validator {
    jsonschema::validator_for(&serde_json::from_str(&schema()).unwrap()).unwrap()
}

/// Whether the schema accepts a file; dates count as texts.
fn accepts(validator: &Validator, file: &str) -> bool {
    let table: toml::Table = file.parse().unwrap();
    validator.is_valid(&as_json(&toml::Value::Table(table)))
}

fn as_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::Datetime(instant) => Value::String(instant.to_string()),
        toml::Value::Array(list) => list.iter().map(as_json).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), as_json(value))).collect(),
        plain => serde_json::to_value(plain).unwrap(),
    }
}

/// Whether the relay accepts a file. The file may name the variable X; there is no other source.
fn relay_accepts(file: &str) -> bool {
    let names_a_key = file.starts_with("[api]\nkey");
    let machine = Machine::with_file(file).set("X", if names_a_key { KEY } else { "https://x.example" });
    let machine = if names_a_key { machine.unset("JOLTSMS_API_KEY") } else { machine };
    machine.try_load().is_ok()
}

/// A file with this value for a key, and everything that must stand beside it.
fn file_with(section: &Section, key: &str, value: &str) -> String {
    let name = section.name;
    if name == "sinks" {
        let kind = type_with(section.key(key).unwrap());
        let own = if key == "type" { String::new() } else { format!("type = \"{kind}\"\n") };
        return format!("[sinks.crm]\n{own}{}{key} = {value}\n", needed_by(kind, key, true));
    }
    format!("[{name}]\n{key} = {value}\n")
}

#[test]
fn every_key_has_a_shape() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for section in sections() {
        for key in keys(section) {
            let path = match section.name {
                "sinks" => "/properties/sinks/patternProperties/^[a-z0-9_-]{1,64}$".to_owned(),
                name => format!("/properties/{name}"),
            };
            let parts = key.name.split('.').fold(path, |path, part| {
                let array = schema.pointer(&format!("{path}/anyOf/0/properties")).is_some();
                format!("{path}{}/properties/{part}", if array { "/anyOf/0" } else { "" })
            });
            let shape = schema.pointer(&parts).unwrap_or_else(|| panic!("{parts}"));
            let says = ["type", "anyOf", "enum", "$ref"].iter().any(|word| !shape[word].is_null());
            assert!(says && shape["description"].is_string(), "{parts}: {shape}");
        }
    }
}

#[test]
fn every_key_of_a_section_is_explained() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for section in &declarations().sections {
        let name = section.name;
        for key in keys(section).map(|key| &key.name) {
            let pointer = format!("/properties/{name}/properties/{}", key.replace('.', "/properties/"));
            let found = schema.pointer(&pointer).unwrap_or_else(|| panic!("{key}"));
            // Keys that name files have no default; the documentation of their table explains them.
            if key.starts_with("tls.") {
                let table = &schema["properties"][name]["properties"]["tls"];
                assert!(table["description"].is_string(), "{key}: {table}");
                continue;
            }
            // The admin endpoint, the heartbeat, events and a state in PostgreSQL (`state.url`) are off by default.
            let is_off = matches!((name, key.as_str()), ("admin" | "events", _) | ("heartbeat" | "state", "url"))
                && key != "read_only";
            let has_default = !found["default"].is_null();
            assert!(found["description"].is_string() && has_default != is_off, "{key}: {found}");
        }
    }
}

#[test]
fn the_example_is_valid_as_it_is_and_with_everything_switched_on() {
    let validator = validator();
    for file in [crate::config::EXAMPLE.to_owned(), uncommented()] {
        let table: toml::Table = file.parse().unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(&as_json(&toml::Value::Table(table))).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// Tries many values for every key. The schema must accept each value that the relay accepts, and both must refuse a
/// value of the wrong kind.
#[test]
fn for_every_key_the_schema_takes_what_the_relay_takes() {
    let validator = validator();
    let values = [
        "true",
        "1",
        "0",
        "-1",
        "2000000",
        "1.5",
        "nan",
        "\"\"",
        "\"1s\"",
        "\"1h 30m\"",
        "\" 20 s \"",
        "\"5\"",
        "\"1y\"",
        "\"never\"",
        "\"forever\"",
        "\"now\"",
        "\"beginning\"",
        "\"2026-01-31T08:00:00Z\"",
        "2026-01-31T08:00:00Z",
        "\"info\"",
        "\"json\"",
        "\"http\"",
        "\"message\"",
        "\"https://x.example/\"",
        "\"HTTP://localhost\"",
        "[]",
        "[1]",
        "{}",
        "{ env = \"X\" }",
        "{ env = \"1X\" }",
        "[{ env = \"X\" }]",
        "{ other = \"X\" }",
        "{ env = \"X\", file = \"x\" }",
    ];
    let mut taken = 0;
    for section in sections() {
        for key in keys(section).filter(|key| is_built(type_with(key))).map(|key| &key.name) {
            for value in values {
                let file = file_with(section, key, value);
                if relay_accepts(&file) {
                    assert!(accepts(&validator, &file), "only the relay takes\n{file}");
                    taken += 1;
                }
            }
            let kinds = ["true", "-1", "\"~\"", "[[]]", "{ other = \"X\" }"];
            let refused =
                kinds.into_iter().filter(|value| !accepts(&validator, &file_with(section, key, value))).count();
            assert!(refused >= 3, "{}: the schema takes nearly anything for `{key}`", section.name);
        }
    }
    assert!(taken > 60, "{taken}");
}

#[test]
fn bounds_and_words_are_those_of_the_relay() {
    let validator = validator();
    for section in sections() {
        for declared in keys(section).filter(|key| is_built(type_with(key))) {
            let key = &declared.name;
            let agree = |value: String, expected: bool| {
                let file = file_with(section, key, &value);
                assert_eq!((relay_accepts(&file), accepts(&validator, &file)), (expected, expected), "{file}");
            };
            match &declared.kind {
                KeyKind::Integer(bounds) => {
                    let (least, most) = (bounds.start(), bounds.end());
                    agree(least.to_string(), true);
                    agree(most.to_string(), true);
                    agree((least - 1).to_string(), false);
                    agree((most + 1).to_string(), false);
                }
                KeyKind::Number(bounds) => {
                    let (least, most) = (bounds.start(), bounds.end());
                    agree(format!("{least:?}"), true);
                    agree(format!("{most:?}"), true);
                    agree(format!("{:?}", least - 0.01), false);
                    agree(format!("{:?}", most + 0.01), false);
                }
                KeyKind::Statuses { bounds, .. } => {
                    let (least, most) = (bounds.start(), bounds.end());
                    agree(format!("[{least}, {most}]"), true);
                    agree(format!("[{}]", least - 1), false);
                    agree(format!("[{least}, {}]", most + 1), false);
                    agree(least.to_string(), false);
                }
                KeyKind::Words(words) => {
                    let file = file_with(section, key, "\"no such word\"");
                    let said = Machine::with_file(&file).refused();
                    let known = words.iter().filter(|word| said.contains(&format!("\"{word}\""))).count();
                    let quoted = said.split("is not ").nth(1).unwrap().lines().next().unwrap().matches('"').count() / 2;
                    assert_eq!((known, quoted), (words.len(), words.len()), "`{key}`: {words:?} and\n{said}");
                    agree("\"no such word\"".to_owned(), false);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn what_the_relay_refuses_by_name_the_schema_refuses() {
    let validator = validator();
    for file in [
        "[pol]\n",
        "[poll]\nintervall = \"1s\"\n",
        "[sinks.CRM]\ntype = \"stdout\"\n",
        "[sinks.out]\ntype = \"stdout\"\nurl = \"https://crm.example.com\"\n",
        "[sinks.crm]\ntype = \"http\"\nurl = \"https://crm.example.com\"\n[sinks.crm.retry]\nmux = \"1s\"\n",
        "[sinks.crm]\ntype = \"http\"\nurl = \"https://crm.example.com\"\nheaders = { cOOkie = \"hunter2\" }\n",
        "[sinks.crm]\ntype = \"http\"\nurl = \"https://crm.example.com\"\nauth = { bearer = \"hunter2\" }\n",
        "[sinks.out]\ntype = \"stdout\"\nauth = { bearer = { env = \"X\" } }\n",
        "[api]\nkey = \"jolt_sk_0123456789abcdef0123456789abcdef\"\n",
    ] {
        assert!(!relay_accepts(file) && !accepts(&validator, file), "{file}");
    }
}
