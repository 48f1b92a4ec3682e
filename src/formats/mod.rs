//! Message -> payload: pure, nothing is sent here.
//!
//! Invariants: the same message, with the same details of its number, always makes the same payload, so that attempts for it
//! have the same body; a message with strange fields (missing, of another type, half a character) still makes one, except
//! by a template, which says why not; what a sender wrote never becomes markup, a mention or a line of its own.

mod cloudevents;
mod discord;
mod fields;
mod jolt_event;
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

/// How a message is handed on: `format` of a sink.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// The API's message object exactly as it came.
    #[default]
    Message,
    /// What the vendor's own webhooks send. The text names the account.
    JoltEvent(Arc<str>),
    /// CloudEvents 1.0, structured. The text names the account.
    CloudEvents(Arc<str>),
    /// What Slack's incoming webhooks take.
    Slack,
    /// What Discord's webhooks take.
    Discord,
    /// What the operator wrote.
    Template(Arc<Template>),
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
    /// What it shows of the number that received a message, beyond what the message says.
    pub fn number_use(&self) -> NumberUse {
        match self {
            Self::Slack | Self::Discord => NumberUse::Shown,
            Self::Template(template) if template.needs_number() => NumberUse::Needed,
            Self::Message | Self::JoltEvent(_) | Self::CloudEvents(_) | Self::Template(_) => NumberUse::Ignored,
        }
    }

    /// The payload for a message, given its JSON text as the API sent it, and the row of its number in the API's list of
    /// numbers where that is known.
    ///
    /// # Errors
    /// [`Unrenderable`], from templates only.
    pub fn payload(&self, raw: Box<str>, number: Option<&str>) -> Result<Payload, Unrenderable> {
        let (content_type, body) = match self {
            Self::Message => (JSON.into(), raw.into_string()),
            Self::JoltEvent(account) => (JSON.into(), jolt_event::write(&raw, account)),
            Self::CloudEvents(account) => (cloudevents::CONTENT_TYPE.into(), cloudevents::write(&raw, account)),
            Self::Slack => (JSON.into(), slack::write(&raw, number)),
            Self::Discord => (JSON.into(), discord::write(&raw, number)),
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
        let mut payload = match self {
            Self::Message => {
                return Ok(Payload { content_type: JSON.into(), body: one_line(&raw).into_bytes() });
            }
            format => format.payload(raw, number)?,
        };
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
