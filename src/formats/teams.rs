//! The format for Microsoft Teams: an adaptive card for a workflow "when a webhook request is received".
//!
//! Each line is a `TextRun` of its own, which Teams shows without regard to markup: no text of a sender becomes a link,
//! a mention or a picture.

use serde_json::{Value, json};

use super::shown::{ShownMessage, escaped_within};
use super::{JSON, Known};
use crate::domain::NumberUse;

/// The longest text, in characters. Longer texts are cut, with `…` at the end, because Teams refuses requests of more
/// than 28 KiB.
const LONGEST: usize = 4_000;

/// The text of a message gets at most this many blocks, because each block makes the request longer. Each line gets a
/// block of its own, but the last block holds all the remaining lines.
const MOST_LINES: usize = 60;

pub(super) static FORMAT: Known = Known {
    name: "teams",
    content_type: JSON,
    number_use: NumberUse::Shown,
    write: |message| write(&ShownMessage::of(&message)),
};

fn write(ShownMessage { heading, body }: &ShownMessage) -> String {
    let cut = |text: &str, room: usize| escaped_within(text, room, |_, _, _| None, |piece| piece.chars().count());
    let heading = line(&cut(heading, LONGEST / 4), "Bolder");
    let body = cut(body, LONGEST);
    let lines = body.splitn(MOST_LINES, '\n').map(|text| line(text, "Default"));
    let blocks: Vec<Value> = std::iter::once(heading).chain(lines).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": { "type": "AdaptiveCard", "version": "1.4", "body": blocks },
        }],
    })
    .to_string()
}

/// Makes the block for a line of text. `weight`: how bold the letters are.
fn line(text: &str, weight: &str) -> Value {
    json!({
        "type": "RichTextBlock",
        "spacing": "None",
        "inlines": [{ "type": "TextRun", "text": text, "weight": weight }],
    })
}
