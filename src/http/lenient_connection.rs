//! A connection on which the heads of answers are mended before the HTTP library sees them.
//!
//! Invariants:
//!
//! - Only the heads of answers in HTTP/1 are mended. Bodies, bytes that no request asked for, and HTTP/2 pass as they
//!   are.
//! - The bytes that pass do not depend on how the network cuts them into pieces.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

use super::lenient_head::{ReadHead, read_head};

/// How many bytes are read at once while a head is awaited.
const CHUNK: usize = 4 << 10;

/// A connection whose answers are mended.
pub(super) struct LenientConnection<C> {
    connection: C,
    /// `None` for HTTP/2.
    answers: Option<Answers>,
}

impl<C: Connection> LenientConnection<C> {
    pub(super) fn new(connection: C) -> Self {
        let answers = (!connection.connected().is_negotiated_h2()).then(Answers::default);
        Self { connection, answers }
    }
}

/// The heads on one connection of HTTP/1.
#[derive(Debug, Default)]
struct Answers {
    request: RequestProgress,
    /// Whether the next bytes belong to the head of an answer.
    is_head_awaited: bool,
    /// The beginning of a head that has not ended yet.
    unfinished: Vec<u8>,
    /// Bytes that were read already, for the HTTP library. It gets them before the bytes that are read next.
    ready: Vec<u8>,
    /// Whether a head was mended. The connection then ends with that answer (`connection: close`), and no further
    /// answer follows.
    is_last: bool,
    /// Whether the other side was told that no further request comes.
    is_half_closed: bool,
}

impl Answers {
    /// Notes bytes that were sent.
    fn sent(&mut self, bytes: &[u8]) {
        self.is_head_awaited |= self.request.sent(bytes);
    }

    /// Handles bytes that came while a head was awaited. An empty slice means that the connection has ended.
    fn take(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        let mut begin = 0;
        while self.is_head_awaited {
            let rest = &self.unfinished[begin..];
            match read_head(rest) {
                ReadHead::Incomplete if !bytes.is_empty() => break,
                ReadHead::Incomplete | ReadHead::Other => self.is_head_awaited = false,
                ReadHead::Head { length, mended, is_interim } => {
                    self.is_last |= mended.is_some() && !is_interim;
                    self.ready.extend_from_slice(mended.as_deref().unwrap_or(&rest[..length]));
                    begin += length;
                    self.is_head_awaited = is_interim;
                }
            }
        }
        if self.is_head_awaited {
            self.unfinished.drain(..begin);
        } else {
            self.ready.extend_from_slice(&self.unfinished[begin..]);
            self.unfinished = Vec::new();
        }
    }

    /// Moves bytes that are ready into `space`. Returns whether any were moved.
    fn hand_out(&mut self, space: &mut ReadBufCursor<'_>) -> bool {
        let length = self.ready.len().min(space.remaining());
        space.put_slice(&self.ready[..length]);
        self.ready.drain(..length);
        length > 0
    }
}

/// How much of a request was sent. The head of each request states the length of the body: the relay sends no body in
/// chunks.
#[derive(Debug, Default, PartialEq, Eq)]
enum RequestProgress {
    /// The last request was sent whole, or there was none yet.
    #[default]
    Complete,
    /// The part of the head that was sent so far.
    Head(Vec<u8>),
    /// The number of bytes of the body that are still to be sent.
    Body(usize),
}

impl RequestProgress {
    /// Notes bytes that were sent. Returns whether a request begins in these bytes.
    fn sent(&mut self, mut bytes: &[u8]) -> bool {
        const END: &[u8] = b"\r\n\r\n";
        let mut begins = false;
        while !bytes.is_empty() {
            match self {
                Self::Complete => {
                    begins = true;
                    *self = Self::Head(Vec::new());
                }
                Self::Head(head) => {
                    let known = head.len();
                    head.extend_from_slice(bytes);
                    // The end of the head may have begun among the bytes that were sent before.
                    let from = known.saturating_sub(END.len() - 1);
                    let Some(place) = head[from..].windows(END.len()).position(|window| window == END) else { break };
                    let length = from + place + END.len();
                    bytes = &bytes[length - known..];
                    *self = Self::after_head(body_length(&head[..length]));
                }
                Self::Body(left) => {
                    let sent = bytes.len().min(*left);
                    bytes = &bytes[sent..];
                    *self = Self::after_head(*left - sent);
                }
            }
        }
        begins
    }

    fn after_head(left: usize) -> Self {
        if left == 0 { Self::Complete } else { Self::Body(left) }
    }
}

