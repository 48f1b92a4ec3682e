//! The part of the NATS protocol that a client needs to publish and to wait for answers. Pure.
//!
//! Invariant: a packet that is not whole stays in the buffer.

use bytes::{Buf as _, Bytes, BytesMut};
use serde::Deserialize;

/// The longest line that is read, and the longest content of a message, in bytes. The packet in which a server
/// describes itself has only some thousand bytes, even in a big cluster.
const LONGEST_PACKET: usize = 1 << 20;

/// The id of the subscription over which the server sends answers. It is the only subscription.
pub(super) const ANSWERS: &str = "1";

/// A packet of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// The server describes itself.
    Info(ServerInfo),
    /// A message of a subscription.
    Message {
        /// The subject of the message.
        subject: String,
        /// The status in the header of the message, such as 503.
        status: Option<u16>,
        /// The content after the header.
        payload: Bytes,
    },
    /// The server asks for a pong.
    Ping,
    /// The server answers a ping.
    Pong,
    /// The server accepts a line of the client (`+OK`).
    Accepted,
    /// The server reports an error, in these words (`-ERR`).
    Error(String),
}

/// How a server describes itself. Unknown fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ServerInfo {
    /// The text that the client signs with its key.
    pub(super) nonce: String,
    /// The length of the longest message that the server takes, in bytes; 0 if the server states no limit. The header
    /// counts.
    max_payload: u64,
    /// Whether connections must be encrypted.
    pub(super) tls_required: bool,
    /// Whether messages can have headers.
    pub(super) headers: bool,
}

impl ServerInfo {
    /// Returns the length of the longest message that the server takes, in bytes. The header counts.
    pub(super) fn longest_message(&self) -> u64 {
        if self.max_payload == 0 { u64::MAX } else { self.max_payload }
    }
}

/// Takes the next packet from the buffer; `None`: the packet is not whole yet.
///
/// # Errors
/// If the server sent something that is no packet: the reason in words.
pub(super) fn take_packet(read: &mut BytesMut) -> Result<Option<Packet>, String> {
    let not_nats = || "the answer is not NATS".to_owned();
    let Some(end) = read.windows(2).position(|pair| pair == b"\r\n") else {
        return if read.len() > LONGEST_PACKET { Err(not_nats()) } else { Ok(None) };
    };
    let line = str::from_utf8(&read[..end]).map_err(|_| not_nats())?;
    let (name, arguments) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let packet = match name.to_ascii_uppercase().as_str() {
        "MSG" | "HMSG" => {
            let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
            let has_header = name.len() == 4;
            let (Some(subject), Some(total)) = (words.first(), words.last()) else { return Err(not_nats()) };
            let length = |text: &&str| text.parse().ok().filter(|length| *length <= LONGEST_PACKET);
            let total: usize = length(total).ok_or_else(not_nats)?;
            let header = match has_header {
                true => words.iter().rev().nth(1).and_then(length).filter(|header| *header <= total),
                false => Some(0),
            };
            let header = header.ok_or_else(not_nats)?;
            let subject = (*subject).to_owned();
            let whole = end + 2 + total + 2;
            if read.len() < whole {
                return Ok(None);
            }
            let mut content = read.split_to(whole).freeze();
            content.advance(end + 2);
            let status = status(&content[..header]);
            return Ok(Some(Packet::Message { subject, status, payload: content.slice(header..total) }));
        }
        "INFO" => Packet::Info(serde_json::from_str(arguments).map_err(|_| not_nats())?),
        "PING" => Packet::Ping,
        "PONG" => Packet::Pong,
        "+OK" => Packet::Accepted,
        "-ERR" => Packet::Error(arguments.trim().trim_matches('\'').to_owned()),
        _ => return Err(not_nats()),
    };
    read.advance(end + 2);
    Ok(Some(packet))
}

/// Returns the status of a header, for example 503 if its first line is `NATS/1.0 503 No Responders`; `None` if the
/// header has no status.
fn status(header: &[u8]) -> Option<u16> {
    let line = header.split(|byte| *byte == b'\r').next()?;
    let words = str::from_utf8(line).ok()?.strip_prefix("NATS/1.0")?;
    words.split_ascii_whitespace().next()?.parse().ok()
}

