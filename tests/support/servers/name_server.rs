//! A name server whose answers the test chooses.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The answer that the name server gives to every question.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Say {
    /// The name server answers with this address, whatever the name is.
    Address(Ipv4Addr),
    /// The name server answers that there is no such name (NXDOMAIN).
    NoSuchName,
    /// The name server answers that it failed (SERVFAIL).
    Failure,
    /// The name server answers with meaningless bytes.
    Garbage,
    /// The name server gives no answer.
    Silence,
}

/// A name server. It ends when it is dropped.
pub(crate) struct NameServer {
    say: Arc<Mutex<Say>>,
    asked: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl NameServer {
    /// Starts a name server on port 53 of this address.
    pub(crate) fn start(at: Ipv4Addr, say: Say) -> Self {
        let socket = UdpSocket::bind((at, 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let say = Arc::new(Mutex::new(say));
        let server = Self { say, asked: Arc::default(), ended: Arc::default() };
        let (say, asked, ended) = (Arc::clone(&server.say), Arc::clone(&server.asked), Arc::clone(&server.ended));
        std::thread::spawn(move || {
            let mut question = [0; 1500];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                asked.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&question[..length], *say.lock().unwrap()) {
                    drop(socket.send_to(&answer, from));
                }
            }
        });
        server
    }

    /// Changes the answer from now on.
    pub(crate) fn set(&self, say: Say) {
        *self.say.lock().unwrap() = say;
    }

    /// Returns how many questions the name server got.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Makes the answer to a question. The head has 12 bytes; the question is a name that ends with 0, a type and a class.
fn answer(question: &[u8], say: Say) -> Option<Vec<u8>> {
    const A: [u8; 2] = [0, 1];
    let name = question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let asked = question.get(..12 + name + 5)?;
    let kind = &asked[12 + name + 1..12 + name + 3];
    let (code, address) = match say {
        Say::Address(address) => (0, Some(address).filter(|_| kind == A)),
        Say::NoSuchName => (3, None),
        Say::Failure => (2, None),
        Say::Garbage => return Some([&question[..2], &[0xff; 40]].concat()),
        Say::Silence => return None,
    };
    let mut answer = Vec::from(asked);
    // These are the flags of an answer, and then the numbers of questions and records that follow: one question, and
    // one record or none.
    answer[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    if let Some(address) = address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
