//! The broker RabbitMQ, and a client that makes queues and looks into them.

use std::cell::RefCell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use amq_protocol::frame::{AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::{AMQPMethod as Basic, AMQPProperties, Consume};
use amq_protocol::protocol::channel::{self, AMQPMethod as Channel};
use amq_protocol::protocol::connection::{self, AMQPMethod as Connection};
use amq_protocol::protocol::exchange::{self, AMQPMethod as Exchange};
use amq_protocol::protocol::queue::{self, AMQPMethod as Queue};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};

use super::program::{ServerProgram, free_address};
use crate::support::prerequisites::{all_there, missing_programs, program};
use crate::support::waiting::{wait_for_value, wait_until, wait_within};

/// Where Debian has the scripts that do not change the user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// A message of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueuedMessage {
    pub(crate) routing_key: String,
    pub(crate) id: String,
    pub(crate) content_type: String,
    pub(crate) is_persistent: bool,
    pub(crate) body: String,
}

/// A broker that keeps its queues over a kill.
pub(crate) struct RabbitMq {
    server: ServerProgram,
    /// The name service of Erlang, without which no node starts.
    names: Child,
    environment: Vec<(&'static str, String)>,
    /// The messages of the queue that was looked into last.
    seen: RefCell<Vec<QueuedMessage>>,
}

impl RabbitMq {
    /// Whether the broker is installed. If not, the test is reported as skipped.
    pub(crate) fn is_installed() -> bool {
        all_there(&missing_programs(&["rabbitmq-server", "epmd"]))
    }

    /// Starts a broker.
    pub(crate) fn start(dir: &Path) -> Self {
        let home = dir.join("rabbitmq");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("plugins"), "[].").unwrap();
        let (address, names_address) = (free_address(), free_address());
        let names_port = names_address.port().to_string();
        let names = Command::new(program("epmd").unwrap())
            .args(["-port", &names_port, "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("epmd", || TcpStream::connect(names_address).is_ok(), String::new);
        let path = |name: &str| home.join(name).display().to_string();
        let environment = vec![
            ("HOME", home.display().to_string()),
            ("ERL_EPMD_PORT", names_port),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", format!("test{}@localhost", address.port())),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", address.port().to_string()),
            ("RABBITMQ_DIST_PORT", free_address().port().to_string()),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_LOGS", "-".to_owned()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins")),
            ("RABBITMQ_CONFIG_FILE", path("conf")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +S 1".to_owned()),
            // The script becomes the broker then, so that the broker can be killed.
            ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
        ];
        let of_server = environment.clone();
        let server = ServerProgram::start(dir, address, move || {
            let mut command = Command::new(PathBuf::from(SCRIPTS).join("rabbitmq-server"));
            command.envs(of_server.clone());
            command
        });
        let broker = Self { server, names, environment, seen: RefCell::default() };
        broker.wait_until_ready();
        broker
    }

    /// Returns the address with this user and password and this path.
    pub(crate) fn url(&self, login: &str, path: &str) -> String {
        format!("amqp://{login}{}{path}", self.server.address())
    }

    /// Opens a channel. A broker that has just started, or is busy, may close a connection at first.
    pub(crate) fn channel(&self) -> BrokerChannel {
        let open = || BrokerChannel::open(self.server.address());
        wait_for_value("a channel of the broker", open, || self.server.log())
    }

    /// Returns the messages of a queue, which stay there.
    pub(crate) fn messages(&self, queue: &str) -> Vec<QueuedMessage> {
        let count = self.channel().message_count(queue);
        let mut seen = self.seen.borrow_mut();
        if count as usize != seen.len() {
            *seen = self.channel().look_into(queue, count);
            // The messages go back when the broker has noticed the end of the connection.
            wait_until("the queue", || self.channel().message_count(queue) >= count, || self.server.log());
        }
        seen.clone()
    }

