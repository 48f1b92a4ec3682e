//! The key `tags` of sinks for notifications.

use crate::domain::Sanitized;
use crate::settings::{Reader, Texts};

/// Resolves the key. Errors are added to the report.
pub(in crate::sinks) fn resolve(at: &mut Reader<'_>, tags: Option<Texts>) -> Vec<String> {
    if let Some(tags) = tags.as_ref().filter(|tags| tags.is_empty_array) {
        at.wrong("tags", &tags.origin, "is an empty array", "leave it out");
    }
    tags.into_iter().flat_map(|tags| tags.texts).map(|tag| tag.bare().to_owned()).collect()
}

/// Returns the words about the tags for the end of a sink's description; an empty text without tags.
pub(in crate::sinks) fn described(tags: &[String]) -> String {
    if tags.is_empty() { String::new() } else { format!(", tags {}", Sanitized::line(&tags.join(", "))) }
}