/// The length of the body, as the head of the request states it.
fn body_length(head: &[u8]) -> usize {
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut headers = lines.filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

impl<C: Read + Write + Unpin> Read for LenientConnection<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut space: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { connection, answers } = self.get_mut();
        let Some(answers) = answers else { return Pin::new(connection).poll_read(context, space) };
        loop {
            if answers.hand_out(&mut space) {
                return Poll::Ready(Ok(()));
            }
            if answers.is_last && !answers.is_half_closed && answers.request == RequestProgress::Complete {
                // The relay tells the server that no further request comes. Most servers then end the connection, so
                // that the end of the body is known at once. If telling the server fails, the next read fails with the
                // reason.
                drop(ready!(Pin::new(&mut *connection).poll_shutdown(context)));
                answers.is_half_closed = true;
            }
            if !answers.is_head_awaited {
                return Pin::new(connection).poll_read(context, space);
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut *connection).poll_read(context, chunk.unfilled()))?;
            answers.take(chunk.filled());
            if chunk.filled().is_empty() && answers.ready.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<C: Write + Unpin> Write for LenientConnection<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { connection, answers } = self.get_mut();
        let sent = ready!(Pin::new(connection).poll_write(context, bytes))?;
        if let Some(answers) = answers {
            answers.sent(&bytes[..sent.min(bytes.len())]);
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { connection, answers } = self.get_mut();
        let sent = ready!(Pin::new(connection).poll_write_vectored(context, parts))?;
        if let Some(answers) = answers {
            let mut left = sent;
            for part in parts {
                let length = left.min(part.len());
                answers.sent(&part[..length]);
                left -= length;
            }
        }
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { connection, answers } = self.get_mut();
        match answers {
            Some(Answers { is_half_closed: true, .. }) => Poll::Ready(Ok(())),
            _ => Pin::new(connection).poll_shutdown(context),
        }
    }
}

impl<C: Connection> Connection for LenientConnection<C> {
    fn connected(&self) -> Connected {
        self.connection.connected()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns what the HTTP library gets if the answers to one request come in these pieces.
    fn passed(pieces: &[&[u8]]) -> Vec<u8> {
        let mut answers = Answers { is_head_awaited: true, ..Answers::default() };
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            if answers.is_head_awaited {
                answers.take(piece);
            } else {
                answers.ready.extend_from_slice(piece);
            }
        }
        if answers.is_head_awaited {
            answers.take(b"");
        }
        answers.ready
    }

    #[test]
    fn heads_are_mended_and_nothing_else_is_touched() {
        let odd = "content-length:\r\nx: a\0b\r\n";
        for (came, passes) in [
            (
                format!("HTTP/1.1 200 OK\r\n{odd}\r\n{odd}"),
                format!("HTTP/1.1 200 OK\r\nx: a b\r\nconnection: close\r\n\r\n{odd}"),
            ),
            (
                format!(
                    "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103\r\n{odd}\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n{odd}\r\n"
                ),
                format!(
                    "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103\r\nx: a b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n{odd}\r\n"
                ),
            ),
            (format!("SSH-2.0\r\n{odd}\r\n"), format!("SSH-2.0\r\n{odd}\r\n")),
            (format!("HTTP/1.1 200 OK\r\n{odd}"), format!("HTTP/1.1 200 OK\r\n{odd}")),
            (String::new(), String::new()),
        ] {
            assert_eq!(passed(&[came.as_bytes()]), passes.as_bytes(), "{came:?}");
        }
    }

    #[test]
    fn a_request_is_complete_with_its_body() {
        let (head, body) = ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", "abcde");
        let whole = format!("{head}{body}");
        for cut in 1..whole.len() {
            let mut request = RequestProgress::default();
            assert!(request.sent(&whole.as_bytes()[..cut]), "{cut}");
            assert_ne!(request, RequestProgress::Complete, "{cut}");
            assert!(!request.sent(&whole.as_bytes()[cut..]), "{cut}");
            assert_eq!(request, RequestProgress::Complete, "{cut}");
            assert!(request.sent(b"GET / HTTP/1.1\r\n\r\n"), "{cut}");
            assert_eq!(request, RequestProgress::Complete, "a request without a body");
        }
    }

    proptest! {
        /// What passes does not depend on the pieces in which an answer comes.
        #[test]
        fn any_pieces_give_the_same_bytes(
            lines in proptest::collection::vec("(HTTP/1.[01]  ?[12]0[03] O?|[a-zA-Z\0\r -]{0,4}:?[\0\r\t 0-9a-z]{0,3}|content-length:[ 2]{0,2}|)\r?\n", 0..9),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let whole = lines.concat().into_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).chain([0, whole.len()]).collect();
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            prop_assert_eq!(passed(&pieces), passed(&[&whole]));
        }
    }
}
