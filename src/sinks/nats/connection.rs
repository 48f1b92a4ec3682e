//! A connection to a NATS server. A caller publishes a message, and waits for its answer.

use std::collections::HashMap;
use std::time::Duration;

use bytes::BytesMut;
use rustls::crypto::aws_lc_rs::default_provider;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answers::{NatsAnswer, closed, forbidden_subject, login_refused};
use super::protocol::{ANSWERS, Packet, ServerInfo, length, take_packet, write_message};
use super::{MESSAGE_ID, NatsMessage, NatsTarget};
use crate::secret::Secret;
use crate::sinks::Attempt;
use crate::sinks::server::{Connector, Conversation, Reply, RequestProtocol, ServerStream, failed, words};

/// The time between two pings of the client.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// An open connection.
pub(super) type NatsConnection = Conversation<NatsProtocol>;

/// What the client tells the server about itself, as JSON.
#[derive(Default, Serialize)]
#[serde(default)]
struct Login<'l> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'static str,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<&'l str>,
}

/// Logs in on a new stream.
///
/// # Errors
/// The failed attempt.
pub(super) async fn log_in(
    mut stream: ServerStream,
    connector: &Connector,
    target: &NatsTarget,
) -> Result<NatsConnection, Attempt> {
    let mut read = BytesMut::new();
    let Packet::Info(info) = next_packet(&mut stream, &mut read).await.map_err(failed)? else {
        return Err(failed("the answer is not NATS"));
    };
    if info.tls_required && !target.is_encrypted {
        let answer = "the server wants an encrypted connection: write tls:// instead of nats://".to_owned();
        return Err(Attempt::Gone { status: None, answer });
    }
    if !info.headers {
        return Err(Attempt::Gone { status: None, answer: "the server takes no headers: it is too old".to_owned() });
    }
    if target.is_encrypted {
        if !read.is_empty() {
            return Err(failed("the server sends before the connection is encrypted"));
        }
        stream = connector.encrypt(stream).await.map_err(failed)?;
    }
    let inbox = inbox()?;
    let login = login(&info, target)?;
    let hello = format!("CONNECT {login}\r\nSUB {inbox}* {ANSWERS}\r\nPING\r\n");
    stream.write_all(hello.as_bytes()).await.map_err(|error| failed(words(&error)))?;
    stream.flush().await.map_err(|error| failed(words(&error)))?;
    loop {
        match next_packet(&mut stream, &mut read).await.map_err(failed)? {
            Packet::Pong => break,
            Packet::Error(words) => return Err(login_refused(&words)),
            Packet::Ping => stream.write_all(b"PONG\r\n").await.map_err(|error| failed(words(&error)))?,
            Packet::Accepted | Packet::Info(_) | Packet::Message { .. } => {}
        }
    }
    let protocol = NatsProtocol { inbox, most: info.longest_message(), last: 0, waiting: HashMap::new() };
    Ok(Conversation::start(stream, read, protocol, PING_INTERVAL))
}

/// Makes the JSON of the login. If the sink has credentials, the login contains a signature of the server's nonce.
///
/// # Errors
/// How the attempt ends, if the credentials cannot be used.
fn login(info: &ServerInfo, target: &NatsTarget) -> Result<String, Attempt> {
    let credentials = target.credentials.as_ref();
    let gone = |answer: &str| Attempt::Gone { status: None, answer: answer.to_owned() };
    let signed = credentials.map(|own| own.sign(&info.nonce).ok_or_else(|| gone("the credentials cannot be used")));
    let signed = signed.transpose()?;
    let token = credentials.and_then(|own| own.token.as_ref());
    let of_url = target.server.login().filter(|_| credentials.is_none());
    let (user, pass, auth_token) = match &of_url {
        // By the convention of NATS, a user without a password is a token.
        Some(own) if own.password.expose().is_empty() => (None, None, Some(own.user.as_str())),
        Some(own) => (Some(own.user.as_str()), Some(own.password.expose()), None),
        None => (None, None, None),
    };
    let login = Login {
        tls_required: target.is_encrypted,
        name: "joltsms-relay",
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        headers: true,
        no_responders: true,
        user,
        pass,
        auth_token,
        jwt: token.map(Secret::expose),
        nkey: signed.as_ref().filter(|_| token.is_none()).map(|signed| signed.public_key.as_str()),
        sig: signed.as_ref().map(|signed| signed.signature.as_str()),
        ..Login::default()
    };
    serde_json::to_string(&login).map_err(|_| gone("the login cannot be written"))
}

