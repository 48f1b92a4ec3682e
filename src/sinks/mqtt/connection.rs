//! A connection to an MQTT 5 broker on which publications can be awaited until they are acknowledged.
//!
//! A task owns the stream. It writes the publications, reads the answers, and sends a ping when nothing was sent for a
//! while. When the connection ends for any reason, all publications that wait for an answer get the reason.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, Disconnect, DisconnectReasonCode, Login, Packet, PingReq, PubRecReason, PubRel,
    Publish, PublishProperties,
};
use rumqttc::v5::mqttbytes::{Error as PacketError, QoS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{interval, timeout};

use super::answers::{BrokerAnswer, disconnected, login};
use super::publication::{Publication, WEBHOOK_ID};
use crate::sinks::Attempt;
use crate::sinks::server::{Reusable, ServerLogin, ServerStream, failed, words};

/// The longest silence of the client, unless the broker wants a shorter one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The longest packet that is read. A broker has nothing long to say to a client that subscribes to nothing.
const LONGEST_ANSWER: u32 = 256 << 10;

/// Who logs in.
pub(super) struct LoginOptions {
    pub(super) client_id: String,
    pub(super) login: Option<ServerLogin>,
}

/// An open connection.
pub(super) struct BrokerConnection {
    requests: mpsc::UnboundedSender<Request>,
    /// The publications that may still be begun; brokers limit how many wait for an answer.
    window: Semaphore,
    longest_packet: Option<u32>,
    highest_qos: u8,
    /// Whether the connection was given up.
    is_given_up: AtomicBool,
    end: SharedEnd,
}

/// Why the connection ended, once it has.
type SharedEnd = Arc<Mutex<Option<String>>>;

/// A publication that is to be written, and the place for its answer.
type Request = (Publish, oneshot::Sender<BrokerAnswer>);

impl Reusable for BrokerConnection {
    fn is_open(&self) -> bool {
        !self.requests.is_closed() && !self.is_given_up.load(Ordering::Relaxed)
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
        let mut read = BytesMut::new();
        let acknowledged = match next_packet(&mut stream, &mut read).await.map_err(failed)? {
            Packet::ConnAck(acknowledged) => acknowledged,
            Packet::Disconnect(Disconnect { reason_code, .. }) => return Err(failed(disconnected(reason_code))),
            _ => return Err(failed("the server does not answer as an MQTT broker")),
        };
        login(acknowledged.code)?;
        let properties = acknowledged.properties;
        let limit = |limit: fn(&rumqttc::v5::mqttbytes::v5::ConnAckProperties) -> Option<u16>| {
            properties.as_ref().and_then(limit)
        };
        let window = limit(|limits| limits.receive_max).unwrap_or(u16::MAX);
        // A broker that wants no pings says 0.
        let keep_alive = match limit(|limits| limits.server_keep_alive) {
            Some(seconds @ 1..) => KEEP_ALIVE.min(Duration::from_secs(seconds.into())),
            Some(0) | None => KEEP_ALIVE,
        };
        let (requests, waiting) = mpsc::unbounded_channel();
        let end = SharedEnd::default();
        let task = ConnectionTask {
            stream,
            read,
            waiting,
            begun: HashMap::new(),
            last_id: 0,
            keep_alive,
            end: Arc::clone(&end),
        };
        tokio::spawn(task.run());
        Ok(Self {
            requests,
            window: Semaphore::new(window.into()),
            longest_packet: properties.as_ref().and_then(|limits| limits.max_packet_size),
            highest_qos: properties.as_ref().and_then(|limits| limits.max_qos).unwrap_or(2),
            is_given_up: AtomicBool::new(false),
            end,
        })
    }

    /// Checks that the broker takes publications with this quality of service.
    ///
    /// # Errors
    /// The attempt that ends with this.
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
    pub(super) async fn publish(&self, publication: Publication, qos: u8) -> BrokerAnswer {
        let lost = || BrokerAnswer::Lost(self.why_it_ended());
        let Ok(_permit) = self.window.acquire().await else { return lost() };
        let Publication { topic, retain, id, content_type, body } = publication;
        let qos = if qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let properties = PublishProperties {
            payload_format_indicator: Some(u8::from(str::from_utf8(&body).is_ok())),
            content_type: Some(content_type),
            user_properties: vec![(WEBHOOK_ID.to_owned(), id)],
            ..PublishProperties::default()
        };
        let publish = Publish { retain, ..Publish::new(topic, qos, Bytes::from(body), Some(properties)) };
        // The packet gets its number, of two bytes, later.
        if let Some(most) = self.longest_packet.filter(|most| publish.size() + 2 > *most as usize) {
            return BrokerAnswer::TooLong { most };
        }
        let (answer, answered) = oneshot::channel();
        if self.requests.send((publish, answer)).is_err() {
            return lost();
        }
        answered.await.unwrap_or_else(|_| lost())
    }

    /// Gives the connection up: no further attempt uses it. The connection is closed when no attempt uses it any more.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    fn why_it_ended(&self) -> String {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        end.unwrap_or_else(|| "connection closed".to_owned())
    }
}

