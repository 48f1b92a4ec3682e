//! `api.key`: one key or several, and whether they look like keys.

use super::environment;
use super::reader::{Reader, Text};
use super::written::{Entry, Origin, Value};
use crate::secret::Secret;

/// How every key begins, by the vendor's documentation.
const PREFIX: &str = "jolt_sk_";
/// How many hexadecimal characters follow.
const DIGITS: usize = 32;

impl Reader<'_> {
    /// The keys, in the order in which they are tried; none only if that has been reported.
    ///
    /// A text that comes from outside the file may hold several, with commas between.
    pub(super) fn api_keys(&mut self, key: &str) -> Vec<Secret> {
        let Some(entry) = self.table().entries.get(key) else {
            if self.report().is_complete() && !self.table().misspelt.contains(key) {
                let message = format!("there is no API key: {} is not set", environment::API_KEY);
                let help = format!("make one in the JoltSMS dashboard, and set {0} or {0}_FILE", environment::API_KEY);
                self.report().error(&Origin::Default, message, Some(help));
            }
            return Vec::new();
        };
        let mut keys: Vec<Secret> = Vec::new();
        match &entry.value {
            Value::List(entries) if entries.is_empty() => {
                let message = format!("`{}` is an empty array", self.name(key));
                self.report().error(&entry.origin, message, Some("it needs at least one key".to_owned()));
            }
            Value::List(entries) => entries.iter().for_each(|entry| self.keys_of(key, entry, &mut keys)),
            _ => self.keys_of(key, entry, &mut keys),
        }
        keys
    }

    fn keys_of(&mut self, key: &str, entry: &Entry, keys: &mut Vec<Secret>) {
        let name = self.name(key);
        let Some(text) = self.text_of(key, entry, "a text in quotes") else { return };
        let Some(parts) = self.tokens(key, &text) else { return };
        for part in &parts {
            let part = part.as_str();
            if keys.iter().any(|known| known.expose() == part) {
                self.report().warn(&text.origin, format!("`{name}`: the same key is there twice"), None);
            } else if self.looks_like_a_key(&name, &text, part) {
                keys.push(Secret::from(part));
            }
        }
        if parts.is_empty() {
            let message = format!("`{name}` is empty");
            self.report().error(&text.origin, message, Some("put the key in, or unset it".to_owned()));
        }
    }

    fn looks_like_a_key(&mut self, name: &str, text: &Text, part: &str) -> bool {
        let Some(rest) = part.strip_prefix(PREFIX) else {
            let message =
                format!("`{name}` does not begin with `{PREFIX}`, so it may be another secret: it is not sent");
            let quoted = part.starts_with(['"', '\'']);
            let help =
                if quoted { "leave out the quotes around it" } else { "take an API key of the JoltSMS dashboard" };
            self.report().error(&text.origin, message, Some(help.to_owned()));
            return false;
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("`{name}` holds a character that cannot be sent in a header");
            self.report().error(&text.origin, message, Some("copy the key again".to_owned()));
            return false;
        }
        if rest.len() != DIGITS || !rest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message =
                format!("`{name}` is not {PREFIX} and {DIGITS} hexadecimal characters; it is used all the same");
            self.report().warn(&text.origin, message, None);
        }
        true
    }
}
