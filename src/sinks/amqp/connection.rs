//! A connection to a broker. A caller publishes a message, and waits until the broker has confirmed it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use amq_protocol::types::ShortString;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answers::{AmqpAnswer, channel_closed, closed, login_refused};
use super::frames::{CHANNEL, LONGEST_FRAME, short, start_ok, take_frame, write_frame, write_message, write_method};
use super::{AmqpMessage, AmqpTarget};
use crate::secret::Secret;
use crate::sinks::Attempt;
use crate::sinks::server::{Conversation, Reply, RequestProtocol, Reusable, ServerLogin, ServerStream, failed, words};

/// The bytes that a client sends first.
const PROTOCOL: &[u8; 8] = b"AMQP\0\0\x09\x01";

/// The longest heartbeat timeout to which the relay agrees, in seconds. A broker may close a connection over which it
/// has received nothing for this time.
const HEARTBEAT: u16 = 30;

/// What the relay and the broker have agreed on at the login.
struct Agreement {
    /// The longest frame, in bytes.
    longest_frame: u32,
    /// The heartbeat timeout, in seconds.
    heartbeat: u16,
}

/// Returns the heartbeat timeout on which both sides agree if the broker proposes `theirs`, in seconds. If `theirs` is
/// 0, the broker proposes none.
fn agreed_heartbeat(theirs: u16) -> u16 {
    if theirs == 0 { HEARTBEAT } else { theirs.min(HEARTBEAT) }
}

/// Returns the interval of pings for a heartbeat timeout in seconds: two pings in each timeout.
fn ping_interval(heartbeat: u16) -> Duration {
    Duration::from_secs(u64::from(heartbeat)) / 2
}

/// Every broker accepts frames of up to this many bytes.
const LEAST_FRAME: u32 = 4096;

/// An open connection with its channel.
pub(super) struct AmqpConnection {
    conversation: Conversation<AmqpProtocol>,
    block: SharedBlock,
}

/// The broker's reason why it accepts no messages at the moment; `None` while it accepts messages.
type SharedBlock = Arc<Mutex<Option<String>>>;

impl Reusable for AmqpConnection {
    fn is_open(&self) -> bool {
        self.conversation.is_open()
    }

    fn give_up(&self) {
        self.conversation.give_up();
    }
}

impl AmqpConnection {
    /// Logs in on a new stream, and opens the channel.
    ///
    /// # Errors
    /// The failed attempt.
    pub(super) async fn open(stream: ServerStream, target: &AmqpTarget) -> Result<Self, Attempt> {
        let mut greeting = Greeting { stream, read: BytesMut::new(), place: target.exchange_name() };
        let Agreement { longest_frame, heartbeat } = greeting.log_in(target).await?;
        greeting.open_channel(target).await?;
        greeting.ask_for_confirms().await?;
        let block = SharedBlock::default();
        let protocol = AmqpProtocol {
            exchange: short(target.exchange.as_str()).map_err(failed)?,
            exchange_name: target.exchange_name(),
            longest_frame,
            last_tag: 0,
            waiting: BTreeMap::new(),
            returned_bytes: None,
            block: Arc::clone(&block),
        };
        let pings = ping_interval(heartbeat);
        Ok(Self { conversation: Conversation::start(greeting.stream, greeting.read, protocol, pings), block })
    }

    /// Publishes a message, and waits for the answer.
    ///
    /// # Errors
    /// The reason why there will be no answer, in words.
    pub(super) async fn publish(&self, message: AmqpMessage) -> Result<AmqpAnswer, String> {
        self.conversation.ask(message).await
    }

    /// Returns the answer that every message gets while the broker accepts no messages; `None` while it accepts
    /// messages.
    pub(super) fn block(&self) -> Option<AmqpAnswer> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).clone().map(AmqpAnswer::Blocked)
    }
}

/// Logs in on a new stream, and asks whether the configured exchange exists. If `queue` is given, also asks whether
/// this queue exists. `place`: the words for the exchange or the queue.
///
/// # Errors
/// The failed attempt: the login was refused, or the exchange or the queue does not exist.
pub(super) async fn find_place(
    stream: ServerStream,
    target: &AmqpTarget,
    queue: Option<&str>,
    place: &str,
) -> Result<(), Attempt> {
    let mut greeting = Greeting { stream, read: BytesMut::new(), place: place.to_owned() };
    greeting.log_in(target).await?;
    greeting.open_channel(target).await?;
    match queue {
        Some(queue) => greeting.ask_for_queue(queue).await,
        None => Ok(()),
    }
}