/// The task of a connection.
struct ConnectionTask {
    stream: ServerStream,
    /// What was read and makes no whole packet yet.
    read: BytesMut,
    waiting: mpsc::UnboundedReceiver<Request>,
    /// The publications that wait for an answer, by their number on the connection.
    begun: HashMap<u16, Begun>,
    last_id: u16,
    keep_alive: Duration,
    end: SharedEnd,
}

struct Begun {
    answer: oneshot::Sender<BrokerAnswer>,
    /// With QoS 2, the broker's decision, until it has confirmed the end of the exchange.
    decision: Option<BrokerAnswer>,
}

impl ConnectionTask {
    async fn run(mut self) {
        let why = self.work().await.unwrap_or_else(|why| why);
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
        // Nobody begins anything any more.
        self.waiting.close();
        for (_, begun) in self.begun.drain() {
            begun.answer.send(BrokerAnswer::Lost(why.clone())).ok();
        }
    }

    /// Works until the connection ends, and returns the reason.
    async fn work(&mut self) -> Result<String, String> {
        let mut silence = interval(self.keep_alive);
        silence.reset();
        let mut awaits_ping = false;
        loop {
            let mut written = BytesMut::new();
            tokio::select! {
                packet = next_packet(&mut self.stream, &mut self.read) => match packet? {
                    Packet::PingResp(_) => awaits_ping = false,
                    Packet::Disconnect(Disconnect { reason_code, .. }) => return Ok(disconnected(reason_code)),
                    packet => self.take(packet, &mut written)?,
                },
                request = self.waiting.recv() => match request {
                    Some((publish, answer)) => {
                        self.begin(publish, answer, &mut written)?;
                        // Whatever waits beside it leaves in the same write.
                        while let Ok((publish, answer)) = self.waiting.try_recv() {
                            self.begin(publish, answer, &mut written)?;
                        }
                    }
                    None => {
                        let farewell = Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection));
                        write(&farewell, &mut written)?;
                        self.send(&written).await?;
                        return Ok("connection given up".to_owned());
                    }
                },
                _ = silence.tick() => {
                    if awaits_ping {
                        return Ok(format!("the broker did not answer a ping within {:?}", self.keep_alive));
                    }
                    awaits_ping = true;
                    write(&Packet::PingReq(PingReq), &mut written)?;
                }
            }
            if !written.is_empty() {
                self.send(&written).await?;
                if !awaits_ping {
                    silence.reset();
                }
            }
        }
    }

    async fn send(&mut self, written: &[u8]) -> Result<(), String> {
        let writing = async {
            self.stream.write_all(written).await?;
            self.stream.flush().await
        };
        match timeout(self.keep_alive, writing).await {
            Ok(sent) => sent.map_err(|error| words(&error)),
            Err(_) => Err(format!("the broker took nothing within {:?}", self.keep_alive)),
        }
    }

    fn begin(
        &mut self,
        publish: Publish,
        answer: oneshot::Sender<BrokerAnswer>,
        out: &mut BytesMut,
    ) -> Result<(), String> {
        // The window is smaller than the count of numbers, so there is a free one.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.begun.contains_key(&self.last_id) {
                break;
            }
        }
        self.begun.insert(self.last_id, Begun { answer, decision: None });
        write(&Packet::Publish(Publish { pkid: self.last_id, ..publish }), out)
    }

    /// Takes a packet that answers a publication.
    fn take(&mut self, packet: Packet, out: &mut BytesMut) -> Result<(), String> {
        let answered = match packet {
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
            // An attempt that was given up does not wait any more.
            begun.answer.send(answer).ok();
        }
        Ok(())
    }
}

fn write(packet: &Packet, out: &mut BytesMut) -> Result<(), String> {
    packet.write(out, None).map(drop).map_err(|error| format!("a packet cannot be written: {error}"))
}

/// Reads the next packet. A packet of which a part was read stays in `read` if the future is dropped.
///
/// # Errors
/// The reason why there will be no packet, in words.
async fn next_packet(stream: &mut ServerStream, read: &mut BytesMut) -> Result<Packet, String> {
    loop {
        match Packet::read(read, Some(LONGEST_ANSWER)) {
            Ok(packet) => return Ok(packet),
            Err(PacketError::InsufficientBytes(_)) => {}
            // A farewell without a reason has nothing but its first byte.
            Err(PacketError::PayloadRequired) => return Err("the broker closes the connection".to_owned()),
            Err(_) => return Err("the answer is not MQTT 5".to_owned()),
        }
        if stream.read_buf(read).await.map_err(|error| words(&error))? == 0 {
            return Err("connection closed by the other side".to_owned());
        }
    }
}
