//! A connection to an MQTT 5 broker. A caller publishes, and waits until the broker has acknowledged the publication.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, Connect, ConnectProperties, Disconnect, DisconnectReasonCode, Login, Packet, PingReq,
    PubRecReason, PubRel, Publish, PublishProperties,
};
use rumqttc::v5::mqttbytes::{Error as PacketError, QoS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use super::answers::{BrokerAnswer, disconnected, login};
use super::publication::{Publication, WEBHOOK_ID};
use crate::sinks::Attempt;
use crate::sinks::server::{Conversation, Reply, RequestProtocol, Reusable, ServerLogin, ServerStream, failed, words};

/// The time between two pings of the client, unless the broker asks for a shorter time.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The longest packet that is read. A broker sends only short packets to a client that has no subscriptions.
const LONGEST_ANSWER: u32 = 256 << 10;

/// The client id and the login.
pub(super) struct LoginOptions {
    pub(super) client_id: String,
    pub(super) login: Option<ServerLogin>,
}

/// An open connection.
pub(super) struct BrokerConnection {
    conversation: Conversation<MqttProtocol>,
    /// The broker limits how many publications may wait for an answer at the same time. Each of them holds a permit of
    /// this semaphore.
    window: Semaphore,
    longest_packet: Option<u32>,
    highest_qos: u8,
    /// The numbers whose sensors were announced to Home Assistant over this connection. The broker keeps the
    /// announcements. But the list is not kept for the next connection, which may lead to another broker at the same
    /// address.
    pub(super) announced: Mutex<BTreeSet<String>>,
}

impl Reusable for BrokerConnection {
    fn is_open(&self) -> bool {
        self.conversation.is_open()
    }

    fn give_up(&self) {
        self.conversation.give_up();
    }
}

impl BrokerConnection {
    /// Logs in on a new stream.
    ///
    /// # Errors
    /// The failed attempt.
    pub(super) async fn open(mut stream: ServerStream, options: LoginOptions) -> Result<Self, Attempt> {
        let LoginOptions { client_id, login: credentials } = options;
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(LONGEST_ANSWER);
        let keep_alive = u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX);
        let connect = Connect { keep_alive, client_id, clean_start: true, properties: Some(properties) };
        let credentials = credentials.map(|own| Login::new(own.user, own.password.expose()));
        let mut written = BytesMut::new();
        let packet = Packet::Connect(connect, None, credentials);
        packet.write(&mut written, None).map_err(|error| failed(format!("no login can be written: {error}")))?;
        stream.write_all(&written).await.map_err(|error| failed(words(&error)))?;
        stream.flush().await.map_err(|error| failed(words(&error)))?;
        let mut read = BytesMut::new();
        let acknowledged = match next_packet(&mut stream, &mut read).await.map_err(failed)? {
            Packet::ConnAck(acknowledged) => acknowledged,
            Packet::Disconnect(Disconnect { reason_code, .. }) => return Err(failed(disconnected(reason_code))),
            _ => return Err(failed("the server does not answer as an MQTT broker")),
        };
        login(acknowledged.code)?;
        let properties = acknowledged.properties;
        let limit = |limit: fn(&ConnAckProperties) -> Option<u16>| properties.as_ref().and_then(limit);
        let window = limit(|limits| limits.receive_max).unwrap_or(u16::MAX);
        // 0 means that the broker needs no pings. The relay still sends pings, to notice a dead connection.
        let keep_alive = match limit(|limits| limits.server_keep_alive) {
            Some(seconds @ 1..) => KEEP_ALIVE.min(Duration::from_secs(seconds.into())),
            Some(0) | None => KEEP_ALIVE,
        };
        Ok(Self {
            conversation: Conversation::start(stream, read, MqttProtocol::default(), keep_alive),
            window: Semaphore::new(window.into()),
            longest_packet: properties.as_ref().and_then(|limits| limits.max_packet_size),
            highest_qos: properties.as_ref().and_then(|limits| limits.max_qos).unwrap_or(2),
            announced: Mutex::default(),
        })
    }

    /// Checks that the broker accepts publications with this quality of service.
    ///
    /// # Errors
    /// How the attempt ends, if the broker does not accept them.
    pub(super) fn check_qos(&self, qos: u8) -> Result<(), Attempt> {
        let most = self.highest_qos;
        if qos <= most {
            return Ok(());
        }
        let answer = match most {
            0 => "the broker takes QoS 0 only, which acknowledges nothing".to_owned(),
            _ => format!("the broker takes no more than QoS {most}: set `qos` to {most}"),
        };
        Err(Attempt::Gone { status: None, answer })
    }

    /// Publishes a message, and waits for the answer.
    ///
    /// # Errors
    /// The reason why there will be no answer, in words.
    pub(super) async fn publish(&self, publication: Publication, qos: u8) -> Result<BrokerAnswer, String> {
        // The semaphore is never closed, so this never fails.
        let _permit = self.window.acquire().await.map_err(|_| "connection closed")?;
        let Publication { topic, retain, id, content_type, body } = publication;
        let qos = if qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let properties = PublishProperties {
            payload_format_indicator: Some(u8::from(str::from_utf8(&body).is_ok())),
            content_type: Some(content_type),
            user_properties: vec![(WEBHOOK_ID.to_owned(), id)],
            ..PublishProperties::default()
        };
        let publish = Publish { retain, ..Publish::new(topic, qos, Bytes::from(body), Some(properties)) };
        // The packet identifier, which takes two bytes, is added later.
        if let Some(most) = self.longest_packet.filter(|most| publish.size() + 2 > *most as usize) {
            return Ok(BrokerAnswer::TooLong { most });
        }
        self.conversation.ask(publish).await
    }
}