/// Makes the beginning of the subjects to which the server sends its answers on this connection. It is random, so that
/// no other client can guess the subjects and send wrong answers.
fn inbox() -> Result<String, Attempt> {
    let mut random = [0; 16];
    let filled = default_provider().secure_random.fill(&mut random);
    filled.map_err(|_| failed("the machine gives no random numbers"))?;
    Ok(format!("_INBOX.{}.", hex::encode(random)))
}

/// Reads the next packet.
///
/// # Errors
/// The reason why there will be no packet, in words.
async fn next_packet(stream: &mut ServerStream, read: &mut BytesMut) -> Result<Packet, String> {
    loop {
        if let Some(packet) = take_packet(read)? {
            return Ok(packet);
        }
        if stream.read_buf(read).await.map_err(|error| words(&error))? == 0 {
            return Err("connection closed by the other side".to_owned());
        }
    }
}

/// The protocol after the login.
pub(super) struct NatsProtocol {
    /// The beginning of the subjects to which the server sends its answers on this connection.
    inbox: String,
    /// The length of the longest message that the server takes, in bytes. The header counts.
    most: u64,
    /// The number of the last message that was sent on this connection. The messages are counted from 1. The answer to
    /// each message comes on a subject of its own, which ends with the number of the message.
    last: u64,
    /// The messages that wait for an answer, by their numbers.
    waiting: HashMap<u64, Waiting>,
}

struct Waiting {
    subject: String,
    reply: Reply<NatsAnswer>,
}

impl NatsProtocol {
    fn answer(&mut self, number: u64, answer: NatsAnswer) {
        if let Some(waiting) = self.waiting.remove(&number) {
            // Sending fails if the attempt was given up. Then nobody waits for the answer.
            waiting.reply.send(answer).ok();
        }
    }
}

impl RequestProtocol for NatsProtocol {
    type Request = NatsMessage;
    type Answer = NatsAnswer;

    fn write(&mut self, message: NatsMessage, reply: Reply<NatsAnswer>, out: &mut BytesMut) -> Result<(), String> {
        let NatsMessage { subject, id, content_type, body } = message;
        let header = [(MESSAGE_ID, id.as_str()), ("Content-Type", content_type.as_str())];
        if length(&header, &body) > self.most {
            // Sending fails if the attempt was given up. Then nobody waits for the answer.
            reply.send(NatsAnswer::TooLong { most: self.most }).ok();
            return Ok(());
        }
        self.last += 1;
        write_message(&subject, &format!("{}{}", self.inbox, self.last), &header, &body, out);
        self.waiting.insert(self.last, Waiting { subject, reply });
        Ok(())
    }

    fn read(&mut self, read: &mut BytesMut, out: &mut BytesMut) -> Result<bool, String> {
        match take_packet(read)? {
            None => return Ok(false),
            Some(Packet::Message { subject, status, payload }) => {
                let number = subject.strip_prefix(&self.inbox).and_then(|number| number.parse().ok());
                let answer = match status {
                    Some(503) => NatsAnswer::NobodyListens,
                    _ => NatsAnswer::Content(payload.to_vec()),
                };
                self.answer(number.unwrap_or_default(), answer);
            }
            Some(Packet::Ping) => out.extend_from_slice(b"PONG\r\n"),
            Some(Packet::Info(info)) => self.most = info.longest_message(),
            Some(Packet::Error(words)) => {
                let Some(subject) = forbidden_subject(&words) else { return Err(closed(&words)) };
                // The server names only the subject, and not the message that it refuses. So all messages with this
                // subject that wait for an answer count as refused.
                let of_subject = |(number, waiting): (&u64, &Waiting)| (waiting.subject == subject).then_some(*number);
                let refused: Vec<u64> = self.waiting.iter().filter_map(of_subject).collect();
                refused.into_iter().for_each(|number| self.answer(number, NatsAnswer::NotAllowed));
            }
            Some(Packet::Pong | Packet::Accepted) => {}
        }
        Ok(true)
    }

    fn ping(&mut self, out: &mut BytesMut) -> Result<(), String> {
        out.extend_from_slice(b"PING\r\n");
        Ok(())
    }

    fn farewell(&mut self, _: &mut BytesMut) -> Result<(), String> {
        // The protocol has no farewell: a client just closes the connection.
        Ok(())
    }
}
