//! The declarations as a JSON Schema of the file, for editors and for checks before a file is rolled out.
//!
//! Invariant: the schema accepts every file that the relay accepts. The schema also accepts some files that the relay
//! refuses: it requires no key, because a key may come from the environment, and it leaves out most rules that concern
//! more than one key.

use serde_json::{Map, Value, json};

use super::declarations::{Declarations, SINKS, Section};
use super::duration;
use super::key::{DeclaredKey, KeyKind};

/// The schema of the file for this program and version, as JSON text.
pub fn json_schema(declared: &Declarations, program: &str, version: &str) -> String {
    let mut properties: Map<String, Value> =
        declared.sections.iter().map(|section| (section.name.to_owned(), object(section, ""))).collect();
    let mut sink = object(&declared.sink, "");
    sink["allOf"] = of_types(&declared.sink);
    let sinks = json!({
        "type": "object",
        "description": "One table for each sink, under its name.",
        "patternProperties": { "^[a-z0-9_-]{1,64}$": sink },
        "additionalProperties": false,
    });
    properties.insert(SINKS.to_owned(), sinks);
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": program,
        "description":
            format!("The configuration file of {program} {version}. Any key may come from the environment instead."),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": { "reference": reference() },
    });
    format!("{schema:#}\n")
}

/// Returns a rule for each type of sink: a sink of this type has no keys of other types.
fn of_types(sink: &Section) -> Value {
    let Some(KeyKind::Words(types)) = sink.key("type").map(|key| &key.kind) else { return json!([]) };
    let rule = |name: &&str| {
        let others = sink.children("").filter(|key| !key.types.is_empty() && !key.types.contains(name));
        let absent: Map<String, Value> = others.map(|key| (key.name.clone(), json!(false))).collect();
        json!({
            "if": { "required": ["type"], "properties": { "type": { "const": name } } },
            "then": { "properties": absent },
        })
    };
    types.iter().map(rule).collect()
}

/// The schema of a section (`group` is "") or of a table in it.
fn object(section: &Section, group: &str) -> Value {
    let properties: Map<String, Value> =
        section.children(group).map(|key| (key.last().to_owned(), property(section, key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(section: &Section, key: &DeclaredKey) -> Value {
    if let KeyKind::Table { repeatable } = key.kind {
        let mut table = object(section, &key.name);
        table["description"] = json!(key.doc);
        return match repeatable {
            true => json!({ "anyOf": [table, { "type": "array", "items": table, "minItems": 1 }] }),
            false => table,
        };
    }
    let mut value = value(&key.kind);
    value["description"] = json!(key.explained());
    let default = key.default.as_ref().and_then(|default| format!("x = {default}").parse::<toml::Table>().ok());
    if let Some(default) = default.and_then(|mut table| serde_json::to_value(table.remove("x")?).ok()) {
        value["default"] = default;
    }
    value
}

fn value(kind: &KeyKind) -> Value {
    let reference = json!({ "$ref": "#/definitions/reference" });
    let one_or_several = |one: Value| json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] });
    let text = json!({ "anyOf": [{ "type": "string" }, reference] });
    let written = match kind {
        KeyKind::Integer(bounds) => {
            let (least, most) = (i64::try_from(*bounds.start()).ok(), i64::try_from(*bounds.end()).ok());
            return json!({ "type": "integer", "minimum": least, "maximum": most });
        }
        KeyKind::Number(bounds) => {
            return json!({ "type": "number", "minimum": bounds.start(), "maximum": bounds.end() });
        }
        KeyKind::Boolean => return json!({ "type": "boolean" }),
        KeyKind::Secret { several: false, .. } => return reference,
        KeyKind::Secret { several: true, .. } => return one_or_several(reference),
        KeyKind::Texts { .. } => return one_or_several(text),
        KeyKind::Map { secret } => {
            let secrets: Map<String, Value> =
                secret.iter().map(|name| (format!("^{}$", letters(name)), reference.clone())).collect();
            return json!({ "type": "object", "patternProperties": secrets, "additionalProperties": text });
        }
        KeyKind::Statuses { bounds, .. } => {
            let status = json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() });
            json!({ "type": "array", "items": status })
        }
        KeyKind::Text { pattern: Some(pattern), .. } => json!({ "type": "string", "pattern": pattern }),
        KeyKind::Text { pattern: None, .. } | KeyKind::Path | KeyKind::Table { .. } => json!({ "type": "string" }),
        KeyKind::Duration { word: None, .. } => json!({ "type": "string", "pattern": duration::PATTERN }),
        KeyKind::Duration { word: Some(word), .. } => {
            json!({ "type": "string", "pattern": format!("^{}$|{}", letters(word), duration::PATTERN) })
        }
        KeyKind::Size(_) => json!({ "type": "string", "pattern": "^\\s*[0-9]" }),
        KeyKind::Start => {
            let instant = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]";
            let words = format!("^{}$|^{}$", letters("now"), letters("beginning"));
            json!({ "type": "string", "pattern": format!("{words}|{instant}|{}", duration::PATTERN) })
        }
        KeyKind::Words(words) => {
            // Case does not count, but editors propose the words as they are spelled here.
            let any: Vec<String> = words.iter().map(|word| letters(&word.replace('.', "\\."))).collect();
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": format!("^({})$", any.join("|")) }] })
        }
    };
    json!({ "anyOf": [written, reference] })
}

/// A regular expression for a word in small or capital letters.
fn letters(word: &str) -> String {
    let any_case = |next: char| match (next.to_ascii_uppercase(), next.to_ascii_lowercase()) {
        (capital, small) if capital == small => next.to_string(),
        (capital, small) => format!("[{capital}{small}]"),
    };
    word.chars().map(any_case).collect()
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
