//! Makes the payload from a message. Pure: nothing is sent here.
//!
//! Invariants:
//!
//! - The same message with the same details of its number always makes the same payload. So all attempts for a message
//!   have the same body. The exception is a format that shows details of the number: if these change between two
//!   attempts, the body changes, too.
//! - A message with strange fields (missing, of another type, with half of a surrogate pair) still makes a payload.
//!   Only a template may fail; its error names the reason.
//! - A text from a sender never becomes markup or a mention. On a stream of lines it never begins another line.

mod cloudevents;
mod discord;
mod fields;
mod jolt_event;
mod message;
mod message_texts;
mod number_event;
mod one_line;
mod plain_text;
pub mod settings;
mod shown;
mod slack;
mod teams;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

pub use message_texts::MessageTexts;
pub use one_line::one_line;

use crate::codes::CodeFinder;
use crate::domain::NumberUse;
use crate::template::{Mistake, Template, text_on_one_line};

/// The built-in formats. A new format needs a file in this folder, an entry in this list, and its name in the help of
/// `--format` (`cli/global_flags.rs`).
static KNOWN: [&Known; 7] = [
    &message::FORMAT,
    &jolt_event::FORMAT,
    &cloudevents::FORMAT,
    &slack::FORMAT,
    &discord::FORMAT,
    &teams::FORMAT,
    &plain_text::FORMAT,
];

/// The format of a sink: how the payload of a message is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// A built-in format, and the values that it uses besides the message.
    Known(&'static Known, FormatContext),
    /// The operator's own template.
    Template(Arc<Template>),
}

/// The values that a built-in format uses besides the message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FormatContext {
    /// The account's name.
    pub account: Arc<str>,
    /// Finds the codes of messages.
    pub codes: CodeFinder,
}

/// A built-in format.
#[derive(Debug)]
pub struct Known {
    /// The word for the format in the configuration.
    name: &'static str,
    /// The media type of the format's payloads.
    content_type: &'static str,
    /// How the format uses details of the number that received a message.
    number_use: NumberUse,
    /// Makes the payload.
    write: fn(PayloadInput<'_>) -> String,
}

/// The input from which a payload is made.
struct PayloadInput<'m> {
    /// The message's JSON text as the API sent it.
    raw: Box<str>,
    context: &'m FormatContext,
    /// The JSON object of the message's number in the API's list of numbers; `None` if the relay does not know it.
    number: Option<&'m str>,
}

/// Formats are equal if their names are equal, because no two formats have the same name.
impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The body that a sink sends, and its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The media type of the body.
    pub content_type: Cow<'static, str>,
    /// The bytes of the body.
    pub body: Vec<u8>,
}

/// The reason why a template could not make a payload from a message, for people. The text repeats no part of the
/// message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unrenderable(pub String);

impl From<Mistake> for Unrenderable {
    fn from(Mistake { line, wrong, .. }: Mistake) -> Self {
        Self(match line {
            Some(line) => format!("line {line} of the template: {wrong}"),
            None => format!("the template: {wrong}"),
        })
    }
}

const JSON: &str = "application/json";

impl Format {
    /// Returns the built-in format with this word, if there is one.
    pub fn named(name: &str, context: FormatContext) -> Option<Self> {
        KNOWN.iter().find(|known| known.name == name).map(|known| Self::Known(known, context))
    }

    /// Returns the word for the format in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Known(known, _) => known.name,
            Self::Template(_) => settings::TEMPLATE,
        }
    }

    /// Whether the format ignores details of the number that received a message, shows them if they are known, or needs
    /// them.
    pub fn number_use(&self) -> NumberUse {
        match self {
            Self::Known(known, _) => known.number_use,
            Self::Template(template) if template.needs_number() => NumberUse::Needed,
            Self::Template(_) => NumberUse::Ignored,
        }
    }

    /// Makes the payload for a message. `raw` is the message's JSON text as the API sent it. `number` is the JSON
    /// object of the message's number in the API's list of numbers, if it is known.
    ///
    /// # Errors
    /// [`Unrenderable`], from templates only.
    pub fn payload(&self, raw: Box<str>, number: Option<&str>) -> Result<Payload, Unrenderable> {
        let (content_type, body) = match self {
            Self::Known(known, context) => {
                (known.content_type.into(), (known.write)(PayloadInput { raw, context, number }))
            }
            Self::Template(template) => {
                (Cow::Owned(template.content_type().to_owned()), template.render(&raw, number)?)
            }
        };
        Ok(Payload { content_type, body: body.into_bytes() })
    }

    /// Makes the payload for a message on a stream of lines, without the line's end. The payload is one line. Only a
    /// template can make several lines, and only if its media type is not JSON.
    ///
    /// # Errors
    /// The errors of [`Format::payload`].
    pub fn line(&self, raw: Box<str>, number: Option<&str>) -> Result<Payload, Unrenderable> {
        let mut payload = self.payload(raw, number)?;
        if let Ok(text) = str::from_utf8(&payload.body) {
            match self {
                Self::Known(known, _) if known.content_type.starts_with("text/") => {
                    payload.body = text_on_one_line(text).into_bytes();
                }
                // Line breaks of the template itself are kept. Line breaks of the values were replaced or escaped when
                // the template was rendered.
                Self::Template(template) if !template.makes_json() => {}
                Self::Known(..) | Self::Template(_) => payload.body = one_line(text).into_bytes(),
            }
        }
        while payload.body.last() == Some(&b'\n') {
            payload.body.pop();
        }
        Ok(payload)
    }
}
