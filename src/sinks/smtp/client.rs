//! The sink that sends e-mails, the preview of an e-mail, and the check of a sink for `check --online`.

use std::sync::Arc;

use tokio::time::timeout;

use super::SmtpTarget;
use super::connection::MailConnections;
use super::mail::mail;
use crate::domain::{Finding, Sanitized};
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{CheckedServer, check_online, failed};
use crate::sinks::{Attempt, Attempting, Outgoing, Preview, Sink, Target as _};
use crate::time::Clock;

/// Returns the e-mail for a message.
///
/// # Errors
/// The reason why the message cannot become an e-mail.
pub(super) fn preview(target: &SmtpTarget, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String> {
    let mail = mail(target, outgoing, clock.relay_time());
    let mail = mail.map_err(|why| format!("this message cannot be sent: {why}"))?.formatted();
    let end = mail.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or(mail.len());
    let (headers, body) = mail.split_at(end);
    let mut head = format!("{}\n", target.describe());
    for line in String::from_utf8_lossy(headers).lines() {
        head += &format!("{}\n", Sanitized::line(line));
    }
    let body = String::from_utf8_lossy(body.get(4..).unwrap_or_default()).replace("\r\n", "\n");
    Ok(Preview { head: head + "\n", body: body.into_bytes() })
}

/// Connects, and logs in if the sink has a login. Sends no e-mail.
pub(super) async fn check(target: &SmtpTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let connect = async {
        let connections = connections(target).map_err(|error| failed(error.to_string()))?;
        connections.open().await?.quit().await.ok();
        Ok(CheckedServer::works(if target.login.is_some() { "logged in to" } else { "connected to" }))
    };
    check_online(name, &target.server, clock, connect).await
}

fn connections(target: &SmtpTarget) -> Result<MailConnections, TlsSetupError> {
    MailConnections::new(&target.server, target.security, target.login.clone())
}

/// A sink that sends e-mails.
pub(super) struct SmtpSink {
    target: Arc<SmtpTarget>,
    connections: Arc<MailConnections>,
    clock: Clock,
}

impl SmtpSink {
    /// Makes the sink. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &SmtpTarget, clock: &Clock) -> Result<Self, TlsSetupError> {
        let connections = Arc::new(connections(target)?);
        Ok(Self { target: Arc::new(target.clone()), connections, clock: clock.clone() })
    }
}

impl Sink for SmtpSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let (target, connections) = (Arc::clone(&self.target), Arc::clone(&self.connections));
        let now = self.clock.relay_time();
        Box::pin(async move {
            let mail = match mail(&target, outgoing, now) {
                Ok(mail) => mail,
                Err(answer) => return Attempt::Rejected { status: None, answer },
            };
            let patience = target.server.timeout;
            match timeout(patience, connections.send(mail.envelope(), &mail.formatted())).await {
                Ok(Ok(())) => Attempt::Accepted { status: None },
                Ok(Err(attempt)) => attempt,
                Err(_) => failed(format!("no answer within {patience:?}")),
            }
        })
    }
}
