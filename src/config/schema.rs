//! The configuration file as a JSON Schema, for editors and for whoever checks files before they are rolled out.
//!
//! Invariants: the keys are those of the table in `keys`, and explanations and defaults are those of the example, so that
//! neither can drift. Whatever the relay accepts in a file, the schema accepts. It is a little more lenient: a key may
//! come from the environment, so none is required, and some rules join two keys.

use serde_json::{Map, Value, json};

use super::filter;
use super::flow::{ACCEPTABLE, REJECTABLE};
use super::keys::{HTTP_ONLY, SECRET_HEADERS, SECTIONS, SINKS, Section};
use super::{EXAMPLE, duration};

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// Letters, digits, `.`, `_` and `-`.
    Label,
    /// A URL with `http` or `https`.
    Url,
    /// `env`, `off` or the same.
    Proxy,
    /// Such as `1h30m`.
    Duration,
    /// The same, or this word.
    DurationOr(&'static str),
    /// Such as `64MiB`.
    Size,
    /// Where a first run begins.
    Start,
    /// A whole number within bounds.
    Integer(i64, i64),
    /// A number within bounds.
    Number(f64, f64),
    /// true or false.
    Boolean,
    /// One of these words.
    Words(&'static [&'static str]),
    /// An array of HTTP statuses within bounds.
    Statuses(u16, u16),
    /// One reference: never written out.
    Secret,
    /// One reference or several.
    Secrets,
    /// Headers: names of the user's own, each with a text.
    Headers,
    /// One text or several.
    Texts,
}

/// The shape of each key. A key without one could be anything in the schema; a test sees to it that there is none.
const SHAPES: [(Section, &[(&str, Shape)]); 5] = [
    (
        Section::Api,
        &[
            ("url", Shape::Url),
            ("key", Shape::Secrets),
            ("requests_per_minute", Shape::Integer(1, 1_000_000)),
            ("timeout", Shape::Duration),
            ("account", Shape::Label),
            ("connect_timeout", Shape::Duration),
            ("allow_http", Shape::Boolean),
            ("proxy", Shape::Proxy),
            ("tls.ca_file", Shape::Text),
            ("tls.cert_file", Shape::Text),
            ("tls.key_file", Shape::Text),
        ],
    ),
    (
        Section::Poll,
        &[
            ("interval", Shape::Duration),
            ("start", Shape::Start),
            ("lookback", Shape::Duration),
            ("sweep_interval", Shape::Duration),
        ],
    ),
    (
        Section::State,
        &[
            ("dir", Shape::Text),
            ("keep_delivered", Shape::DurationOr("forever")),
            ("keep_dead", Shape::DurationOr("forever")),
            ("max_size", Shape::Size),
            ("min_free", Shape::Size),
        ],
    ),
    (
        Section::Log,
        &[
            ("level", Shape::Words(&["error", "warn", "info", "debug", "trace"])),
            ("format", Shape::Words(&["text", "json"])),
            ("dir", Shape::Text),
            ("keep_files", Shape::Integer(1, 10_000)),
        ],
    ),
    (
        Section::Sink,
        &[
            ("type", Shape::Words(&["http", "stdout"])),
            ("url", Shape::Url),
            ("format", Shape::Words(&["message", "jolt-event", "cloudevents", "slack", "discord", "template"])),
            ("template", Shape::Text),
            ("template_file", Shape::Text),
            ("content_type", Shape::Text),
            ("method", Shape::Words(&["POST", "PUT", "PATCH"])),
            ("headers", Shape::Headers),
            ("auth.bearer", Shape::Secret),
            ("auth.basic.user", Shape::Secret),
            ("auth.basic.password", Shape::Secret),
            ("timeout", Shape::Duration),
            ("connect_timeout", Shape::Duration),
            ("allow_http", Shape::Boolean),
            ("proxy", Shape::Proxy),
            ("tls.ca_file", Shape::Text),
            ("tls.cert_file", Shape::Text),
            ("tls.key_file", Shape::Text),
            ("signing.scheme", Shape::Words(&["standard-webhooks", "hmac-sha256"])),
            ("signing.secrets", Shape::Secrets),
            ("signing.header", Shape::Text),
            ("signing.encoding", Shape::Words(&["hex", "base64"])),
            ("signing.prefix", Shape::Text),
            ("signing.signed", Shape::Words(&["body", "timestamp.body"])),
            ("concurrency", Shape::Integer(1, 256)),
            ("requests_per_minute", Shape::Integer(0, 1_000_000)),
            ("order", Shape::Words(&["none", "number"])),
            ("max_age", Shape::DurationOr("forever")),
            ("accept_status", Shape::Statuses(*ACCEPTABLE.start(), *ACCEPTABLE.end())),
            ("reject_status", Shape::Statuses(*REJECTABLE.start(), *REJECTABLE.end())),
            ("enabled", Shape::Boolean),
            ("start", Shape::Start),
            ("retry.initial", Shape::Duration),
            ("retry.factor", Shape::Number(1.0, 100.0)),
            ("retry.max", Shape::Duration),
            ("retry.give_up_after", Shape::DurationOr("never")),
            ("filter.to", Shape::Texts),
            ("filter.from", Shape::Texts),
            ("filter.body", Shape::Texts),
            ("filter.has_code", Shape::Boolean),
            ("filter.service", Shape::Texts),
            ("filter.tags", Shape::Texts),
            ("filter.exclude.to", Shape::Texts),
            ("filter.exclude.from", Shape::Texts),
            ("filter.exclude.body", Shape::Texts),
            ("filter.exclude.has_code", Shape::Boolean),
            ("filter.exclude.service", Shape::Texts),
            ("filter.exclude.tags", Shape::Texts),
        ],
    ),
];

