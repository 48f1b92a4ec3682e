//! A message in its three forms: as a test asks for it, as it is kept, and as it is served.
//!
//! Invariant: the served text depends only on the message and the switches. So [`Row::json`] has the same bytes as the
//! message has in the list `data` of a page.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::feed::number::Number;
use crate::http::json::{row_text, time, time_text};
use crate::switches::{Missing, Switches};

/// A message to add. Missing parts are made up: a believable id, the first number, the present time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewMessage {
    /// The message's id. A message with the same id is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The receiving number, by id or phone number. If there is no such number, it is rented.
    #[serde(alias = "to", alias = "numberId", skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The one-time code that the vendor found in the text.
    #[serde(alias = "parsedCode", skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When the message was sent to the number; cut to milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// When the message appeared in the list; cut to milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingested_at: Option<Timestamp>,
    /// The field `encrypted` of the API.
    pub encrypted: bool,
    /// The field `isRead` of the API.
    pub is_read: bool,
    /// Further fields, with their JSON exactly as it is served. A name that the API itself uses replaces the API's
    /// field. So a message can have, for instance, a time that nobody can read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Box<RawValue>>,
}

impl NewMessage {
    /// Makes a message whose parts are all made up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the id.
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// Sets the receiving number, by id or phone number.
    pub fn number(self, number: impl Into<String>) -> Self {
        Self { number: Some(number.into()), ..self }
    }

    /// Sets the sender.
    pub fn from(self, from: impl Into<String>) -> Self {
        Self { from: Some(from.into()), ..self }
    }

    /// Sets the text.
    pub fn body(self, body: impl Into<String>) -> Self {
        Self { body: Some(body.into()), ..self }
    }

    /// Sets the one-time code.
    pub fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// Sets when the message was received.
    pub fn received_at(self, time: Timestamp) -> Self {
        Self { received_at: Some(time), ..self }
    }

    /// Sets when the message appeared.
    pub fn ingested_at(self, time: Timestamp) -> Self {
        Self { ingested_at: Some(time), ..self }
    }

    /// Adds a field, or replaces a field, with this JSON exactly as it is written.
    ///
    /// # Errors
    /// An error if `json` is not JSON.
    pub fn extra(mut self, name: impl Into<String>, json: &str) -> Result<Self, serde_json::Error> {
        self.extra.insert(name.into(), RawValue::from_string(json.to_owned())?);
        Ok(self)
    }
}

/// A message as the simulator knows it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The id of the message.
    pub id: String,
    /// The id of the number that received the message.
    pub number_id: String,
    /// The sender.
    pub from: String,
    /// The phone number that received the message.
    pub to: String,
    /// The text.
    pub body: String,
    /// The one-time code.
    pub code: Option<String>,
    /// When the message was received.
    pub received_at: Timestamp,
    /// When the message appeared in the list.
    pub ingested_at: Timestamp,
    /// Whether the message was marked as read.
    pub is_read: bool,
    /// Whether the message is not in the list: it was removed, or the account has lost access to its number.
    pub vanished: bool,
    /// The JSON of the message, with the bytes that a page contains.
    pub json: String,
}

/// A message as the simulator keeps it. A million messages take about half a gigabyte of memory, including the orders
/// in which [`list`](crate::feed::list) keeps them.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: Box<str>,
    pub(crate) number: usize,
    pub(crate) from: Box<str>,
    pub(crate) body: Box<str>,
    pub(crate) code: Option<Box<str>>,
    pub(crate) received_ms: i64,
    pub(crate) ingested_ms: i64,
    pub(crate) encrypted: bool,
    pub(crate) is_read: bool,
    pub(crate) extra: BTreeMap<String, Box<RawValue>>,
}

impl Message {
    /// Returns the text that the message has in the list `data` of a page.
    pub(crate) fn json(&self, number: &Number, switches: &Switches) -> String {
        let served = Served { message: self, number, empty: switches.empty_fields };
        row_text(&served, switches.pretty)
    }

    pub(crate) fn row(&self, number: &Number, switches: &Switches, vanished: bool) -> Row {
        Row {
            id: self.id.to_string(),
            number_id: number.id.clone(),
            from: self.from.to_string(),
            to: number.phone_number.clone(),
            body: self.body.to_string(),
            code: self.code.as_ref().map(ToString::to_string),
            received_at: time(self.received_ms),
            ingested_at: time(self.ingested_ms),
            is_read: self.is_read,
            vanished,
            json: self.json(number, switches),
        }
    }
}

struct Served<'a> {
    message: &'a Message,
    number: &'a Number,
    empty: Missing,
}

impl Serialize for Served<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct NumberOfMessage<'a> {
            id: &'a str,
            phone_number: &'a str,
        }
        let Self { message, number, empty } = self;
        let of_number = NumberOfMessage { id: &number.id, phone_number: &number.phone_number };
        let mut fields = Fields { map: serializer.serialize_map(None)?, extra: &message.extra, shown: Vec::new() };
        fields.field("id", &message.id)?;
        fields.field("numberId", &number.id)?;
        fields.field("number", &of_number)?;
        fields.field("from", &message.from)?;
        fields.field("to", &number.phone_number)?;
        fields.field("body", &message.body)?;
        if message.code.is_some() || *empty == Missing::Null || message.extra.contains_key("parsedCode") {
            fields.field("parsedCode", &message.code)?;
        }
        fields.field("encrypted", &message.encrypted)?;
        fields.field("isRead", &message.is_read)?;
        fields.field("receivedAt", &time_text(message.received_ms))?;
        fields.field("ingestedAt", &time_text(message.ingested_ms))?;
        fields.end()
    }
}

/// Writes the API's own fields, each replaced by an extra field of the same name if there is one, and then the other
/// extra fields.
struct Fields<'a, M> {
    map: M,
    extra: &'a BTreeMap<String, Box<RawValue>>,
    shown: Vec<&'static str>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn field(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), M::Error> {
        match self.extra.get(name) {
            Some(raw) => {
                self.shown.push(name);
                self.map.serialize_entry(name, raw)
            }
            None => self.map.serialize_entry(name, value),
        }
    }

    fn end(mut self) -> Result<M::Ok, M::Error> {
        for (name, raw) in self.extra {
            if !self.shown.contains(&name.as_str()) {
                self.map.serialize_entry(name, raw)?;
            }
        }
        self.map.end()
    }
}
