//! An answer of the API before it is sent.

use serde_json::json;

use super::page::Page;
use crate::switches::Switches;

/// The answer before any fault changes it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Page(Page),
    Json(String),
    Html(String),
    Empty,
}

impl Content {
    /// Returns the media type and the body as text. The media type is empty if the answer has no body.
    pub(crate) fn text(self, switches: &Switches) -> (&'static str, String) {
        match self {
            Self::Page(page) => (JSON, page.text(switches)),
            Self::Json(text) => (JSON, text),
            Self::Html(text) => ("text/html; charset=UTF-8", text),
            Self::Empty => ("", String::new()),
        }
    }
}

/// The media type of all JSON answers.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

impl Answer {
    pub(crate) fn json(status: u16, value: &serde_json::Value, pretty: bool) -> Self {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        Self { status, content: Content::Json(text) }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str, pretty: bool) -> Self {
        Self::json(status, &json!({"error": code, "message": message}), pretty)
    }

    pub(crate) fn page(page: Page) -> Self {
        Self { status: 200, content: Content::Page(page) }
    }
}