/// A connection before the first message.
struct Greeting {
    stream: ServerStream,
    read: BytesMut,
    /// The words for the exchange or the queue about which the broker is asked.
    place: String,
}

impl Greeting {
    /// Logs in.
    async fn log_in(&mut self, target: &AmqpTarget) -> Result<Agreement, Attempt> {
        use connection::AMQPMethod as Method;
        self.send(PROTOCOL).await?;
        let Method::Start(start) = self.next_of_connection().await? else { return Err(unexpected()) };
        let mechanisms = start.mechanisms.to_string();
        if !mechanisms.split(' ').any(|mechanism| mechanism == "PLAIN") {
            let answer = "the broker takes no user and password (PLAIN)".to_owned();
            return Err(Attempt::Gone { status: None, answer });
        }
        let guest = || ServerLogin { user: "guest".to_owned(), password: Secret::from("guest") };
        let login = target.server.login().unwrap_or_else(guest);
        let start_ok = start_ok(&login.user, login.password.expose()).map_err(failed)?;
        self.send_of_connection(Method::StartOk(start_ok)).await?;
        let tune = match self.next_of_connection().await? {
            Method::Tune(tune) => tune,
            Method::Secure(_) => return Err(failed("the broker wants more than a user and a password")),
            _ => return Err(unexpected()),
        };
        // 0 means that the broker has no limit.
        let or_ours = |theirs: u32, ours: u32| if theirs == 0 { ours } else { theirs.min(ours) };
        let frame_max = or_ours(tune.frame_max, LONGEST_FRAME).max(LEAST_FRAME);
        let heartbeat = agreed_heartbeat(tune.heartbeat);
        let tune_ok = connection::TuneOk { channel_max: CHANNEL, frame_max, heartbeat };
        self.send_of_connection(Method::TuneOk(tune_ok)).await?;
        let virtual_host = short(target.virtual_host.as_str()).map_err(failed)?;
        self.send_of_connection(Method::Open(connection::Open { virtual_host })).await?;
        match self.next_of_connection().await? {
            Method::OpenOk(_) => Ok(Agreement { longest_frame: frame_max, heartbeat }),
            _ => Err(unexpected()),
        }
    }

    /// Opens the channel, and asks whether the exchange exists.
    async fn open_channel(&mut self, target: &AmqpTarget) -> Result<(), Attempt> {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        let AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) = self.ask_channel(open).await? else {
            return Err(unexpected());
        };
        // The exchange without a name always exists, so the broker is not asked.
        if !target.exchange.is_empty() {
            let exchange = short(target.exchange.as_str()).map_err(failed)?;
            let declare = exchange::Declare { exchange, passive: true, ..exchange::Declare::default() };
            let declare = AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare));
            let AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_)) = self.ask_channel(declare).await? else {
                return Err(unexpected());
            };
        }
        Ok(())
    }

    /// Asks whether a queue exists.
    async fn ask_for_queue(&mut self, queue: &str) -> Result<(), Attempt> {
        let queue = short(queue).map_err(failed)?;
        let declare = queue::Declare { queue, passive: true, ..queue::Declare::default() };
        match self.ask_channel(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Asks the broker to confirm each message.
    async fn ask_for_confirms(&mut self) -> Result<(), Attempt> {
        let select = AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }));
        match self.ask_channel(select).await? {
            AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    async fn ask_channel(&mut self, method: AMQPClass) -> Result<AMQPClass, Attempt> {
        let mut out = BytesMut::new();
        write_method(CHANNEL, method, &mut out).map_err(failed)?;
        self.send(&out).await?;
        match self.next_method().await? {
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                Err(failed(channel_closed(close.reply_code, &self.place)))
            }
            method => Ok(method),
        }
    }

    async fn send_of_connection(&mut self, method: connection::AMQPMethod) -> Result<(), Attempt> {
        let mut out = BytesMut::new();
        write_method(0, AMQPClass::Connection(method), &mut out).map_err(failed)?;
        self.send(&out).await
    }

    async fn send(&mut self, out: &[u8]) -> Result<(), Attempt> {
        self.stream.write_all(out).await.map_err(|error| failed(words(&error)))?;
        self.stream.flush().await.map_err(|error| failed(words(&error)))
    }

    async fn next_of_connection(&mut self) -> Result<connection::AMQPMethod, Attempt> {
        match self.next_method().await? {
            AMQPClass::Connection(method) => Ok(method),
            _ => Err(unexpected()),
        }
    }

    async fn next_method(&mut self) -> Result<AMQPClass, Attempt> {
        loop {
            match take_frame(&mut self.read).map_err(failed)? {
                Some(AMQPFrame::Method(_, AMQPClass::Connection(connection::AMQPMethod::Close(close)))) => {
                    return Err(login_refused(close.reply_code, close.reply_text.as_str()));
                }
                Some(AMQPFrame::Method(_, method)) => return Ok(method),
                Some(AMQPFrame::Heartbeat) => {}
                Some(_) => return Err(unexpected()),
                None => {
                    let read = self.stream.read_buf(&mut self.read).await.map_err(|error| failed(words(&error)))?;
                    if read == 0 {
                        return Err(failed("connection closed by the other side"));
                    }
                }
            }
        }
    }
}

