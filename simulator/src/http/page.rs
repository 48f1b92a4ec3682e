//! A page before it becomes text. Faults change its rows and cursors.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::switches::{Missing, Switches};

/// The rows as they are served, and the other fields of the page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) rows: Vec<String>,
    pub(crate) meta: Meta,
}

#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) has_more: bool,
    pub(crate) next_cursor: Option<String>,
    pub(crate) total: usize,
    pub(crate) limit: usize,
}

impl Page {
    /// Returns the body of the answer: `{"data": [...], "meta": {...}}`.
    pub(crate) fn text(&self, switches: &Switches) -> String {
        let length = self.rows.iter().map(|row| row.len() + 8).sum::<usize>() + 256;
        let mut text = String::with_capacity(length);
        let (open, first, next, close, colon) = if switches.pretty {
            ("{\n  \"data\": [", "\n    ", ",\n    ", "\n  ],\n  ", ": ")
        } else {
            ("{\"data\":[", "", ",", "],", ":")
        };
        text.push_str(open);
        for (index, row) in self.rows.iter().enumerate() {
            text.push_str(if index == 0 { first } else { next });
            text.push_str(row);
        }
        text.push_str(if switches.pretty && self.rows.is_empty() { "],\n  " } else { close });
        text.push_str("\"meta\"");
        text.push_str(colon);
        text.push_str(&self.meta.text(switches));
        text.push_str(if switches.pretty { "\n}" } else { "}" });
        text
    }

    /// Returns the page as JSON values, for faults that give parts of the page other types.
    pub(crate) fn fields(&self, switches: &Switches) -> Map<String, Value> {
        match serde_json::from_str(&self.text(switches)) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }
}

impl Meta {
    fn text(&self, switches: &Switches) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct MetaJson<'a> {
            has_more: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_cursor: Option<Option<&'a str>>,
            total: usize,
            limit: usize,
        }
        let next_cursor = Some(self.next_cursor.as_deref())
            .filter(|cursor| cursor.is_some() || switches.last_cursor == Missing::Null);
        let meta = MetaJson { has_more: self.has_more, next_cursor, total: self.total, limit: self.limit };
        crate::http::json::row_text(&meta, switches.pretty).replace("\n    ", "\n  ")
    }
}
