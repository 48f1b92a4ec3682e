//! What Slack's incoming webhooks take, and others that are made after them (Mattermost, Rocket.Chat).
//!
//! Slack reads three characters whatever is switched off: `&`, `<` and `>`, so they are escaped. All other markup
//! is switched off (`mrkdwn`), and so are mentions by name and previews of links, which would fetch what a sender names.
//! Programs like Slack may not know the switches: there, `@channel` and its like are broken by a character without width.

use super::fields::quoted;
use super::shown::{NOTHING, ShownMessage, escaped_within, mentions_all};
use super::{JSON, Known};
use crate::domain::NumberUse;

/// Slack advises 4,000 characters at most. Longer texts are cut, with `…` at the end.
const LONGEST: usize = 4_000;

pub(super) static FORMAT: Known = Known {
    name: "slack",
    content_type: JSON,
    number_use: NumberUse::Shown,
    write: |message| write(&message.raw, message.number),
};

fn write(raw: &str, number: Option<&str>) -> String {
    let ShownMessage { heading, body } = ShownMessage::of(raw, number);
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