fn unexpected() -> Attempt {
    failed("the broker sends what nobody asked for")
}

/// The protocol after the channel was opened.
pub(super) struct AmqpProtocol {
    exchange: ShortString,
    /// The words for the exchange.
    exchange_name: String,
    longest_frame: u32,
    /// The delivery tag of the last message that was published.
    last_tag: u64,
    /// The messages that wait for a confirm, by their delivery tags.
    waiting: BTreeMap<u64, Unconfirmed>,
    /// The state of a returned message that is arriving: 0 before its header has come, and after that the number of
    /// bytes of its body that are still to come. `None` if no returned message is arriving.
    returned_bytes: Option<u64>,
    block: SharedBlock,
}

struct Unconfirmed {
    /// The `message-id`.
    id: String,
    is_returned: bool,
    reply: Reply<AmqpAnswer>,
}

impl AmqpProtocol {
    /// Passes the broker's answer on to the attempt for the message with this delivery tag. If `multiple` is true, the
    /// answer also goes to the attempts for all messages that were published before; `tag` may then be 0, which stands
    /// for all messages. `is_taken`: whether the broker has accepted the messages.
    fn answer(&mut self, tag: u64, multiple: bool, is_taken: bool) {
        let tags: Vec<u64> = match (multiple, tag) {
            (true, 0) => self.waiting.keys().copied().collect(),
            (true, tag) => self.waiting.range(..=tag).map(|(tag, _)| *tag).collect(),
            (false, tag) => vec![tag],
        };
        for waiting in tags.into_iter().filter_map(|tag| self.waiting.remove(&tag)) {
            let answer = match (is_taken, waiting.is_returned) {
                (false, _) => AmqpAnswer::NotTaken,
                (true, true) => AmqpAnswer::Returned,
                (true, false) => AmqpAnswer::Confirmed,
            };
            // Sending fails if the attempt was given up. Then nobody waits for the answer.
            waiting.reply.send(answer).ok();
        }
    }

    /// Notes that the broker has returned the message with this id. The broker will also confirm this message. Because
    /// of this note it will not count as delivered.
    fn note_return(&mut self, id: Option<&str>) -> Result<(), String> {
        let returned =
            self.waiting.values_mut().find(|waiting| !waiting.is_returned && Some(waiting.id.as_str()) == id);
        // If no waiting message has this id, the relay does not know which message was returned, and would take the
        // confirm of that message for a delivery. So the connection ends.
        returned.ok_or("the broker returns a message that nobody sent")?.is_returned = true;
        Ok(())
    }

    fn set_block(&self, reason: Option<String>) {
        *self.block.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn take_method(&mut self, method: AMQPClass, out: &mut BytesMut) -> Result<(), String> {
        use {basic::AMQPMethod as Basic, channel::AMQPMethod as Channel, connection::AMQPMethod as Method};
        match method {
            AMQPClass::Basic(Basic::Ack(ack)) => self.answer(ack.delivery_tag, ack.multiple, true),
            AMQPClass::Basic(Basic::Nack(nack)) => self.answer(nack.delivery_tag, nack.multiple, false),
            // The id of the returned message comes with the next frame.
            AMQPClass::Basic(Basic::Return(_)) => self.returned_bytes = Some(0),
            AMQPClass::Connection(Method::Blocked(blocked)) => self.set_block(Some(blocked.reason.to_string())),
            AMQPClass::Connection(Method::Unblocked(_)) => self.set_block(None),
            AMQPClass::Channel(Channel::Flow(flow)) => {
                let flow_ok = channel::FlowOk { active: flow.active };
                write_method(CHANNEL, AMQPClass::Channel(Channel::FlowOk(flow_ok)), out)?;
            }
            AMQPClass::Channel(Channel::Close(close)) => {
                return Err(channel_closed(close.reply_code, &self.exchange_name));
            }
            AMQPClass::Connection(Method::Close(close)) => {
                return Err(closed(close.reply_code, close.reply_text.as_str()));
            }
            _ => return Err("the broker sends what nobody asked for".to_owned()),
        }
        Ok(())
    }
}

impl RequestProtocol for AmqpProtocol {
    type Request = AmqpMessage;
    type Answer = AmqpAnswer;

