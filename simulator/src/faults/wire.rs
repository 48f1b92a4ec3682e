//! Writes an answer to the connection, and stops at the place that the fault names.
//!
//! Invariants: without a plan every byte goes out untouched. With a plan, no byte beyond the planned place goes out,
//! and the planned ending follows. A plan stays until the next one is set or the plan is removed. The server does one
//! of the two before every answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::faults::effect::{Ending, Place};

/// The plan for the next answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The answer stops at a place.
    Stop { place: Place, ending: Ending },
    /// These bytes come instead of the answer. Then the connection is closed.
    Replace(Vec<u8>),
}

/// Tells a connection the plan for the next answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planner(Arc<Mutex<Option<Progress>>>);

#[derive(Debug)]
struct Progress {
    plan: Plan,
    /// How many bytes of the answer, or of the replacement, were sent.
    written: u64,
    head: Head,
}

impl Planner {
    /// Sets the plan for the next answer.
    pub(crate) fn set(&self, plan: Option<Plan>) {
        let progress = plan.map(|plan| Progress { plan, written: 0, head: Head::default() });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

/// Finds the empty line between head and body.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    matched: usize,
    length: u64,
}

impl Head {
    const END: &[u8] = b"\r\n\r\n";

    fn ended(self) -> bool {
        self.matched == Self::END.len()
    }

    /// Reads bytes up to the end of the head.
    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.ended() {
                return;
            }
            self.length += 1;
            self.matched = if byte == Self::END[self.matched] { self.matched + 1 } else { usize::from(byte == b'\r') };
        }
    }
}

impl Progress {
    /// Returns how many of these bytes may still be sent.
    fn allowed(&self, bytes: &[u8], place: Place) -> usize {
        let end = match place {
            Place::Answer(end) => end,
            Place::Body(end) => {
                let mut head = self.head;
                head.read(bytes);
                if !head.ended() {
                    return bytes.len();
                }
                head.length + end
            }
        };
        usize::try_from(end.saturating_sub(self.written)).map_or(bytes.len(), |left| left.min(bytes.len()))
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.head.read(bytes);
        self.written += bytes.len() as u64;
    }
}

/// A connection on which answers may be cut or replaced.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    planner: Planner,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, planner: Planner) -> Self {
        Self { stream, planner }
    }

    fn end(&self, ending: Ending) -> Poll<io::Result<usize>> {
        match ending {
            Ending::Silence => return Poll::Pending,
            Ending::Reset => self.stream.set_zero_linger()?,
            Ending::Close => {}
        }
        // hyper drops the connection after an error. The drop closes or resets the connection.
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let planner = self.planner.clone();
        let mut planned = planner.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(progress) = planned.as_mut() else {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        };
        match progress.plan.clone() {
            Plan::Stop { place, ending } => {
                let allowed = progress.allowed(bytes, place);
                if allowed == 0 {
                    return self.end(ending);
                }
                let written = ready!(Pin::new(&mut self.stream).poll_write(context, &bytes[..allowed]))?;
                progress.wrote(&bytes[..written]);
                Poll::Ready(Ok(written))
            }
            Plan::Replace(instead) => loop {
                let done = usize::try_from(progress.written).unwrap_or(usize::MAX).min(instead.len());
                if done == instead.len() {
                    return self.end(Ending::Close);
                }
                let written = ready!(Pin::new(&mut self.stream).poll_write(context, &instead[done..]))?;
                progress.written += written as u64;
            },
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
