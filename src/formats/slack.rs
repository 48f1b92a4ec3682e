//! The format for Slack's incoming webhooks, and for programs that accept the same payload (Mattermost, Rocket.Chat).
//!
//! Slack always interprets `&`, `<` and `>`, so these characters are escaped. All other markup is switched off
//! (`mrkdwn`), and so are mentions by name (`link_names`). Previews of links are switched off, too, because they would
//! fetch addresses that a sender names. Other programs may not know these switches. So `@channel` and similar mentions
//! are also broken by a character without width after the `@`.

use super::fields::quoted;
use super::shown::{NOTHING, ShownMessage, escaped_within, mentions_all};
use super::{JSON, Known};
use crate::domain::NumberUse;

/// The longest text, in characters. Slack advises 4,000 characters at most. Longer texts are cut, with `…` at the end.
const LONGEST: usize = 4_000;

pub(super) static FORMAT: Known = Known {
    name: "slack",
    content_type: JSON,
    number_use: NumberUse::Shown,
    write: |message| write(&ShownMessage::of(&message)),
};

fn write(ShownMessage { heading, body }: &ShownMessage) -> String {
    let text = escaped_within(&format!("{heading}\n{body}"), LONGEST, escape, |piece| piece.chars().count());
    format!(
        r#"{{"text":{},"mrkdwn":false,"parse":"none","link_names":false,"unfurl_links":false,"unfurl_media":false}}"#,
        quoted(&text)
    )
}

fn escape(text: &str, at: usize, next: char) -> Option<String> {
    Some(match next {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '@' if mentions_all(&text[at + 1..]) => format!("@{NOTHING}"),
        _ => return None,
    })
}
