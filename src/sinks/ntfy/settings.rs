//! The keys of `[sinks.NAME]` with `type = "ntfy"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::http::RedactedUrl;
use crate::http::settings::{self as http, TlsSettings};
use crate::secret::trimming::SecretKind;
use crate::settings::{self, Reader, Texts, WrittenText, settings};
use crate::sinks::http::preset::{Preset, cut, resolve_server};
use crate::sinks::http::webhook_id::webhook_id;
use crate::sinks::http::{Options, Statuses, tags};
use crate::sinks::{Outgoing, require};

/// The address of the public server.
const SERVER: &str = "https://ntfy.sh/";

/// The longest text, in bytes, that ntfy shows as a message. Longer texts are cut, with `…` at the end.
const LONGEST: usize = 4_096;

/// The longest sequence id that ntfy accepts, in characters.
const LONGEST_ID: usize = 64;

settings! {
    /// The keys that an ntfy sink has, as written.
    pub(super) struct Settings {
        /// The address of a server of your own. The default is the public server.
        url: Option<WrittenText> = http::url(),
        /// The topic; required. Whoever knows a topic of the public server can read its messages, so a reference is
        /// best.
        topic: Option<WrittenText> =
            settings::text("topic", "a topic in quotes", None).such_as("{ env = \"NTFY_TOPIC\" }"),
        /// The priority, from 1 (least) to 5 (most).
        priority: u8 = settings::integer(3, 1..=5),
        /// Tags of the notification; the names of emojis are shown as emojis.
        tags: Option<Texts> = settings::texts(true).lines(&["tags = [\"key\"]"]),
        /// An access token of the server. It must not be written out in the file.
        token: Option<WrittenText> = settings::secret("NTFY_TOKEN"),
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
        let Self { priority, timeout, connect_timeout, allow_http, .. } = self;
        if is_meant {
            require(at, "an ntfy", &["topic"]);
        }
        let (url, transport) = resolve_server(at, self.url, SERVER, allow_http, self.proxy, self.tls);
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token.and_then(|text| at.tidy("token", &text, SecretKind::Token)) {
            match HeaderValue::try_from(format!("Bearer {}", token.as_str())) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    headers.insert(AUTHORIZATION, value);
                }
                Err(_) => at.wrong("token", &token.origin, "holds a character that cannot be sent in a header", ""),
            }
        }
        let tags = tags::resolve(at, self.tags);
        let topic = self.topic.and_then(|text| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            let topic = text.bare();
            if (1..=64).contains(&topic.len()) && topic.bytes().all(is_plain) {
                return Some(topic.to_owned());
            }
            at.wrong("topic", &text.origin, "is not a topic", "a topic has 1 to 64 letters, digits, `_` and `-`");
            None
        });
        let (url, topic) = (url?, topic?);
        let mut description = format!("ntfy at {}, priority {priority}", RedactedUrl(&url));
        description += &tags::described(&tags);
        let http = Options {
            url,
            method: Method::POST,
            headers,
            timeout,
            connect_timeout,
            transport,
            signing: None,
            statuses: Statuses::default(),
            dialect: None,
        };
        let wrap = move |outgoing: Outgoing| {
            let text = String::from_utf8_lossy(&outgoing.body);
            let body = json!({
                "topic": topic,
                "message": cut(&text, LONGEST, char::len_utf8),
                "priority": priority,
                "tags": tags,
                "sequence_id": sequence_id(&outgoing.id),
            });
            Outgoing { content_type: "application/json".into(), body: body.to_string().into_bytes(), ..outgoing }
        };
        Some(Preset { description, http, wrap: Arc::new(wrap) })
    }
}

/// Returns the sequence id of the notification for a message. If the relay sends a message twice, both notifications
/// have the same sequence id. So a server that supports sequences replaces the first notification by the second.
fn sequence_id(id: &str) -> String {
    let plain = webhook_id(id);
    if plain.len() <= LONGEST_ID { plain } else { hex::encode(Sha256::digest(id.as_bytes())) }
}