    fn write(&mut self, message: AmqpMessage, reply: Reply<AmqpAnswer>, out: &mut BytesMut) -> Result<(), String> {
        let block = self.block.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reason) = block {
            // Sending fails if the attempt was given up. Then nobody waits for the answer.
            reply.send(AmqpAnswer::Blocked(reason)).ok();
            return Ok(());
        }
        let id = message.id.clone();
        write_message(&self.exchange, message, self.longest_frame, out)?;
        self.last_tag += 1;
        self.waiting.insert(self.last_tag, Unconfirmed { id, is_returned: false, reply });
        Ok(())
    }

    fn read(&mut self, read: &mut BytesMut, out: &mut BytesMut) -> Result<bool, String> {
        match (take_frame(read)?, self.returned_bytes) {
            (None, _) => return Ok(false),
            (Some(AMQPFrame::Heartbeat), _) => {}
            (Some(AMQPFrame::Method(_, method)), None) => self.take_method(method, out)?,
            (Some(AMQPFrame::Header(_, header)), Some(0)) => {
                self.note_return(header.properties.message_id().as_ref().map(ShortString::as_str))?;
                self.returned_bytes = Some(header.body_size).filter(|size| *size > 0);
            }
            (Some(AMQPFrame::Body(_, part)), Some(bytes @ 1..)) => {
                let part = u64::try_from(part.len()).unwrap_or(u64::MAX);
                self.returned_bytes = Some(bytes.saturating_sub(part)).filter(|bytes| *bytes > 0);
            }
            _ => return Err("the broker sends what nobody asked for".to_owned()),
        }
        Ok(true)
    }

    fn ping(&mut self, out: &mut BytesMut) -> Result<(), String> {
        write_frame(&AMQPFrame::Heartbeat, out)
    }

