//! `format` of a sink, and the keys that belong to templates.

use std::sync::Arc;

use super::reader::Reader;
use super::written::Origin;
use crate::formats::{Format, Template};
use crate::secret::Source;

/// What a template makes for an HTTP receiver, unless `content_type` says otherwise.
const JSON: &str = "application/json";
/// What it makes for a stream that people read.
const TEXT: &str = "text/plain; charset=utf-8";

/// The keys that only `format = "template"` has.
const TEMPLATE_KEYS: [&str; 3] = ["template", "template_file", "content_type"];

#[derive(Clone, Copy, PartialEq)]
enum Name {
    Message,
    JoltEvent,
    CloudEvents,
    Slack,
    Discord,
    Template,
}

const NAMES: [(&str, Name); 6] = [
    ("message", Name::Message),
    ("jolt-event", Name::JoltEvent),
    ("cloudevents", Name::CloudEvents),
    ("slack", Name::Slack),
    ("discord", Name::Discord),
    ("template", Name::Template),
];

impl Reader<'_> {
    /// The format of a sink, or nothing if it is not written or wrong. `as_line`: the sink is a stream of lines.
    pub(super) fn format(&mut self, account: &Arc<str>, as_line: bool) -> Option<Format> {
        let is_written = self.table().entries.contains_key("format");
        let name = self.choice("format", &NAMES);
        if name.is_some_and(|name| name != Name::Template) || !is_written {
            self.refuse_template_keys();
        }
        Some(match name? {
            Name::Message => Format::Message,
            Name::JoltEvent => Format::JoltEvent(Arc::clone(account)),
            Name::CloudEvents => Format::CloudEvents(Arc::clone(account)),
            Name::Slack => Format::Slack,
            Name::Discord => Format::Discord,
            Name::Template => Format::Template(Arc::new(self.template(account, as_line)?)),
        })
    }

    fn refuse_template_keys(&mut self) {
        for key in TEMPLATE_KEYS {
            if let Some(entry) = self.table().entries.get(key) {
                let message = format!("`{}` belongs to format = \"template\"", self.name(key));
                self.report().error(&entry.origin, message, None);
            }
        }
    }

    fn template(&mut self, account: &Arc<str>, as_line: bool) -> Option<Template> {
        let content_type = match self.table().entries.contains_key("content_type") {
            true => self.content_type("content_type"),
            false => Some(if as_line { TEXT } else { JSON }.to_owned()),
        };
        let (key, origin, source) = self.template_text()?;
        match Template::new(&source, &content_type?, Arc::clone(account), as_line) {
            Ok(template) => Some(template),
            Err(mistake) => {
                let message = format!("`{}`: {mistake}", self.name(key));
                self.report().error(&origin, message, None);
                None
            }
        }
    }

    /// The text of the template, and the key that gave it.
    fn template_text(&mut self) -> Option<(&'static str, Origin, String)> {
        let table = self.table();
        match (table.entries.get("template"), table.entries.get("template_file")) {
            (Some(_), None) => {
                let text = self.text("template", "a text in quotes")?;
                let source = text.as_str().to_owned();
                Some(("template", text.origin, source))
            }
            (None, Some(entry)) => {
                let path = self.path("template_file")?;
                let read = Source::File(path).read(self.environment());
                match read {
                    Ok(text) => Some(("template_file", entry.origin.clone(), text.expose().to_owned())),
                    Err(error) => {
                        let message = format!("`{}`: {error}", self.name("template_file"));
                        self.report().error_with_value(&entry.origin, message, Some(error.hint()));
                        None
                    }
                }
            }
            (Some(_), Some(entry)) => {
                let message =
                    format!("`{}` and `{}` are both there", self.name("template"), self.name("template_file"));
                self.report().error(&entry.origin, message, Some("leave one of them out".to_owned()));
                None
            }
            (None, None) => {
                let misspelt = ["template", "template_file"].iter().any(|key| table.misspelt.contains(key));
                if !misspelt && self.report().is_complete() {
                    let message = format!("`{}` is missing: format = \"template\" needs it", self.name("template"));
                    let help = "write it here, or name its file with template_file".to_owned();
                    self.report().error(&table.origin, message, Some(help));
                }
                None
            }
        }
    }

    fn content_type(&mut self, key: &str) -> Option<String> {
        let text = self.text(key, "a media type in quotes, such as \"text/plain; charset=utf-8\"")?;
        let written = text.as_str();
        let essence = written.split(';').next().unwrap_or_default().trim();
        let is_token = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        };
        let looks_right = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
        if looks_right && written.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Some(written.to_owned());
        }
        let help = "write it like \"application/json\" or \"text/plain; charset=utf-8\"".to_owned();
        self.refuse(key, &text, "is not a media type", Some(help));
        None
    }
}
