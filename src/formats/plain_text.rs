//! The format for receivers that show plain text to people.

use super::Known;
use super::shown::ShownMessage;
use crate::domain::NumberUse;

pub(super) static FORMAT: Known = Known {
    name: "text",
    content_type: "text/plain; charset=utf-8",
    number_use: NumberUse::Shown,
    write: |message| {
        let ShownMessage { heading, body } = ShownMessage::of(&message);
        format!("{heading}\n{body}")
    },
};
