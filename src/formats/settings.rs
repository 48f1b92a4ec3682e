//! The key `format` of a sink, and the keys of templates.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Format, FormatContext, KNOWN, Known, message, plain_text};
use crate::codes::CodeFinder;
use crate::settings::{self, Origin, Reader, WrittenText, settings};
use crate::template::Template;

/// The default media type of a template whose output is a body.
const JSON: &str = "application/json";
/// The default media type of a template whose output is a line of a stream, or text for people.
const TEXT: &str = "text/plain; charset=utf-8";

/// The word for templates in the configuration.
pub(super) const TEMPLATE: &str = "template";

/// The keys that only a template has.
const TEMPLATE_KEYS: [&str; 3] = ["template", "template_file", "content_type"];

/// Words that people write instead of the name of a format, each with advice.
const FORMAT_HINTS: &[(&str, &str)] = &[
    ("json", "write \"message\", which is the API's JSON object as it came"),
    ("raw", "write \"message\", which is the API's JSON object as it came"),
    ("plain", "write \"text\""),
    ("custom", "write \"template\", and put the template into the key `template` or `template_file`"),
];

settings! {
    /// The keys of a sink's format, as written.
    pub struct Settings {
        /// "message" is the API's object exactly as it came. This is the default, except for types that show text to
        /// people, such as telegram: their default is "text". docs/formats.md shows the other formats.
        format: Option<Option<&'static Known>> = settings::one_of(names(), FORMAT_HINTS).by_default("\"message\""),
        /// Only with format = "template": the template. If the template shows details of the number, such as
        /// number.serviceName, messages wait until these are known.
        template: Option<WrittenText> = settings::text("text", "a text in quotes", None)
            .lines(&[r#"template = '{"text": "{{ message.from }}: {{ message.body }}"}'"#]),
        /// Only with format = "template": the file that holds the template.
        template_file: Option<PathBuf> = settings::path().lines(&["template_file = \"sms.json.j2\""]),
        /// Only with format = "template": the media type of its output. Default: JSON for an http sink, plain text for
        /// standard output.
        content_type: Option<WrittenText> = settings::text(
            "media type",
            "a media type in quotes, such as \"text/plain; charset=utf-8\"",
            None,
        ).lines(&["content_type = \"application/json\""]),
    }
}

/// How a sink uses its payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadUse {
    /// As the body of a request, or as the input of a program.
    Body,
    /// As a line of a stream.
    Line,
    /// As text that a service shows to people.
    Text,
}

/// Returns each word that the key `format` may have, with the built-in format that it names. The word `template` names
/// no built-in format.
fn names() -> Vec<(&'static str, Option<&'static Known>)> {
    KNOWN.iter().map(|known| (known.name, Some(*known))).chain([(TEMPLATE, None)]).collect()
}

impl Settings {
    /// Returns the format; `None` if the keys have an error. `payload_use`: how the sink uses its payloads. `codes`
    /// finds the codes of messages.
    pub fn resolve(
        self,
        at: &mut Reader<'_>,
        account: &Arc<str>,
        codes: &CodeFinder,
        payload_use: PayloadUse,
    ) -> Option<Format> {
        let format = match at.written("format") {
            Some(_) => self.format?,
            None if payload_use == PayloadUse::Text => Some(&plain_text::FORMAT),
            None => Some(&message::FORMAT),
        };
        let Some(known) = format else {
            let template = self.template(at, account, payload_use)?.with_codes(codes.clone());
            return Some(Format::Template(Arc::new(template)));
        };
        for key in TEMPLATE_KEYS {
            if let Some(origin) = at.origin(key) {
                at.wrong(key, origin, "belongs to format = \"template\"", "");
            }
        }
        Some(Format::Known(known, FormatContext { account: Arc::clone(account), codes: codes.clone() }))
    }

    fn template(self, at: &mut Reader<'_>, account: &Arc<str>, payload_use: PayloadUse) -> Option<Template> {
        let has_media_type = at.written("content_type").is_some();
        let content_type = match at.written("content_type") {
            Some(_) => self.content_type.and_then(|text| media_type(at, &text)),
            None => Some(if payload_use == PayloadUse::Body { JSON } else { TEXT }.to_owned()),
        };
        let (key, origin, source) = template_text(at, self.template, self.template_file)?;
        let as_line = payload_use == PayloadUse::Line;
        match Template::new(&source, &content_type?, Arc::clone(account), as_line) {
            Ok(template) => Some(template),
            Err(mistake) => {
                let message = format!("`{}`: {mistake}", at.name(key));
                let is_taken_for_json = mistake.is_no_json && !has_media_type;
                let help = if is_taken_for_json {
                    "without content_type its output is JSON; for text, set content_type = \"text/plain\""
                } else {
                    ""
                };
                at.error(&origin, message, help);
                None
            }
        }
    }
}

/// Returns the name of the key that was written (`template` or `template_file`), the origin of the template's text for
/// error reports, and the text. `None`: an error was reported.
fn template_text(
    at: &mut Reader<'_>,
    template: Option<WrittenText>,
    file: Option<PathBuf>,
) -> Option<(&'static str, Origin, String)> {
    match (at.origin("template"), at.origin("template_file")) {
        (Some(_), None) => template.map(|text| ("template", text.origin.clone(), text.as_str().to_owned())),
        (None, Some(_)) => {
            let text = at.text_of_file("template_file", file?)?;
            Some(("template_file", text.origin.clone(), text.as_str().to_owned()))
        }
        (Some(_), Some(origin)) => {
            let message = format!("`{}` and `{}` are both there", at.name("template"), at.name("template_file"));
            at.error(origin, message, "leave one of them out");
            None
        }
        (None, None) => {
            let message = format!("`{}` is missing: format = \"template\" needs it", at.name("template"));
            let help = "write it here, or name its file with template_file";
            at.missing(&["template", "template_file"], at.place(), message, help);
            None
        }
    }
}

fn media_type(at: &mut Reader<'_>, text: &WrittenText) -> Option<String> {
    let written = text.as_str();
    let essence = written.split(';').next().unwrap_or_default().trim();
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let looks_right = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    if looks_right && written.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Some(written.to_owned());
    }
    let help = "write it like \"application/json\" or \"text/plain; charset=utf-8\"";
    at.refuse("content_type", text, "is not a media type", help);
    None
}
