//! The frames of AMQP 0-9-1 that a publisher needs. Pure.
//!
//! Invariants: a frame that has not arrived completely stays in the buffer. No frame that the relay writes is longer
//! than the limit on which the broker and the relay have agreed.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::basic::{AMQPMethod as Basic, AMQPProperties, Publish};
use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use bytes::{Buf as _, BytesMut};

use super::AmqpMessage;

/// The channel on which everything is published.
pub(super) const CHANNEL: u16 = 1;

/// The longest frame that the relay agrees to, in bytes.
pub(super) const LONGEST_FRAME: u32 = 128 << 10;

/// How many bytes of each frame are not content: seven at its beginning, and one at its end.
const FRAME_OVERHEAD: usize = 8;

/// The number of the class `basic`.
const BASIC: u16 = 60;

/// The delivery mode of messages that a durable queue still has after a restart of the broker.
const PERSISTENT: u8 = 2;

/// Takes the next frame from the buffer; `None`: the frame is not whole yet.
///
/// # Errors
/// If the broker sent something that is no frame: what it was, in words.
pub(super) fn take_frame(read: &mut BytesMut) -> Result<Option<AMQPFrame>, String> {
    if read.starts_with(b"AMQP") {
        return Err("the broker does not speak AMQP 0-9-1".to_owned());
    }
    let not_amqp = || "the answer is not AMQP 0-9-1".to_owned();
    // A frame begins with its type, its channel, and the length of its content.
    let Some([kind, _, _, length @ ..]) = read.first_chunk::<7>() else {
        return if read.first().is_some_and(|kind| !(1..=8).contains(kind)) { Err(not_amqp()) } else { Ok(None) };
    };
    let length = u32::from_be_bytes(*length);
    if !(1..=8).contains(kind) || length > LONGEST_FRAME {
        return Err(not_amqp());
    }
    let whole = usize::try_from(length).map_err(|_| not_amqp())? + FRAME_OVERHEAD;
    if read.len() < whole {
        return Ok(None);
    }
    let (_, frame) = parse_frame(&read[..whole]).map_err(|_| not_amqp())?;
    read.advance(whole);
    Ok(Some(frame))
}

/// Writes a frame.
///
/// # Errors
/// The reason why the frame cannot be written.
pub(super) fn write_frame(frame: &AMQPFrame, out: &mut BytesMut) -> Result<(), String> {
    let written = gen_frame(frame)(Vec::new().into()).map_err(|error| format!("a frame cannot be written: {error}"))?;
    out.extend_from_slice(&written.into_inner().0);
    Ok(())
}

/// Writes a method on a channel.
///
/// # Errors
/// The reason why the method cannot be written.
pub(super) fn write_method(channel: u16, method: AMQPClass, out: &mut BytesMut) -> Result<(), String> {
    write_frame(&AMQPFrame::Method(channel, method), out)
}

/// Writes a message, in frames of at most `longest_frame` bytes.
///
/// # Errors
/// The reason why the message cannot be written.
pub(super) fn write_message(
    exchange: &ShortString,
    message: AmqpMessage,
    longest_frame: u32,
    out: &mut BytesMut,
) -> Result<(), String> {
    let AmqpMessage { routing_key, id, content_type, body } = message;
    let publish =
        Publish { exchange: exchange.clone(), routing_key: short(routing_key)?, mandatory: true, immediate: false };
    write_method(CHANNEL, AMQPClass::Basic(Basic::Publish(publish)), out)?;
    let properties = AMQPProperties::default()
        .with_content_type(short(content_type)?)
        .with_message_id(short(id)?)
        .with_delivery_mode(PERSISTENT);
    let body_size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    write_frame(&AMQPFrame::Header(CHANNEL, AMQPContentHeader { class_id: BASIC, body_size, properties }), out)?;
    let longest = usize::try_from(longest_frame).unwrap_or(usize::MAX).saturating_sub(FRAME_OVERHEAD).max(1);
    body.chunks(longest).try_for_each(|part| write_frame(&AMQPFrame::Body(CHANNEL, part.to_vec()), out))
}

/// Makes a short string of AMQP, which has at most 255 bytes.
///
/// # Errors
/// The text is too long.
pub(super) fn short(text: impl Into<String>) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|error| error.to_string())
}

/// Makes the answer to `connection.start`, with which the broker begins the login.
///
/// # Errors
/// A text is too long.
pub(super) fn start_ok(user: &str, password: &str) -> Result<connection::StartOk, String> {
    let capabilities = ["publisher_confirms", "basic.nack", "connection.blocked", "authentication_failure_close"];
    let mut able = FieldTable::default();
    for capability in capabilities {
        able.insert(short(capability)?, AMQPValue::Boolean(true));
    }
    let mut client_properties = FieldTable::default();
    client_properties.insert(short("capabilities")?, AMQPValue::FieldTable(able));
    for (name, value) in
        [("connection_name", "joltsms-relay"), ("product", "joltsms-relay"), ("version", env!("CARGO_PKG_VERSION"))]
    {
        client_properties.insert(short(name)?, AMQPValue::LongString(value.into()));
    }
    Ok(connection::StartOk {
        client_properties,
        mechanism: short("PLAIN")?,
        response: format!("\0{user}\0{password}").into(),
        locale: short("en_US")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> AmqpMessage {
        let text = |text: &str| text.to_owned();
        AmqpMessage { routing_key: text("key"), id: text("m1"), content_type: text("text/plain"), body: body.to_vec() }
    }

    fn written(body: &[u8], longest_frame: u32) -> BytesMut {
        let mut out = BytesMut::new();
        write_message(&short("sms").unwrap(), message(body), longest_frame, &mut out).unwrap();
        out
    }

    #[test]
    fn a_message_is_written_and_read_again() {
        for (body, frames) in [(&b""[..], 2), (b"hello", 3), (&[b'x'; 25], 5)] {
            let whole = written(body, 18);
            for end in 0..=whole.len() {
                let mut read = BytesMut::from(&whole[..end]);
                let mut taken = Vec::new();
                while let Some(frame) = take_frame(&mut read).unwrap() {
                    taken.push(frame);
                }
                read.extend_from_slice(&whole[end..]);
                while let Some(frame) = take_frame(&mut read).unwrap() {
                    taken.push(frame);
                }
                assert!(read.is_empty());
                assert_eq!(taken.len(), frames);
                let AMQPFrame::Method(CHANNEL, AMQPClass::Basic(Basic::Publish(publish))) = &taken[0] else { panic!() };
                assert!(publish.mandatory);
                assert_eq!((publish.exchange.as_str(), publish.routing_key.as_str()), ("sms", "key"));
                let AMQPFrame::Header(CHANNEL, header) = &taken[1] else { panic!() };
                assert_eq!(header.properties.message_id().as_ref().unwrap().as_str(), "m1");
                let content = |frame: &AMQPFrame| match frame {
                    AMQPFrame::Body(CHANNEL, part) => part.clone(),
                    _ => panic!(),
                };
                assert_eq!(taken[2..].iter().flat_map(content).collect::<Vec<u8>>(), body);
            }
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"AMQP\0\0\x09\x01",
            b"\x01\0\0\xff\xff\xff\xff",
            b"\x01\0\0\0\0\0\x01\0\xce",
            b"\x08\0\0\0\0\0\0\0",
            b"\0",
        ] {
            assert!(take_frame(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
    }
}