    fn farewell(&mut self, out: &mut BytesMut) -> Result<(), String> {
        let close = connection::Close { reply_code: 200, ..connection::Close::default() };
        write_method(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)), out)
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::AMQPContentHeader;
    use basic::AMQPMethod as Basic;
    use tokio::sync::oneshot::{self, Receiver};

    use super::*;

    fn protocol() -> AmqpProtocol {
        AmqpProtocol {
            exchange: short("sms").unwrap(),
            exchange_name: "exchange sms".to_owned(),
            longest_frame: LONGEST_FRAME,
            last_tag: 0,
            waiting: BTreeMap::new(),
            returned_bytes: None,
            block: SharedBlock::default(),
        }
    }

    fn publish(protocol: &mut AmqpProtocol, id: &str) -> Receiver<AmqpAnswer> {
        let (reply, answered) = oneshot::channel();
        let (routing_key, content_type) = ("key".to_owned(), "text/plain".to_owned());
        let message = AmqpMessage { routing_key, id: id.to_owned(), content_type, body: b"hello".to_vec() };
        protocol.write(message, reply, &mut BytesMut::new()).unwrap();
        answered
    }

    fn hear(protocol: &mut AmqpProtocol, frames: &[AMQPFrame]) -> Result<(), String> {
        let mut read = BytesMut::new();
        frames.iter().for_each(|frame| write_frame(frame, &mut read).unwrap());
        while protocol.read(&mut read, &mut BytesMut::new())? {}
        assert!(read.is_empty());
        Ok(())
    }

    fn ack(delivery_tag: u64, multiple: bool) -> AMQPFrame {
        AMQPFrame::Method(CHANNEL, AMQPClass::Basic(Basic::Ack(basic::Ack { delivery_tag, multiple })))
    }

    fn nack(delivery_tag: u64) -> AMQPFrame {
        let nack = basic::Nack { delivery_tag, multiple: false, requeue: false };
        AMQPFrame::Method(CHANNEL, AMQPClass::Basic(Basic::Nack(nack)))
    }

    fn returned(id: &str, body: &[&[u8]]) -> Vec<AMQPFrame> {
        let method = basic::Return { reply_code: 312, reply_text: short("NO_ROUTE").unwrap(), ..Default::default() };
        let properties = basic::AMQPProperties::default().with_message_id(short(id).unwrap());
        let body_size = body.iter().map(|part| part.len() as u64).sum();
        let mut frames = vec![
            AMQPFrame::Method(CHANNEL, AMQPClass::Basic(Basic::Return(method))),
            AMQPFrame::Header(CHANNEL, AMQPContentHeader { class_id: 60, body_size, properties }),
        ];
        frames.extend(body.iter().map(|part| AMQPFrame::Body(CHANNEL, part.to_vec())));
        frames
    }

    #[test]
    fn a_broker_with_a_short_timeout_gets_more_pings() {
        for (theirs, agreed, pings_ms) in [(0, 30, 15_000), (60, 30, 15_000), (10, 10, 5000), (1, 1, 500)] {
            let heartbeat = agreed_heartbeat(theirs);
            assert_eq!((heartbeat, ping_interval(heartbeat).as_millis()), (agreed, pings_ms), "{theirs}");
        }
    }

    #[test]
    fn one_confirm_may_stand_for_several_messages() {
        let mut protocol = protocol();
        let mut answers: Vec<_> = ["a", "b", "c", "d"].map(|id| publish(&mut protocol, id)).into();
        hear(&mut protocol, &[ack(3, true), nack(4)]).unwrap();
        let answers: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect();
        assert_eq!(
            answers,
            [AmqpAnswer::Confirmed, AmqpAnswer::Confirmed, AmqpAnswer::Confirmed, AmqpAnswer::NotTaken]
        );
        let mut all = [publish(&mut protocol, "e"), publish(&mut protocol, "f")];
        hear(&mut protocol, &[ack(0, true), ack(17, false)]).unwrap();
        assert!(all.iter_mut().all(|answer| answer.try_recv() == Ok(AmqpAnswer::Confirmed)));
    }

    /// The broker first returns a message. Then one confirm stands for this message and for others. The returned
    /// message must not count as delivered, and no other message may count as returned.
    #[test]
    fn a_returned_message_is_found_by_its_id() {
        for (of, body) in [(0, &[&b"hello"[..]][..]), (1, &[b"he", b"llo"]), (2, &[])] {
            let mut protocol = protocol();
            let ids = ["a", "b", "c"];
            let mut answers = ids.map(|id| publish(&mut protocol, id));
            let mut frames = returned(ids[of], body);
            frames.insert(1, AMQPFrame::Heartbeat);
            frames.push(ack(3, true));
            hear(&mut protocol, &frames).unwrap();
            for (index, answer) in answers.iter_mut().enumerate() {
                let expected = if index == of { AmqpAnswer::Returned } else { AmqpAnswer::Confirmed };
                assert_eq!(answer.try_recv(), Ok(expected), "{index} {of}");
            }
        }
        let mut protocol = protocol();
        let mut answer = publish(&mut protocol, "a");
        assert!(hear(&mut protocol, &returned("unknown", &[])).is_err());
        assert!(answer.try_recv().is_err());
    }

    #[test]
    fn a_broker_that_blocks_gets_nothing_until_it_unblocks() {
        let mut protocol = protocol();
        let mut before = publish(&mut protocol, "a");
        let reason = short("low on disk").unwrap();
        let blocked = connection::AMQPMethod::Blocked(connection::Blocked { reason });
        hear(&mut protocol, &[AMQPFrame::Method(0, AMQPClass::Connection(blocked))]).unwrap();
        assert_eq!(publish(&mut protocol, "b").try_recv(), Ok(AmqpAnswer::Blocked("low on disk".to_owned())));
        let unblocked = connection::AMQPMethod::Unblocked(connection::Unblocked {});
        hear(&mut protocol, &[ack(1, false), AMQPFrame::Method(0, AMQPClass::Connection(unblocked))]).unwrap();
        assert_eq!(before.try_recv(), Ok(AmqpAnswer::Confirmed));
        let mut after = publish(&mut protocol, "b");
        hear(&mut protocol, &[ack(2, false)]).unwrap();
        assert_eq!(after.try_recv(), Ok(AmqpAnswer::Confirmed));
    }
}
