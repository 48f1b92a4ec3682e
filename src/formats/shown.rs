//! Prepares a message for chats that show it to people.

use super::PayloadInput;
use super::fields::Fields;
use super::number_event::event_type;

/// The parts of a message that a chat shows: plain text, not escaped yet.
pub(super) struct ShownMessage {
    /// The heading: the receiving number, the sender, and the code.
    pub(super) heading: String,
    /// The text of the SMS.
    pub(super) body: String,
}

impl ShownMessage {
    pub(super) fn of(input: &PayloadInput<'_>) -> Self {
        let message = Fields::of(&input.raw);
        let text = |name: &str| message.text(name);
        let service = input.number.and_then(|number| Fields::of(number).text("serviceName"));
        let is_event = event_type(&message).is_some();
        let subject = if is_event { "JoltSMS number" } else { "SMS to" };
        let mut heading = format!("{subject} {}", text("to").unwrap_or_else(|| "an unknown number".to_owned()));
        if let Some(service) = service {
            heading += &format!(" ({service})");
        }
        if !is_event {
            heading += &format!(" from {}", text("from").unwrap_or_else(|| "an unknown sender".to_owned()));
        }
        if let Some(code) = input.context.codes.find(&input.raw) {
            heading += &format!(", code {code}");
        }
        // A heading is one line, whatever its parts contain.
        let heading = heading.replace(|next: char| next.is_control(), " ");
        Self { heading, body: text("body").unwrap_or_default() }
    }
}

/// Escapes a text, as far as it fits into `room`. If it does not fit as a whole, the result ends with `…`.
///
/// `escape` gets the text, the index of a character in the text, and the character. It returns what is written instead
/// of the character, or `None` if the character stays as it is. `size` returns the size of a character or of its
/// escape. An escape is never cut into parts.
pub(super) fn escaped_within(
    text: &str,
    room: usize,
    escape: impl Fn(&str, usize, char) -> Option<String>,
    size: impl Fn(&str) -> usize,
) -> String {
    const END: &str = "…";
    let (mut escaped, mut used) = (String::new(), 0);
    // If the rest of the text does not fit, this many bytes of the result are kept, followed by `…`.
    let mut fits_with_end = 0;
    let mut piece = String::new();
    for (at, next) in text.char_indices() {
        piece.clear();
        match escape(text, at, next) {
            Some(longer) => piece.push_str(&longer),
            None => piece.push(next),
        }
        used += size(&piece);
        if used > room {
            escaped.truncate(fits_with_end);
            escaped.push_str(END);
            return escaped;
        }
        escaped.push_str(&piece);
        if used + size(END) <= room {
            fits_with_end = escaped.len();
        }
    }
    escaped
}

/// Whether an `@` before this text mentions everybody, as `@channel` does.
pub(super) fn mentions_all(after_at: &str) -> bool {
    let word: String = after_at.chars().take_while(char::is_ascii_alphanumeric).collect();
    ["channel", "here", "everyone", "all", "group", "team"].contains(&word.to_ascii_lowercase().as_str())
}

/// A character that nobody sees, because it has no width. Between `@` and `channel` it prevents the mention.
pub(super) const NOTHING: char = '\u{200b}';
