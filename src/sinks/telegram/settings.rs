//! The keys of `[sinks.NAME]` with `type = "telegram"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;

use super::answer::DIALECT;
use crate::domain::Sanitized;
use crate::http::RedactedUrl;
use crate::http::settings::{self as http, TlsSettings};
use crate::secret::trimming::SecretKind;
use crate::settings::{self, Reader, WrittenText, settings};
use crate::sinks::http::preset::{Preset, cut, resolve_server};
use crate::sinks::http::{Options, Statuses};
use crate::sinks::{Outgoing, require};

/// The address of the Bot API.
const API: &str = "https://api.telegram.org";

/// The longest text that Telegram accepts, in units of UTF-16. Longer texts are cut, with `…` at the end.
const LONGEST: usize = 4_096;

settings! {
    /// The keys that a telegram sink has, as written.
    pub(super) struct Settings {
        /// The address of the Bot API; only needed for a Bot API server of your own.
        url: Option<WrittenText> = http::url(),
        /// The token of the bot, as @BotFather tells it; required. It must not be written out in the file.
        token: Option<WrittenText> = settings::secret("TELEGRAM_TOKEN").such_as("{ env = \"TELEGRAM_TOKEN\" }"),
        /// The chat: its id in quotes, such as "-1001234567890", or the name of a public channel, such as "@ops";
        /// required.
        chat: Option<WrittenText> =
            settings::text("chat", "an id or a name in quotes, such as \"-1001234567890\"", None)
                .such_as("\"-1001234567890\""),
        /// Whether messages arrive without a sound.
        silent: bool = settings::boolean(false),
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
        let Self { silent, timeout, connect_timeout, allow_http, .. } = self;
        if is_meant {
            require(at, "a telegram", &["token", "chat"]);
        }
        let (api, transport) = resolve_server(at, self.url, API, allow_http, self.proxy, self.tls);
        let chat = self.chat.map(|text| text.bare().to_owned());
        let token = self.token.and_then(|text| at.tidy("token", &text, SecretKind::Token));
        let token = token.and_then(|text| {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b":_-".contains(&byte);
            if !text.as_str().is_empty() && text.as_str().bytes().all(is_token) {
                return Some(text);
            }
            at.wrong("token", &text.origin, "is not a token of a bot", "@BotFather tells it, such as 123456:ABC-DEF");
            None
        });
        let (api, chat, token) = (api?, chat?, token?);
        if chat.is_empty() {
            at.wrong("chat", at.origin("chat").unwrap_or(at.place()), "is empty", "");
            return None;
        }
        let silently = if silent { ", silent" } else { "" };
        let description = format!("Telegram at {}, chat {}{silently}", RedactedUrl(&api), Sanitized::line(&chat));
        let mut url = api;
        url.set_path(&format!("{}/bot{}/sendMessage", url.path().trim_end_matches('/'), token.as_str()));
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
            let text = String::from_utf8_lossy(&outgoing.body);
            let body = json!({
                "chat_id": chat,
                "text": cut(&text, LONGEST, char::len_utf16),
                "disable_notification": silent,
                "link_preview_options": { "is_disabled": true },
            });
            Outgoing { content_type: "application/json".into(), body: body.to_string().into_bytes(), ..outgoing }
        };
        Some(Preset { description, http, wrap: Arc::new(wrap) })
    }
}
