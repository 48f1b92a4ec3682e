//! The format for Discord's webhooks.
//!
//! Nobody is mentioned, whatever the text says (`allowed_mentions`). Every character that could begin markup, a
//! mention, an emoji or a link gets a backslash before it, which Discord does not show. Links are therefore plain text:
//! an address that a sender writes is neither fetched nor clicked by accident.

use super::fields::quoted;
use super::shown::{NOTHING, ShownMessage, escaped_within, mentions_all};
use super::{JSON, Known};
use crate::domain::NumberUse;

/// The longest content that Discord accepts, in units of UTF-16. Discord may count in other units, but its result is
/// never larger. Longer texts are cut, with `…` at the end.
const LONGEST: usize = 2_000;

/// The flag `SUPPRESS_EMBEDS` of Discord, which suppresses previews.
const FLAGS: u32 = 1 << 2;

pub(super) static FORMAT: Known = Known {
    name: "discord",
    content_type: JSON,
    number_use: NumberUse::Shown,
    write: |message| write(&ShownMessage::of(&message)),
};

fn write(ShownMessage { heading, body }: &ShownMessage) -> String {
    let content = escaped_within(&format!("{heading}\n{body}"), LONGEST, escape, |piece| piece.encode_utf16().count());
    format!(r#"{{"content":{},"allowed_mentions":{{"parse":[]}},"flags":{FLAGS}}}"#, quoted(&content))
}

fn escape(text: &str, at: usize, next: char) -> Option<String> {
    let line = text[..at].rsplit('\n').next().unwrap_or_default().trim_start();
    let begins_line = line.is_empty();
    let numbers_line = !begins_line && line.bytes().all(|byte| byte.is_ascii_digit());
    Some(match next {
        '@' if mentions_all(&text[at + 1..]) => format!("\\@{NOTHING}"),
        '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '[' | ']' | '(' | ')' | ':' | '@' => format!("\\{next}"),
        '#' | '-' | '+' if begins_line => format!("\\{next}"),
        '.' if numbers_line => "\\.".to_owned(),
        _ => return None,
    })
}
