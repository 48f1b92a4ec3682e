//! The keys that say how the server of a sink is reached.

use std::time::Duration;

use super::{ServerLogin, SinkServer};
use crate::codes::CodeFinder;
use crate::http::settings::{ServerKind, TlsSettings, parse_server_url, warn_of_password};
use crate::secret::Secret;
use crate::secret::trimming::SecretKind;
use crate::settings::{Reader, WrittenText};
use crate::template::{Escaping, Template};

/// A kind of server, with its usual ports.
pub(in crate::sinks) struct Protocol {
    /// The schemes of its addresses.
    pub(in crate::sinks) kind: ServerKind,
    /// The usual port of encrypted connections.
    pub(in crate::sinks) encrypted_port: u16,
    /// The usual port of unencrypted connections.
    pub(in crate::sinks) plain_port: u16,
}

/// The keys of the server as written.
pub(in crate::sinks) struct WrittenServer {
    pub(in crate::sinks) url: Option<WrittenText>,
    pub(in crate::sinks) allow_plaintext: bool,
    pub(in crate::sinks) tls: TlsSettings,
    pub(in crate::sinks) connect_timeout: Duration,
    pub(in crate::sinks) timeout: Duration,
}

impl WrittenServer {
    /// Returns the server; `None` if its address is missing or wrong. Errors are added to the report.
    pub(in crate::sinks) fn resolve(self, at: &mut Reader<'_>, protocol: &Protocol) -> Option<SinkServer> {
        let Self { url, allow_plaintext, tls, connect_timeout, timeout } = self;
        let tls = tls.resolve(&mut at.inside("tls"));
        let text = url?;
        let url = parse_server_url(at, "url", &text, &protocol.kind, allow_plaintext)?;
        warn_of_password(at, "url", &text, &url);
        let is_encrypted = protocol.kind.encrypted.contains(&url.scheme());
        let default_port = if is_encrypted { protocol.encrypted_port } else { protocol.plain_port };
        Some(SinkServer { url, default_port, is_encrypted, tls, connect_timeout, timeout })
    }
}

/// Returns the user and the password of the keys `user` and `password`; `None` if neither key is written. A password
/// without a user is an error, which is added to the report.
pub(in crate::sinks) fn login(
    at: &mut Reader<'_>,
    user: Option<WrittenText>,
    password: Option<WrittenText>,
) -> Option<ServerLogin> {
    let password = password.and_then(|text| {
        let tidied = at.tidy("password", &text, SecretKind::Text)?;
        Some((text.origin, tidied.value))
    });
    match (user, password) {
        (Some(user), password) => {
            let password = password.map_or_else(|| Secret::from(""), |(_, password)| password);
            Some(ServerLogin { user: user.as_str().to_owned(), password })
        }
        (None, Some((origin, _))) => {
            let message = format!("`{}` is missing, beside `{}`", at.name("user"), at.name("password"));
            at.missing(&["user"], &origin, message, "");
            None
        }
        (None, None) => None,
    }
}

/// Reads a template that makes an address (such as a topic) or a subject; `None`: an error was reported. `codes` finds
/// the value of `message.code`.
pub(in crate::sinks) fn template(
    at: &mut Reader<'_>,
    key: &'static str,
    text: &WrittenText,
    escaping: Escaping,
    codes: &CodeFinder,
) -> Option<Template> {
    if text.as_str().trim().is_empty() {
        at.wrong(key, &text.origin, "is empty", "");
        return None;
    }
    Template::of_message(text.as_str(), escaping)
        .map_err(|mistake| {
            let message = format!("`{}`: {mistake}", at.name(key));
            at.error(&text.origin, message, "");
        })
        .map(|template| template.with_codes(codes.clone()))
        .ok()
}