    /// Kills the broker and starts it again.
    pub(crate) fn kill_and_start_again(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Kills the broker.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the broker again after a kill.
    pub(crate) fn start_again(&mut self) {
        self.server.start_again();
        self.wait_until_ready();
    }

    /// Runs a command of `rabbitmqctl`.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let mut command = Command::new(PathBuf::from(SCRIPTS).join("rabbitmqctl"));
        let output = command.envs(self.environment.clone()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The broker takes connections a moment before it takes logins.
    fn wait_until_ready(&self) {
        let is_ready = || BrokerChannel::open(self.server.address()).is_some();
        wait_within(Duration::from_secs(120), "the broker", is_ready, || self.server.log());
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.names.kill().ok();
        self.names.wait().ok();
    }
}

/// An open channel of the test.
pub(crate) struct BrokerChannel {
    stream: TcpStream,
    read: Vec<u8>,
}

impl BrokerChannel {
    fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut channel = Self { stream, read: Vec::new() };
        channel.stream.write_all(b"AMQP\0\0\x09\x01").ok()?;
        channel.next()?;
        let start_ok = connection::StartOk {
            mechanism: short("PLAIN"),
            response: "\0guest\0guest".into(),
            locale: short("en_US"),
            ..Default::default()
        };
        channel.send(0, AMQPClass::Connection(Connection::StartOk(start_ok)))?;
        channel.next()?;
        let tune_ok = connection::TuneOk { channel_max: 1, frame_max: 1 << 17, heartbeat: 0 };
        channel.send(0, AMQPClass::Connection(Connection::TuneOk(tune_ok)))?;
        let open = connection::Open { virtual_host: short("/") };
        channel.ask(0, AMQPClass::Connection(Connection::Open(open)))?;
        channel.ask(1, AMQPClass::Channel(Channel::Open(channel::Open {})))?;
        Some(channel)
    }

    /// Makes a queue that survives the broker, and binds it to an exchange of the same name.
    pub(crate) fn make_queue(&mut self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert(short(key), value.clone());
        }
        let queue = queue::Declare { queue: short(name), durable: true, arguments: table, ..Default::default() };
        self.ask(1, AMQPClass::Queue(Queue::Declare(queue))).unwrap();
        self.make_exchange(name);
        let bind =
            queue::Bind { queue: short(name), exchange: short(name), routing_key: short("#"), ..Default::default() };
        self.ask(1, AMQPClass::Queue(Queue::Bind(bind))).unwrap();
    }

    /// Makes an exchange that survives the broker, whose queues are bound by patterns.
    pub(crate) fn make_exchange(&mut self, name: &str) {
        let exchange =
            exchange::Declare { exchange: short(name), kind: short("topic"), durable: true, ..Default::default() };
        self.ask(1, AMQPClass::Exchange(Exchange::Declare(exchange))).unwrap();
    }

    /// Removes all messages of a queue.
    pub(crate) fn purge(&mut self, queue: &str) {
        self.ask(1, AMQPClass::Queue(Queue::Purge(queue::Purge { queue: short(queue), nowait: false }))).unwrap();
    }

    fn message_count(&mut self, queue: &str) -> u32 {
        let declare = queue::Declare { queue: short(queue), passive: true, ..Default::default() };
        match self.ask(1, AMQPClass::Queue(Queue::Declare(declare))) {
            Some(AMQPFrame::Method(_, AMQPClass::Queue(Queue::DeclareOk(ok)))) => ok.message_count,
            other => panic!("{other:?}"),
        }
    }

    /// Reads this many messages of a queue without taking them.
    fn look_into(mut self, queue: &str, count: u32) -> Vec<QueuedMessage> {
        let consume = Consume { queue: short(queue), ..Default::default() };
        self.send(1, AMQPClass::Basic(Basic::Consume(consume))).unwrap();
        let mut messages: Vec<QueuedMessage> = Vec::new();
        let (mut routing_key, mut missing) = (String::new(), 0);
        while (messages.len() as u32) < count || missing > 0 {
            match self.next().unwrap() {
                AMQPFrame::Method(_, AMQPClass::Basic(Basic::Deliver(deliver))) => {
                    routing_key = deliver.routing_key.to_string();
                }
                AMQPFrame::Header(_, header) => {
                    missing = header.body_size;
                    messages.push(queued(routing_key.clone(), &header.properties));
                }
                AMQPFrame::Body(_, part) => {
                    missing -= part.len() as u64;
                    messages.last_mut().unwrap().body += str::from_utf8(&part).unwrap();
                }
                _ => {}
            }
        }
        messages
    }

    fn ask(&mut self, channel: u16, method: AMQPClass) -> Option<AMQPFrame> {
        self.send(channel, method)?;
        self.next()
    }

    fn send(&mut self, channel: u16, method: AMQPClass) -> Option<()> {
        let frame = AMQPFrame::Method(channel, method);
        let written = gen_frame(&frame)(Vec::new().into()).unwrap().into_inner().0;
        self.stream.write_all(&written).ok()
    }

    fn next(&mut self) -> Option<AMQPFrame> {
        loop {
            if let Ok((rest, frame)) = parse_frame(self.read.as_slice()) {
                self.read = rest.to_vec();
                return Some(frame);
            }
            let mut buffer = vec![0; 1 << 16];
            let count = self.stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
            self.read.extend_from_slice(&buffer[..count]);
        }
    }
}

fn queued(routing_key: String, properties: &AMQPProperties) -> QueuedMessage {
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string).unwrap_or_default();
    QueuedMessage {
        routing_key,
        id: text(properties.message_id()),
        content_type: text(properties.content_type()),
        is_persistent: *properties.delivery_mode() == Some(2),
        body: String::new(),
    }
}

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}
