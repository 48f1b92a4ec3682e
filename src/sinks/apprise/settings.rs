//! The keys of `[sinks.NAME]` with `type = "apprise"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;

use super::answer::DIALECT;
use crate::http::RedactedUrl;
use crate::http::settings::{self as http, TlsSettings};
use crate::settings::{self, Reader, Texts, WrittenText, settings};
use crate::sinks::Outgoing;
use crate::sinks::http::preset::{Preset, resolve_server};
use crate::sinks::http::{Options, Statuses, tags};

settings! {
    /// The keys that an apprise sink has, as written.
    pub(super) struct Settings {
        /// The address of the server with the key of a configuration, such as http://localhost:8000/notify/KEY;
        /// required.
        url: Option<WrittenText> = http::url(),
        /// Only services with one of these tags are notified; a tag "a b" means services with both.
        tags: Option<Texts> = settings::texts(true).lines(&["tags = [\"key\"]"]),
        /// As for http.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
        /// As for http.
        connect_timeout: Duration = http::connect_timeout(),
        /// As for http.
        allow_http: bool = settings::boolean(false),
        /// As for http.
        proxy: Option<WrittenText> = http::proxy(),
        /// As for http.
        tls: TlsSettings = http::tls(),
    }
}

impl Settings {
    /// Returns the sink; `None` if a required key is missing or wrong. Errors are added to the report. `is_meant`: the
    /// sink is of this type.
    pub(super) fn resolve(self, at: &mut Reader<'_>, is_meant: bool) -> Option<Preset> {
        let Self { timeout, connect_timeout, allow_http, .. } = self;
        if is_meant {
            let message = format!("`{}` is missing: an apprise sink needs it", at.name("url"));
            at.missing(
                &["url"],
                at.place(),
                message,
                "write the address with its key: http://localhost:8000/notify/KEY",
            );
        }
        // There is no public server, so the address has no default.
        let (url, transport) = resolve_server(at, self.url, "", allow_http, self.proxy, self.tls);
        let tags = tags::resolve(at, self.tags);
        let url = url?;
        let mut description = format!("Apprise at {}", RedactedUrl(&url));
        description += &tags::described(&tags);
        let http = Options {
            url,
            method: Method::POST,
            headers: HeaderMap::new(),
            timeout,
            connect_timeout,
            transport,
            signing: None,
            statuses: Statuses::default(),
            dialect: Some(DIALECT),
        };
        let wrap = move |outgoing: Outgoing| {
            let mut body = json!({ "body": String::from_utf8_lossy(&outgoing.body), "type": "info", "format": "text" });
            if !tags.is_empty() {
                body["tag"] = tags.join(",").into();
            }
            Outgoing { content_type: "application/json".into(), body: body.to_string().into_bytes(), ..outgoing }
        };
        Some(Preset { description, http, wrap: Arc::new(wrap) })
    }
}
