//! Tests of lines on real pipes, and on streams that misbehave.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::message;
use crate::sinks::lines::{LineSink, LineStart, LineStream, StreamState};
use crate::sinks::{Attempt, Attempting, Sink};

const WRITTEN: Attempt = Attempt::Accepted { status: None };
const SOON: Duration = Duration::from_secs(10);

impl LineStream for File {}

/// Makes a sink that flushes its stream after each line.
fn sink(stream: impl LineStream) -> LineSink {
    LineSink::new(stream, StreamState::default(), "test").unwrap()
}

/// Makes a sink that flushes its stream once for all waiting lines.
fn flushed_together(stream: impl LineStream) -> LineSink {
    LineSink::new(stream, StreamState { is_flushed_together: true, ..StreamState::default() }, "test").unwrap()
}

fn pipe() -> (io::PipeReader, LineSink) {
    let (reader, writer) = io::pipe().unwrap();
    (reader, sink(File::from(OwnedFd::from(writer))))
}

async fn ended(attempting: Attempting) -> Attempt {
    timeout(SOON, attempting).await.unwrap()
}

#[tokio::test]
async fn lines_leave_in_the_order_in_which_they_were_begun() {
    let (reader, sink) = pipe();
    let begun: Vec<Attempting> = (0..100).map(|number| sink.begin(message("m", &format!("{{{number}}}")))).collect();
    // The attempts are polled in the opposite order.
    let attempts = timeout(SOON, join_all(begun.into_iter().rev())).await.unwrap();
    assert!(attempts.into_iter().all(|attempt| attempt == WRITTEN));
    drop(sink);
    let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
    assert_eq!(lines, (0..100).map(|number| format!("{{{number}}}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_closed_pipe_is_closed_for_good() {
    let (reader, sink) = pipe();
    assert_eq!(ended(sink.begin(message("m1", "1"))).await, WRITTEN);
    drop(reader);
    assert_eq!(ended(sink.begin(message("m2", "2"))).await, Attempt::Closed);
    assert_eq!(ended(sink.begin(message("m3", "3"))).await, Attempt::Closed);
}

#[tokio::test]
async fn the_sink_waits_for_a_program_that_does_not_read() {
    let (mut reader, sink) = pipe();
    // The line is longer than the buffer of a pipe.
    let long = "x".repeat(1 << 20);
    let mut first = sink.begin(message("m1", &long));
    let mut second = sink.begin(message("m2", "2"));
    // Nobody reads the pipe yet, so neither attempt can end. A short wait is enough to check this.
    assert!(timeout(Duration::from_millis(200), &mut first).await.is_err());
    assert_eq!((&mut second).now_or_never(), None);
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all
    });
    assert_eq!(ended(first).await, WRITTEN);
    assert_eq!(ended(second).await, WRITTEN);
    drop(sink);
    assert_eq!(reading.await.unwrap(), format!("{long}\n2\n"), "nothing was lost");
}

#[tokio::test]
async fn a_line_that_was_given_up_before_its_turn_is_not_written() {
    let (mut reader, sink) = pipe();
    let first = sink.begin(message("m1", &"x".repeat(1 << 20)));
    drop(sink.begin(message("m2", "given up")));
    let third = sink.begin(message("m3", "3"));
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all
    });
    assert_eq!((ended(first).await, ended(third).await), (WRITTEN, WRITTEN));
    drop(sink);
    assert!(!reading.await.unwrap().contains("given up"));
}

/// A stream whose writes end as the test says.
#[derive(Clone, Default)]
struct Moody {
    /// How many bytes each of the next writes accepts, or the error with which it fails. If the list is empty, a write
    /// accepts all bytes.
    moods: Arc<Mutex<VecDeque<Result<usize, ErrorKind>>>>,
    taken: Arc<Mutex<Vec<u8>>>,
    writes: Arc<Mutex<usize>>,
    /// How many of the next flushes fail.
    failing_flushes: Arc<Mutex<usize>>,
}

impl Moody {
    fn new(moods: impl IntoIterator<Item = Result<usize, ErrorKind>>) -> Self {
        Self { moods: Arc::new(Mutex::new(moods.into_iter().collect())), ..Self::default() }
    }

