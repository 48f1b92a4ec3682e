//! Sinks of type `smtp`: each message becomes an e-mail.
//!
//! Invariants:
//!
//! - A message is delivered when the server has answered the whole e-mail with 250.
//! - A message cannot add a header or a recipient. The text of the SMS stands in the body. Parts of the message can
//!   stand in the subject, but there line breaks become spaces, and the subject is encoded.
//! - No login and no e-mail is sent to another machine without encryption, unless the operator allows that.
//! - The words for a failure contain the codes of the server's answer, but not its text, which may repeat the e-mail.
//! - A connection carries one e-mail at a time, so a sink that sends three e-mails at the same time uses three
//!   connections.

mod address;
#[cfg(feature = "sink-smtp")]
mod answers;
#[cfg(feature = "sink-smtp")]
mod client;
#[cfg(feature = "sink-smtp")]
mod connection;
#[cfg(feature = "sink-smtp")]
mod mail;
mod settings;
#[cfg(feature = "sink-smtp")]
mod starttls;

use std::fmt;
use std::sync::Arc;

use self::address::MailAddress;
use self::settings::Security;
use super::server::{ServerLogin, SinkServer};
#[cfg(feature = "sink-smtp")]
use super::{OnlineCheck, Outgoing, Preview, Sink, SinkBuildError};
use super::{ReadContext, SinkType, Target};
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::template::Template;
#[cfg(feature = "sink-smtp")]
use crate::time::Clock;

/// The type `smtp`.
#[derive(Debug)]
pub(super) struct Smtp;

/// The mail server and the recipients of a sink.
#[derive(Clone)]
struct SmtpTarget {
    server: SinkServer,
    security: Security,
    login: Option<ServerLogin>,
    from: MailAddress,
    to: Vec<MailAddress>,
    subject: Arc<Template>,
}

impl SinkType for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context)?))
    }
}

impl Target for SmtpTarget {
    fn takes_lines(&self) -> bool {
        false
    }

    fn shows_text(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let recipients = match self.to.as_slice() {
            [one] => one.bare(),
            several => format!("{} recipients", several.len()),
        };
        format!("e-mail from {} to {recipients} through {}", self.from.bare(), self.server)
    }

    #[cfg(feature = "sink-smtp")]
    fn preview(&self, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String> {
        client::preview(self, outgoing, clock)
    }

    #[cfg(feature = "sink-smtp")]
    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        Box::pin(client::check(self, name, clock))
    }

    #[cfg(feature = "sink-smtp")]
    fn build(&self, clock: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(client::SmtpSink::new(self, clock)?))
    }
}

impl fmt::Debug for SmtpTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, security, login, from, to, subject } = self;
        out.debug_struct("Smtp")
            .field("server", server)
            .field("security", security)
            .field("login", &login.is_some())
            .field("from", from)
            .field("to", to)
            .field("subject", subject)
            .finish()
    }
}
