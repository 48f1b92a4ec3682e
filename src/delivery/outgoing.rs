//! Makes the [`Outgoing`] of a message: the payload, and the message itself for sinks that use its fields. Pure.

use crate::codes::CodeMask;
use crate::formats::{Format, Payload, Unrenderable};
use crate::sinks::Outgoing;

/// Makes the [`Outgoing`] of the message `id` with the JSON text `raw`. `number` is the JSON text of the details of the
/// message's number, if they are known and the format needs them. If there is a mask, no part of the result contains a
/// code. `as_line`: the payload goes to a stream of lines.
///
/// # Errors
/// [`Unrenderable`], from templates only.
pub fn outgoing(
    format: &Format,
    mask: Option<&CodeMask>,
    id: String,
    raw: Box<str>,
    number: Option<&str>,
    as_line: bool,
) -> Result<Outgoing, Unrenderable> {
    let raw = match mask {
        Some(mask) => mask.masked(&raw).into(),
        None => raw,
    };
    let message = (&*raw).into();
    let Payload { content_type, body } = match as_line {
        true => format.line(raw, number)?,
        false => format.payload(raw, number)?,
    };
    Ok(Outgoing { id, content_type, body, message })
}