    fn taken(&self) -> String {
        String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Moody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.writes.lock().unwrap() += 1;
        let taken = self.moods.lock().unwrap().pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
        self.taken.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut failing = self.failing_flushes.lock().unwrap();
        let fails = *failing > 0;
        *failing = failing.saturating_sub(1);
        if fails { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl LineStream for Moody {}

#[tokio::test]
async fn a_line_is_one_write() {
    let stream = Moody::default();
    let sink = sink(stream.clone());
    assert_eq!(ended(sink.begin(message("m1", "{\"a\":1}"))).await, WRITTEN);
    assert_eq!((stream.taken().as_str(), *stream.writes.lock().unwrap()), ("{\"a\":1}\n", 1));
}

#[tokio::test]
async fn parts_interruptions_and_a_non_blocking_stream_do_no_harm() {
    use ErrorKind::{Interrupted, WouldBlock};
    let stream = Moody::new([Ok(3), Err(Interrupted), Err(WouldBlock), Ok(1), Err(WouldBlock), Err(WouldBlock)]);
    let sink = sink(stream.clone());
    assert_eq!(ended(sink.begin(message("m1", "0123456789"))).await, WRITTEN);
    assert_eq!(stream.taken(), "0123456789\n");
}

#[tokio::test]
async fn a_refused_write_is_a_failure_and_leaves_no_broken_line() {
    use ErrorKind::StorageFull;
    let full = Attempt::Failed {
        status: None,
        retry_after: None,
        answer: format!("cannot write the line: {}", io::Error::from(StorageFull)),
    };
    // The stream refuses the first try. In the second try it accepts four bytes. Then another message is sent.
    let stream = Moody::new([Err(StorageFull), Ok(4), Err(StorageFull), Err(StorageFull)]);
    let sink = sink(stream.clone());
    assert_eq!(ended(sink.begin(message("m1", "first"))).await, full);
    assert_eq!(stream.taken(), "");
    assert_eq!(ended(sink.begin(message("m1", "first"))).await, full);
    assert_eq!(stream.taken(), "firs");
    // The stream is still full. The rest of the first line must be written before the second line.
    assert_eq!(ended(sink.begin(message("m2", "second"))).await, full);
    assert_eq!(ended(sink.begin(message("m2", "second"))).await, WRITTEN);
    assert_eq!(stream.taken(), "first\nsecond\n");
    // The next attempt for the first message writes nothing, because its line is already there.
    assert_eq!(ended(sink.begin(message("m1", "first"))).await, WRITTEN);
    assert_eq!(stream.taken(), "first\nsecond\n");
}

#[tokio::test]
async fn the_next_attempt_for_a_torn_line_writes_only_the_rest() {
    let stream = Moody::new([Ok(4), Err(ErrorKind::StorageFull)]);
    let sink = sink(stream.clone());
    assert!(matches!(ended(sink.begin(message("m1", "first"))).await, Attempt::Failed { .. }));
    assert_eq!(ended(sink.begin(message("m1", "first"))).await, WRITTEN);
    assert_eq!(stream.taken(), "first\n", "the line was not written twice");
}

/// After the failed flush it is not known whether the first part of the line is on the disk.
#[tokio::test]
async fn a_torn_line_that_could_not_be_flushed_is_written_again_as_a_whole() {
    let stream = Moody::new([Ok(4), Err(ErrorKind::StorageFull)]);
    *stream.failing_flushes.lock().unwrap() = 1;
    let sink = sink(stream.clone());
    assert!(matches!(ended(sink.begin(message("m1", "first"))).await, Attempt::Failed { .. }));
    assert_eq!(ended(sink.begin(message("m1", "first"))).await, WRITTEN);
    assert_eq!(stream.taken(), "firs\nfirst\n");
}

/// A stream whose `begin_line` returns what the test says.
struct Moving {
    stream: Moody,
    starts: VecDeque<io::Result<LineStart>>,
}

impl Write for Moving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LineStream for Moving {
    fn begin_line(&mut self) -> io::Result<LineStart> {
        self.starts.pop_front().unwrap_or(Ok(LineStart::AfterLast))
    }
}

#[tokio::test]
async fn the_rest_of_a_torn_line_never_goes_to_another_file() {
    let stream = Moody::new([Ok(2), Err(ErrorKind::StorageFull)]);
    let starts = [
        Ok(LineStart::AfterLast),
        Err(io::Error::other("no such place")),
        Ok(LineStart::Elsewhere { is_unfinished: false }),
        Ok(LineStart::Elsewhere { is_unfinished: true }),
    ];
    let sink = sink(Moving { stream: stream.clone(), starts: starts.into() });
    assert!(matches!(ended(sink.begin(message("m1", "first"))).await, Attempt::Failed { .. }));
    let Attempt::Failed { answer, .. } = ended(sink.begin(message("m1", "first"))).await else { panic!() };
    assert_eq!(answer, "cannot open the file: no such place");
    assert_eq!(ended(sink.begin(message("m1", "first"))).await, WRITTEN);
    assert_eq!(ended(sink.begin(message("m2", "second"))).await, WRITTEN);
    assert_eq!(stream.taken(), "fifirst\n\nsecond\n");
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_a_failure_and_not_a_loop() {
    let stream = Moody::new([Ok(0)]);
    let sink = sink(stream);
    assert!(matches!(ended(sink.begin(message("m1", "x"))).await, Attempt::Failed { .. }));
}

/// A stand-in for a file on a disk. It records writes and flushes. The test decides how each flush ends.
struct Disk {
    happened: Arc<Mutex<Vec<String>>>,
    flushes: std::sync::mpsc::Receiver<io::Result<()>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.happened.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.happened.lock().unwrap().push("flush".to_owned());
        self.flushes.recv().unwrap_or(Ok(()))
    }
}

impl LineStream for Disk {}

#[tokio::test]
async fn lines_that_come_during_a_flush_share_the_next_flush_and_are_not_delivered_before() {
    let happened = Arc::<Mutex<Vec<String>>>::default();
    let (flushed, flushes) = std::sync::mpsc::channel();
    let sink = flushed_together(Disk { happened: Arc::clone(&happened), flushes });
    let count = |what: &str| happened.lock().unwrap().iter().filter(|each| *each == what).count();
    let mut first = sink.begin(message("m1", "1"));
    while count("flush") < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!((&mut first).now_or_never(), None, "the line is written but not flushed");
    let others: Vec<Attempting> = (2..=5).map(|number| sink.begin(message("m", &number.to_string()))).collect();
    flushed.send(Ok(())).unwrap();
    assert_eq!(ended(first).await, WRITTEN);
    while count("flush") < 2 {
        tokio::task::yield_now().await;
    }
    let mut others = join_all(others);
    assert_eq!((&mut others).now_or_never(), None);
    flushed.send(Ok(())).unwrap();
    assert!(timeout(SOON, others).await.unwrap().iter().all(|attempt| *attempt == WRITTEN));
    assert_eq!(*happened.lock().unwrap(), ["1\n", "flush", "2\n", "3\n", "4\n", "5\n", "flush"]);
}

#[tokio::test]
async fn a_line_that_could_not_be_flushed_is_not_delivered_and_is_written_again() {
    let happened = Arc::<Mutex<Vec<String>>>::default();
    let (flushed, flushes) = std::sync::mpsc::channel();
    let sink = flushed_together(Disk { happened: Arc::clone(&happened), flushes });
    flushed.send(Err(io::Error::other("the disk is gone"))).unwrap();
    let answer = "cannot flush the file: the disk is gone".to_owned();
    assert_eq!(
        ended(sink.begin(message("m1", "1"))).await,
        Attempt::Failed { status: None, retry_after: None, answer }
    );
    flushed.send(Ok(())).unwrap();
    assert_eq!(ended(sink.begin(message("m1", "1"))).await, WRITTEN);
    assert_eq!(*happened.lock().unwrap(), ["1\n", "flush", "1\n", "flush"]);
}