/// The protocol after the login.
#[derive(Default)]
struct MqttProtocol {
    /// The publications that wait for an answer, by their packet identifiers.
    begun: HashMap<u16, Begun>,
    last_id: u16,
}

struct Begun {
    reply: Reply<BrokerAnswer>,
    /// With QoS 2: the broker's decision about the message, after it has come. The attempt gets it only when the broker
    /// has sent PUBCOMP, the last packet of the exchange.
    decision: Option<BrokerAnswer>,
}

impl MqttProtocol {
    /// Takes a packet of the broker.
    fn take(&mut self, packet: Packet, out: &mut BytesMut) -> Result<(), String> {
        let answered = match packet {
            Packet::PingResp(_) => None,
            Packet::Disconnect(Disconnect { reason_code, .. }) => return Err(disconnected(reason_code)),
            Packet::PubAck(ack) => {
                self.begun.remove(&ack.pkid).map(|begun| (begun, BrokerAnswer::Acknowledged(ack.reason)))
            }
            Packet::PubRec(rec) => match (rec.reason, self.begun.get_mut(&rec.pkid)) {
                (PubRecReason::Success | PubRecReason::NoMatchingSubscribers, Some(begun)) => {
                    begun.decision = Some(BrokerAnswer::Received(rec.reason));
                    return write(&Packet::PubRel(PubRel::new(rec.pkid, None)), out);
                }
                (reason, _) => self.begun.remove(&rec.pkid).map(|begun| (begun, BrokerAnswer::Received(reason))),
            },
            Packet::PubComp(complete) => self
                .begun
                .remove(&complete.pkid)
                .and_then(|mut begun| begun.decision.take().map(|decision| (begun, decision))),
            _ => return Err("the broker sends what nobody asked for".to_owned()),
        };
        if let Some((begun, answer)) = answered {
            // Sending fails if the attempt was given up. Then nobody waits for the answer.
            begun.reply.send(answer).ok();
        }
        Ok(())
    }
}

impl RequestProtocol for MqttProtocol {
    type Request = Publish;
    type Answer = BrokerAnswer;

    fn write(&mut self, publish: Publish, reply: Reply<BrokerAnswer>, out: &mut BytesMut) -> Result<(), String> {
        // There are 65,535 packet identifiers. At most as many publications wait at the same time (`window`), this one
        // included. So one is free.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.begun.contains_key(&self.last_id) {
                break;
            }
        }
        self.begun.insert(self.last_id, Begun { reply, decision: None });
        write(&Packet::Publish(Publish { pkid: self.last_id, ..publish }), out)
    }

    fn read(&mut self, read: &mut BytesMut, out: &mut BytesMut) -> Result<bool, String> {
        let Some(packet) = take_packet(read)? else { return Ok(false) };
        self.take(packet, out)?;
        Ok(true)
    }

    fn ping(&mut self, out: &mut BytesMut) -> Result<(), String> {
        write(&Packet::PingReq(PingReq), out)
    }

    fn farewell(&mut self, out: &mut BytesMut) -> Result<(), String> {
        write(&Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)), out)
    }
}

fn write(packet: &Packet, out: &mut BytesMut) -> Result<(), String> {
    packet.write(out, None).map(drop).map_err(|error| format!("a packet cannot be written: {error}"))
}

