//! Sender, receiving number and text of a message.

use super::fields::Fields;

/// Fields of a message as texts. A field that is missing, null or empty is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageTexts {
    /// The sender.
    pub from: Option<String>,
    /// The number that received the message.
    pub to: Option<String>,
    /// The text of the SMS.
    pub body: Option<String>,
}

impl MessageTexts {
    /// Reads a message's JSON text as the API sent it.
    pub fn of(raw: &str) -> Self {
        let message = Fields::of(raw);
        let text = |name: &str| message.text(name);
        Self { from: text("from"), to: text("to"), body: text("body") }
    }
}
