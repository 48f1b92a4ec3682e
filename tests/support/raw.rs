//! A server on loopback that says exactly what it is told, byte for byte: as an API or a receiver that means no good.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its first line and its headers.
    pub(crate) head: String,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

/// Answers a request; `false` ends the connection.
type Serve = dyn Fn(usize, &Asked, &mut TcpStream) -> bool + Send + Sync;

/// It ends when it is dropped.
pub(crate) struct RawServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    asked: Mutex<Vec<Asked>>,
    over: AtomicBool,
    serve: Box<Serve>,
}

impl RawServer {
    /// `serve` gets the number of the request, from 0, the request, and where to answer it.
    pub(crate) fn start(serve: impl Fn(usize, &Asked, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { asked: Mutex::default(), over: AtomicBool::new(false), serve: Box::new(serve) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.over.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || converse(&shared, stream));
            }
        });
        Self { address, shared }
    }

    /// An API that answers request `n` with the page that `page` makes for it, and with the machine's time as the `Date`.
    pub(crate) fn api(page: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |number, _, stream| {
            let body = page(number);
            let (date, length) = (http_date(), body.len());
            let head = format!(
                "HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_ok()
        })
    }

    /// Where it listens.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Answers with a JSON body and keeps the connection.
pub(crate) fn say_json(stream: &mut TcpStream, status: &str, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_ok()
}

fn converse(shared: &Shared, mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = read(&mut reader) {
        let number = {
            let mut all = shared.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        if !(shared.serve)(number, &asked, &mut stream) {
            break;
        }
    }
    drop(stream.shutdown(Shutdown::Both));
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut asked = Asked { head, body: Vec::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

#[expect(clippy::disallowed_methods, reason = "what an API says of the time")]
fn http_date() -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now()).unwrap()
}
