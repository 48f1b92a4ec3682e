//! Reads the fields of a JSON object, and keeps the spelling of their values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::domain::surrogates;

/// The members of a JSON object. If a name is repeated, its last value counts. A text that is no JSON object has no
/// members.
pub(super) struct Fields<'j>(BTreeMap<String, Cow<'j, RawValue>>);

impl<'j> Fields<'j> {
    /// Reads the object. Its values stay JSON texts.
    pub(super) fn of(json: &'j str) -> Self {
        if let Ok(members) = serde_json::from_str::<BTreeMap<String, &'j RawValue>>(json) {
            return Self(members.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect());
        }
        // The name of a field may contain half of a surrogate pair, which the parser refuses. So the text is mended and
        // read again.
        let mended = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&surrogates::mended(json));
        Self(mended.unwrap_or_default().into_iter().map(|(name, value)| (name, Cow::Owned(value))).collect())
    }

    /// Returns the JSON text of a field; `null` if the object does not have the field.
    pub(super) fn json(&self, name: &str) -> &str {
        self.0.get(name).map_or("null", |value| value.get())
    }

    /// Returns a field as text for people; `None` if the field is missing, null or empty. A value that is no text is
    /// returned as it is spelled.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let json = self.json(name);
        let text = match json {
            "null" => return None,
            text if text.starts_with('"') => read_text(text).unwrap_or_default(),
            other => other.to_owned(),
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// Returns the id of a message. The id is not empty, because the store holds no message without an id.
    pub(super) fn id(&self) -> String {
        self.text("id").unwrap_or_default()
    }
}

fn read_text(json: &str) -> Option<String> {
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&surrogates::mended(json))).ok()
}

/// Returns a text as a JSON string, with quotes.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