pub(super) fn shape(section: Section, key: &str) -> Option<Shape> {
    let (_, shapes) = SHAPES.iter().find(|(known, _)| *known == section)?;
    shapes.iter().find(|(known, _)| *known == key).map(|(_, shape)| *shape)
}

/// The schema, as JSON text.
pub fn schema() -> String {
    let explained = Explained::new();
    let mut properties = Map::new();
    for (name, section) in SECTIONS {
        properties.insert(name.to_owned(), table(section, name, &explained));
    }
    let mut sink = table(Section::Sink, "sinks.crm", &explained);
    let http_only: Map<String, Value> =
        HTTP_ONLY.iter().map(|key| (key.split('.').next().unwrap_or(key).to_owned(), json!(false))).collect();
    sink["if"] = json!({ "required": ["type"], "properties": { "type": { "const": "stdout" } } });
    sink["then"] = json!({ "properties": http_only });
    let sinks = json!({
        "type": "object",
        "description": "One table for each sink, under its name.",
        "patternProperties": { "^[a-z0-9_-]{1,64}$": sink },
        "additionalProperties": false,
    });
    properties.insert(SINKS.to_owned(), sinks);
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "joltsms-relay",
        "description": format!(
            "The configuration file of joltsms-relay {}. Any key may come from the environment instead.",
            env!("CARGO_PKG_VERSION")
        ),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": { "reference": reference() },
    });
    format!("{schema:#}\n")
}

/// One section, with the tables in it.
fn table(section: Section, path: &str, explained: &Explained) -> Value {
    let mut own = Map::new();
    for key in section.keys() {
        let value = value(section, key, path, explained);
        insert(&mut own, path, key, value, explained);
    }
    for (group, inner) in &mut own {
        if filter::may_repeat(group) {
            *inner = json!({ "anyOf": [inner, { "type": "array", "items": inner, "minItems": 1 }] });
        }
    }
    let mut table = object(explained.text(path));
    table["properties"] = Value::Object(own);
    table
}

/// Puts a key into its table, and that into the one around it. `path` is where the outer one stands.
fn insert(into: &mut Map<String, Value>, path: &str, key: &str, value: Value, explained: &Explained) {
    let Some((group, rest)) = key.split_once('.') else {
        into.insert(key.to_owned(), value);
        return;
    };
    let path = format!("{path}.{group}");
    let about = explained.text(&path).or_else(|| about(group));
    let table = into.entry(group).or_insert_with(|| object(about));
    if let Some(inner) = table["properties"].as_object_mut() {
        insert(inner, &path, rest, value, explained);
    }
}

/// Tables that the example shows in one line.
fn about(group: &str) -> Option<&'static str> {
    Some(match group {
        "tls" => "Files in PEM form: whom to trust instead of the system's authorities, and a certificate of our own.",
        "auth" => "The Authorization header: bearer, or basic with user and password.",
        "basic" => "User and password.",
        "filter" => "Which messages it gets: all keys must hold, of a list any value.",
        "exclude" => "What is not wanted although the rest holds.",
        "signing" => "How requests are signed.",
        _ => return None,
    })
}

fn object(description: Option<&str>) -> Value {
    let mut object = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    if let Some(description) = description {
        object["description"] = json!(description);
    }
    object
}

fn value(section: Section, key: &str, path: &str, explained: &Explained) -> Value {
    let mut value = shape(section, key).map_or_else(|| json!({}), described);
    let full = format!("{path}.{key}");
    if let Some(text) = explained.text(&full) {
        value["description"] = json!(text);
    }
    // What the example shows of a sink's address is no default.
    let has_default = !(section == Section::Sink && matches!(key, "type" | "url"));
    if let Some(default) = explained.default(&full).filter(|_| has_default) {
        value["default"] = default;
    }
    value
}

