//! The keys of `[sinks.NAME]` with `type = "smtp"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::SmtpTarget;
use super::address::MailAddress;
use crate::http::settings::{self as http, ServerKind, TlsSettings, is_this_machine};
use crate::settings::{self, Reader, Texts, WrittenText, settings};
use crate::sinks::server::settings::{Protocol, WrittenServer, login, template};
use crate::sinks::{ReadContext, require};
use crate::template::Escaping;

/// The subject, unless another subject is configured.
const SUBJECT: &str = "SMS from {{ message.from }} to {{ message.to }}";

/// Addresses with a scheme in `plain` are refused if they lead to another machine and the operator does not allow that.
/// `smtp` is not in `plain`, because a connection to smtp:// begins without encryption, but is encrypted later by
/// STARTTLS.
const SMTP: Protocol = Protocol {
    kind: ServerKind {
        encrypted: &["smtps", "smtp"],
        plain: &[],
        allow_plain: "allow_plaintext",
        example: "smtps://mail.example.com",
    },
    encrypted_port: 465,
    plain_port: 587,
};

settings! {
    /// The keys that an smtp sink has, as written.
    pub(super) struct Settings {
        /// The address of the mail server, smtps://, or smtp:// with STARTTLS; required.
        url: Option<WrittenText> = http::server_url().such_as("\"smtps://mail.example.com\""),
        /// The sender, such as "joltsms-relay@example.com" or "SMS <sms@example.com>"; required.
        from: Option<WrittenText> = settings::text("address", "an e-mail address in quotes", None)
            .such_as("\"SMS <sms@example.com>\""),
        /// The recipients, one address or several; required.
        to: Option<Texts> = settings::texts(false).such_as("[\"ops@example.com\", \"Ann <ann@example.com>\"]"),
        /// A template of the subject, which is cut after 200 characters.
        subject: Option<WrittenText> = settings::text("subject", "a text in quotes", None).or(SUBJECT),
        /// As for mqtt.
        user: Option<WrittenText> = settings::text("user", "a name in quotes", None),
        /// As for mqtt.
        password: Option<WrittenText> = settings::secret("SINK_PASSWORD"),
        /// As for mqtt.
        allow_plaintext: bool = settings::boolean(false),
        /// As for http.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
        /// As for http.
        connect_timeout: Duration = http::connect_timeout(),
        /// As for http.
        tls: TlsSettings = http::tls(),
    }
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// The connection is encrypted from the first byte.
    Tls,
    /// The connection is encrypted by STARTTLS. If the server does not offer STARTTLS, the attempt fails.
    StartTls,
    /// The connection is encrypted by STARTTLS if the server offers it.
    StartTlsIfOffered,
    /// The connection is not encrypted, because the server is on this machine.
    Plain,
}

impl Settings {
    /// Returns the sink; `None` if a required key is missing or wrong. Errors are added to the report.
    pub(super) fn resolve(self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<SmtpTarget> {
        let Self { url, allow_plaintext, tls, connect_timeout, timeout, .. } = self;
        // If the configuration misspells the type of the sink, this type is only a guess. So missing keys are not reported.
        if !context.is_meant {
            return None;
        }
        require(at, "an smtp", &["url", "from", "to"]);
        let has_authorities = at.inside("tls").written("ca_file").is_some();
        let server = WrittenServer { url, allow_plaintext, tls, connect_timeout, timeout }.resolve(at, &SMTP);
        let login = login(at, self.user, self.password);
        let from = self.from.and_then(|text| address(at, "from", &text));
        let to = self.to.and_then(|texts| {
            let all: Vec<_> = texts.texts.iter().map(|text| address(at, "to", text)).collect();
            if all.is_empty() {
                at.wrong("to", &texts.origin, "names no recipient", "");
                return None;
            }
            all.into_iter().collect::<Option<Vec<MailAddress>>>().filter(|_| texts.whole)
        });
        let subject = self.subject.and_then(|text| template(at, "subject", &text, Escaping::Line, context.codes));
        let mut server = server?;
        let login = login.or_else(|| server.login());
        let security = match server.url.scheme() {
            "smtps" => Security::Tls,
            // The certificate of a server on this machine is usually not from an authority that clients trust. So the
            // connection is not encrypted, unless the configuration names an authority.
            _ if is_this_machine(&server.url) && !has_authorities => Security::Plain,
            _ if is_this_machine(&server.url) || allow_plaintext => Security::StartTlsIfOffered,
            _ => Security::StartTls,
        };
        if security != Security::Tls {
            server.is_encrypted = false;
            server.default_port = SMTP.plain_port;
        }
        Some(SmtpTarget { server, security, login, from: from?, to: to?, subject: Arc::new(subject?) })
    }
}

/// Reads an address, with a name if there is one; `None`: an error was reported.
fn address(at: &mut Reader<'_>, key: &str, text: &WrittenText) -> Option<MailAddress> {
    let parsed = MailAddress::parse(text.bare());
    if parsed.is_none() {
        let help = "write it like \"ops@example.com\" or \"Ops <ops@example.com>\"";
        at.refuse(key, text, "is not an e-mail address", help);
    }
    parsed
}
