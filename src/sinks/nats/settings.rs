//! The keys of `[sinks.NAME]` with `type = "nats"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::{Credentials, NatsTarget, check_subject};
use crate::http::settings::{self as http, ServerKind, TlsSettings};
use crate::settings::{self, Reader, WrittenText, settings};
use crate::sinks::server::SinkServer;
use crate::sinks::server::settings::{Protocol, WrittenServer, template};
use crate::sinks::{ReadContext, require};
use crate::template::Escaping;

const NATS: Protocol = Protocol {
    kind: ServerKind {
        encrypted: &["tls"],
        plain: &["nats"],
        allow_plain: "allow_plaintext",
        example: "tls://nats.example.com",
    },
    encrypted_port: 4222,
    plain_port: 4222,
};

/// The characters that have a meaning in a subject: the separator of tokens, and the wildcards.
const SUBJECT: Escaping = Escaping::Part(".*>");

/// A message that has nothing but an id.
const LEAST_MESSAGE: &str = r#"{"id":"msg_1"}"#;

settings! {
    /// The keys that a nats sink has, as written.
    pub(super) struct Settings {
        /// The address of the server, tls:// or nats://, with a user and a password, or with a token as the user, if
        /// the server wants that; required.
        url: Option<WrittenText> = http::server_url().such_as("\"tls://nats.example.com\""),
        /// A template of the subject, such as "sms.{{ message.to }}"; required.
        subject: Option<WrittenText> =
            settings::text("subject", "a subject in quotes", None).such_as("\"sms.{{ message.to }}\""),
        /// The content of a file of credentials (.creds), or the seed of an NKey. It must not be written out in
        /// the configuration file.
        credentials: Option<WrittenText> = settings::secret("NATS_CREDENTIALS")
            .lines(&["credentials = { file = \"relay.creds\" }"]),
        /// Allows unencrypted connections to other machines.
        allow_plaintext: bool = settings::boolean(false),
        /// As for http.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
        /// As for http.
        connect_timeout: Duration = http::connect_timeout(),
        /// As for http.
        tls: TlsSettings = http::tls(),
    }
}

impl Settings {
    /// Returns the sink; `None` if a required key is missing or wrong. Errors are added to the report.
    pub(super) fn resolve(self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<NatsTarget> {
        let Self { url, subject, credentials, allow_plaintext, timeout, connect_timeout, tls } = self;
        // If the configuration misspells the type of the sink, this type is only a guess. So missing keys are not reported.
        if !context.is_meant {
            return None;
        }
        require(at, "a nats", &["url", "subject"]);
        let server = WrittenServer { url, allow_plaintext, tls, connect_timeout, timeout }.resolve(at, &NATS);
        let subject = subject.and_then(|text| {
            let template = template(at, "subject", &text, SUBJECT, context.codes)?;
            let example = template.render(LEAST_MESSAGE, None).unwrap_or_default();
            match check_subject(&example) {
                Ok(()) => Some(Arc::new(template)),
                Err(wrong) => {
                    let message = format!("`{}` is not a subject: {wrong}", at.name("subject"));
                    at.error(&text.origin, message, "write one such as \"sms.{{ message.to }}\"");
                    None
                }
            }
        });
        let credentials = match credentials {
            None => Some(None),
            Some(text) => match Credentials::parse(text.as_str()) {
                Ok(credentials) => Some(Some(credentials)),
                Err(wrong) => {
                    let message = format!("`{}` {wrong}", at.name("credentials"));
                    let help = "it must be the content of the file that `nsc` made, or a seed that begins with SU";
                    at.error(&text.origin, message, help);
                    None
                }
            },
        };
        let server = server?;
        let is_encrypted = server.is_encrypted;
        // The connection begins without encryption: the server describes itself before the TLS handshake.
        let server = SinkServer { is_encrypted: false, ..server };
        Some(NatsTarget { server, is_encrypted, credentials: credentials?, subject: subject? })
    }
}
