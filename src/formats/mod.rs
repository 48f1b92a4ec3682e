//! PayloadInput -> payload: pure, nothing is sent here.
//!
//! Invariants: the same message, with the same details of its number, always makes the same payload, so that attempts for it
//! have the same body; a message with strange fields (missing, of another type, half a character) still makes one, except
//! by a template, which says why not; what a sender wrote never becomes markup, a mention or a line of its own.

mod cloudevents;
mod discord;
mod fields;
mod jolt_event;
mod message;
mod one_line;
pub mod settings;
mod shown;
mod slack;
mod surrogates;
mod template;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

pub use one_line::one_line;
pub use template::{Mistake, Template};

use crate::domain::NumberUse;

/// The formats that the program brings. A new one is a file beside this one and a line here.
static KNOWN: [&Known; 5] =
    [&message::FORMAT, &jolt_event::FORMAT, &cloudevents::FORMAT, &slack::FORMAT, &discord::FORMAT];

/// How a message is handed on: `format` of a sink.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// One that the program brings. The text names the account.
    Known(&'static Known, Arc<str>),
    /// What the operator wrote.
    Template(Arc<Template>),
}

/// A format that the program brings.
#[derive(Debug)]
pub struct Known {
    /// The word for it.
    name: &'static str,
    /// The media type of its payloads.
    content_type: &'static str,
    /// What it shows of the number that received a message, beyond what the message says.
    number_use: NumberUse,
    /// Makes the payload.
    write: fn(PayloadInput<'_>) -> String,
}

/// What payloads are made from.
struct PayloadInput<'m> {
    /// Its JSON text as the API sent it.
    raw: Box<str>,
    /// What the account is called.
    account: &'m str,
    /// The row of its number in the API's list of numbers, where that is known.
    number: Option<&'m str>,
}

/// By their words: no two have the same.
impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What a sink sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its media type.
    pub content_type: Cow<'static, str>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// A message that a template can make nothing of, and why: for people, without anything of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unrenderable(pub String);

const JSON: &str = "application/json";

impl Format {
    /// The one of this word, if the program brings it.
    pub fn named(name: &str, account: Arc<str>) -> Option<Self> {
        KNOWN.iter().find(|known| known.name == name).map(|known| Self::Known(known, account))
    }

    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Known(known, _) => known.name,
            Self::Template(_) => settings::TEMPLATE,
        }
    }

    /// What it shows of the number that received a message, beyond what the message says.
    pub fn number_use(&self) -> NumberUse {
        match self {
            Self::Known(known, _) => known.number_use,
            Self::Template(template) if template.needs_number() => NumberUse::Needed,
            Self::Template(_) => NumberUse::Ignored,
        }
    }

    /// The payload for a message, given its JSON text as the API sent it, and the row of its number in the API's list of
    /// numbers where that is known.
    ///
    /// # Errors
    /// [`Unrenderable`], from templates only.
    pub fn payload(&self, raw: Box<str>, number: Option<&str>) -> Result<Payload, Unrenderable> {
        let (content_type, body) = match self {
            Self::Known(known, account) => {
                (known.content_type.into(), (known.write)(PayloadInput { raw, account, number }))
            }
            Self::Template(template) => {
                (Cow::Owned(template.content_type().to_owned()), template.render(&raw, number)?)
            }
        };
        Ok(Payload { content_type, body: body.into_bytes() })
    }

    /// The same for a stream of lines, without the end of the line. It is one line, except by a template that writes
    /// several.
    ///
    /// # Errors
    /// As for [`Format::payload`].
    pub fn line(&self, raw: Box<str>, number: Option<&str>) -> Result<Payload, Unrenderable> {
        let mut payload = self.payload(raw, number)?;
        if !matches!(self, Self::Template(template) if !template.makes_json())
            && let Ok(text) = str::from_utf8(&payload.body)
        {
            payload.body = one_line(text).into_bytes();
        }
        while payload.body.last() == Some(&b'\n') {
            payload.body.pop();
        }
        Ok(payload)
    }
}