/// Writes a message with a header. The server sends its answer to the subject `answer_to`. The names and values in
/// `header` contain no line breaks.
pub(super) fn write_message(subject: &str, answer_to: &str, header: &[(&str, &str)], body: &[u8], out: &mut BytesMut) {
    let header = header_text(header);
    let line = format!("HPUB {subject} {answer_to} {} {}\r\n", header.len(), header.len() + body.len());
    for part in [line.as_bytes(), header.as_bytes(), body, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Returns the length of a message with its header, as the server counts it.
pub(super) fn length(header: &[(&str, &str)], body: &[u8]) -> u64 {
    u64::try_from(header_text(header).len() + body.len()).unwrap_or(u64::MAX)
}

fn header_text(header: &[(&str, &str)]) -> String {
    let lines: String = header.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("NATS/1.0\r\n{lines}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(text: &[u8]) -> (Vec<Packet>, BytesMut) {
        let mut read = BytesMut::from(text);
        let mut packets = Vec::new();
        while let Some(packet) = take_packet(&mut read).unwrap() {
            packets.push(packet);
        }
        (packets, read)
    }

    #[test]
    fn packets_are_taken_when_they_are_whole() {
        let text = b"INFO {\"nonce\":\"n\",\"max_payload\":1048576,\"headers\":true,\"x\":[1]} \r\n+OK\r\nping\r\nPONG\r\n\
            -ERR 'Authorization Violation'\r\nMSG _INBOX.a.7 1 5\r\nhello\r\n\
            HMSG _INBOX.a.8 1 30 30\r\nNATS/1.0 503 No Responders\r\n\r\n\r\nHMSG _INBOX.a.9 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";
        let message = |subject: &str, status, payload: &'static str| Packet::Message {
            subject: subject.to_owned(),
            status,
            payload: Bytes::from(payload),
        };
        let (nonce, max_payload) = ("n".to_owned(), 1_048_576);
        let expected = [
            Packet::Info(ServerInfo { nonce, max_payload, tls_required: false, headers: true }),
            Packet::Accepted,
            Packet::Ping,
            Packet::Pong,
            Packet::Error("Authorization Violation".to_owned()),
            message("_INBOX.a.7", None, "hello"),
            message("_INBOX.a.8", Some(503), ""),
            message("_INBOX.a.9", None, "hi"),
        ];
        let (packets, rest) = take_all(text);
        assert_eq!(packets, expected);
        assert!(rest.is_empty());
        for end in 0..text.len() {
            let (mut packets, mut rest) = take_all(&text[..end]);
            rest.extend_from_slice(&text[end..]);
            packets.extend(take_all(&rest).0);
            assert_eq!(packets, expected, "{end}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "INFO {\r\n",
            "MSG\r\n",
            "MSG a 1 -5\r\n",
            "MSG a 1 99999999999999999999\r\n",
            "MSG a 1 1048577\r\n",
            "HMSG a 1 9 5\r\nhello\r\n",
            "\u{0}\r\n",
        ] {
            assert!(take_packet(&mut BytesMut::from(text)).is_err(), "{text:?}");
        }
        assert!(take_packet(&mut BytesMut::from(&b"\xff\xfe\r\n"[..])).is_err());
        assert!(take_packet(&mut BytesMut::zeroed(LONGEST_PACKET + 1)).is_err());
    }

    #[test]
    fn a_message_is_written_with_its_header() {
        let mut out = BytesMut::new();
        let header = [("Nats-Msg-Id", "m1")];
        write_message("sms.1", "_INBOX.a.7", &header, b"hello", &mut out);
        assert_eq!(out, "HPUB sms.1 _INBOX.a.7 29 34\r\nNATS/1.0\r\nNats-Msg-Id: m1\r\n\r\nhello\r\n");
        assert_eq!(length(&header, b"hello"), 34);
    }
}