/// Takes the next packet from the buffer; `None`: the packet is not whole yet.
///
/// # Errors
/// If the broker sent something that is no packet, or ended the connection: the reason in words.
fn take_packet(read: &mut BytesMut) -> Result<Option<Packet>, String> {
    match Packet::read(read, Some(LONGEST_ANSWER)) {
        Ok(packet) => Ok(Some(packet)),
        Err(PacketError::InsufficientBytes(_)) => Ok(None),
        // The library reports this error for a DISCONNECT that states no reason.
        Err(PacketError::PayloadRequired) => Err("the broker closes the connection".to_owned()),
        Err(_) => Err("the answer is not MQTT 5".to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::{PubAck, PubAckReason, PubComp, PubRec};
    use tokio::sync::oneshot::{self, Receiver};

    use super::*;

    fn publish(protocol: &mut MqttProtocol, qos: QoS) -> Receiver<BrokerAnswer> {
        let (reply, answered) = oneshot::channel();
        protocol.write(Publish::new("sms", qos, "hello", None), reply, &mut BytesMut::new()).unwrap();
        answered
    }

    /// Lets the protocol read packets, and returns the bytes that it writes.
    fn hear(protocol: &mut MqttProtocol, packets: &[Packet]) -> Result<BytesMut, String> {
        let (mut read, mut out) = (BytesMut::new(), BytesMut::new());
        packets.iter().for_each(|packet| write(packet, &mut read).unwrap());
        while protocol.read(&mut read, &mut out)? {}
        assert!(read.is_empty());
        Ok(out)
    }

    #[test]
    fn each_publication_gets_its_own_answer() {
        let mut protocol = MqttProtocol::default();
        let mut answers = [1, 2].map(|_| publish(&mut protocol, QoS::AtLeastOnce));
        let refused = PubAck { reason: PubAckReason::QuotaExceeded, ..PubAck::new(1, None) };
        let unknown = PubAck::new(9, None);
        let packets = [PubAck::new(2, None), unknown, refused].map(Packet::PubAck);
        assert!(hear(&mut protocol, &packets).unwrap().is_empty());
        let answers = answers.each_mut().map(|answer| answer.try_recv().unwrap());
        let expected = [PubAckReason::QuotaExceeded, PubAckReason::Success].map(BrokerAnswer::Acknowledged);
        assert_eq!(answers, expected);
        assert!(protocol.begun.is_empty());
    }

    #[test]
    fn with_qos_2_the_answer_counts_when_the_exchange_has_ended() {
        let mut protocol = MqttProtocol::default();
        let mut answer = publish(&mut protocol, QoS::ExactlyOnce);
        let mut released = BytesMut::new();
        write(&Packet::PubRel(PubRel::new(1, None)), &mut released).unwrap();
        assert_eq!(hear(&mut protocol, &[Packet::PubRec(PubRec::new(1, None))]).unwrap(), released);
        assert!(answer.try_recv().is_err());
        hear(&mut protocol, &[Packet::PubComp(PubComp::new(1, None))]).unwrap();
        assert_eq!(answer.try_recv(), Ok(BrokerAnswer::Received(PubRecReason::Success)));
        let mut refused = publish(&mut protocol, QoS::ExactlyOnce);
        let answer = PubRec { reason: PubRecReason::NotAuthorized, ..PubRec::new(2, None) };
        assert!(hear(&mut protocol, &[Packet::PubRec(answer)]).unwrap().is_empty());
        assert_eq!(refused.try_recv(), Ok(BrokerAnswer::Received(PubRecReason::NotAuthorized)));
    }

    #[test]
    fn a_disconnect_or_nonsense_ends_the_connection() {
        let read = |bytes: &[u8]| {
            let mut read = BytesMut::from(bytes);
            MqttProtocol::default().read(&mut read, &mut BytesMut::new())
        };
        assert_eq!(read(&[0xd0, 0]), Ok(true), "the answer to a ping");
        assert_eq!(read(&[0xd0]), Ok(false), "a part of a packet");
        for (bytes, expected) in [
            (&[0xe0, 0][..], "the broker closes the connection"),
            (&[0xe0, 2, 0x8b, 0], "the broker closes the connection: it shuts down"),
            (&[0, 0], "the answer is not MQTT 5"),
            (&[0x90, 4, 0, 1, 0, 0], "the broker sends what nobody asked for"),
        ] {
            assert_eq!(read(bytes), Err(expected.to_owned()), "{bytes:?}");
        }
    }
}