fn described(shape: Shape) -> Value {
    let written = match shape {
        Shape::Integer(least, most) => return json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Number(least, most) => return json!({ "type": "number", "minimum": least, "maximum": most }),
        Shape::Boolean => return json!({ "type": "boolean" }),
        Shape::Secret => return json!({ "$ref": "#/definitions/reference" }),
        Shape::Headers => {
            let value = json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/definitions/reference" }] });
            let secret = json!({ "$ref": "#/definitions/reference" });
            let secrets: Map<String, Value> = SECRET_HEADERS
                .iter()
                .map(|name| {
                    let letters = name.chars().map(|next| match next.to_ascii_uppercase() {
                        capital if capital == next => next.to_string(),
                        capital => format!("[{capital}{next}]"),
                    });
                    (format!("^{}$", letters.collect::<String>()), secret.clone())
                })
                .collect();
            return json!({ "type": "object", "patternProperties": secrets, "additionalProperties": value });
        }
        Shape::Secrets => {
            let reference = json!({ "$ref": "#/definitions/reference" });
            return json!({ "anyOf": [reference, { "type": "array", "items": reference, "minItems": 1 }] });
        }
        Shape::Statuses(least, most) => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": least, "maximum": most } })
        }
        Shape::Texts => {
            let one = json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/definitions/reference" }] });
            return json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] });
        }
        Shape::Text => json!({ "type": "string" }),
        Shape::Label => json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }),
        Shape::Url => json!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?:" }),
        Shape::Proxy => json!({ "type": "string", "pattern": "^env$|^off$|^[Hh][Tt][Tt][Pp][Ss]?:" }),
        Shape::Duration => json!({ "type": "string", "pattern": duration::PATTERN }),
        Shape::DurationOr(word) => {
            json!({ "type": "string", "pattern": format!("^{word}$|{}", duration::PATTERN) })
        }
        Shape::Size => json!({ "type": "string", "pattern": "^\\s*[0-9]" }),
        Shape::Start => {
            let instant = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]";
            json!({ "type": "string", "pattern": format!("^now$|^beginning$|{instant}|{}", duration::PATTERN) })
        }
        Shape::Words(words) => json!({ "enum": words }),
    };
    json!({ "anyOf": [written, { "$ref": "#/definitions/reference" }] })
}

/// `{ env | file | credential }`.
fn reference() -> Value {
    let one = |name: &str, pattern: &str, description: &str| {
        let text = json!({ "type": "string", "pattern": pattern, "description": description });
        json!({ "type": "object", "properties": { name: text }, "required": [name], "additionalProperties": false })
    };
    json!({
        "description": "A value that stands elsewhere.",
        "oneOf": [
            one("env", "^[A-Za-z_][A-Za-z0-9_]*$", "The environment variable that holds it."),
            one("file", "", "The file that holds it; a relative path counts from the configuration file."),
            one("credential", "", "The name of a systemd credential that holds it."),
        ],
    })
}

/// What the example says: the comment above each key and table, and each default.
struct Explained {
    texts: Map<String, Value>,
    defaults: toml::Table,
}

impl Explained {
    fn new() -> Self {
        let mut texts = Map::new();
        let (mut table, mut comment) = (String::new(), Vec::new());
        for line in EXAMPLE.lines() {
            if let Some(text) = line.strip_prefix("# ") {
                comment.push(text);
                continue;
            }
            let setting = line.trim_start_matches('#');
            let name = match setting.strip_prefix('[') {
                Some(header) => {
                    header.trim_end().trim_end_matches(']').clone_into(&mut table);
                    Some(table.clone())
                }
                None => setting.split_once(" = ").map(|(key, _)| format!("{table}.{key}")),
            };
            if let Some(name) = name.filter(|_| !comment.is_empty()) {
                texts.insert(name, json!(comment.join(" ")));
            }
            comment.clear();
        }
        Self { texts, defaults: uncommented().parse().unwrap_or_default() }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name)?.as_str()
    }

    fn default(&self, name: &str) -> Option<Value> {
        let mut parts = name.split('.');
        let first = self.defaults.get(parts.next()?)?;
        let found = parts.try_fold(first, |value, part| value.as_table()?.get(part))?;
        serde_json::to_value(found).ok()
    }
}

/// The example with all settings that are commented out switched on; explanations stay comments.
pub(super) fn uncommented() -> String {
    let switched_on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') && !setting.is_empty() => setting.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(switched_on).collect::<Vec<_>>().join("\n")
}
