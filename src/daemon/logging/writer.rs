//! Writes the log on a thread of its own.
//!
//! Invariants:
//! - Code that logs never waits for the program that reads the log: a line for which the buffer has no room is dropped
//!   and counted.
//! - When the stream accepts lines again, one line takes the place of the missing lines and says how many are missing.
//! - The end of the process waits for the log for [`PATIENCE`] at most.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};
use tracing_subscriber::fmt::MakeWriter;

use crate::files::write_rest;

/// The number of lines that may wait to be written. This many lines take about 250 KB.
pub(super) const BUFFERED_LINES: usize = 1024;

/// The longest time that the end of the process waits until all lines are written.
const PATIENCE: Duration = Duration::from_secs(1);

/// A function that makes the line that reports how many lines are missing. The line is empty if the log's level leaves
/// warnings out.
pub(super) type Notice = Box<dyn Fn(u64) -> Vec<u8> + Send>;

/// Accepts lines for the log. Clones share one queue.
#[derive(Clone, Debug)]
pub(super) struct LogLines {
    queue: NonBlocking,
    tally: Arc<LineTally>,
}

/// When this guard is dropped, it waits until the last lines are written.
#[derive(Debug)]
#[must_use = "without it the last lines of the log may be lost"]
pub(super) struct LinesGuard(Arc<LineTally>);

#[derive(Debug, Default)]
struct LineTally {
    counts: Mutex<Counts>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    /// How many lines the queue has accepted so far.
    taken: u64,
    /// How many of the accepted lines have left the queue.
    handled: u64,
    /// The value of `handled` when the queue was last empty. Before this value is set, the thread tries to report
    /// missing lines. The end of the process waits until this value reaches `taken`.
    settled: u64,
    /// How many lines are missing and not reported yet.
    lost: u64,
    /// How many lines must have left the queue before the missing lines are reported: all lines that come before the
    /// first missing one.
    lost_after: u64,
}

impl Counts {
    /// Counts a missing line. `after` is used only for the first missing line since the last report: how many lines
    /// must have left the queue before this line is reported.
    fn lose(&mut self, after: u64) {
        if self.lost == 0 {
            self.lost_after = after;
        }
        self.lost += 1;
    }
}

impl LineTally {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that writes to `stream`.
pub(super) fn start(stream: impl Write + Send + 'static, notice: Notice) -> (LogLines, LinesGuard) {
    let tally = Arc::<LineTally>::default();
    let writer = Writer { stream, notice, tally: Arc::clone(&tally), torn: false };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(BUFFERED_LINES).thread_name("log");
    let (queue, guard) = builder.finish(writer);
    // The library's guard would print to stdout that its thread is stuck, and stdout belongs to messages. `LinesGuard`
    // waits for the last lines instead.
    std::mem::forget(guard);
    (LogLines { queue, tally: Arc::clone(&tally) }, LinesGuard(tally))
}

impl Write for LogLines {
    /// Queues one line; each call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // While the lock is held, no other line is queued. So if the queue's counter of dropped lines grows, this line
        // was dropped. Queueing never blocks.
        let mut counts = self.tally.lock();
        let dropped = self.queue.error_counter().dropped_lines();
        self.queue.write_all(line)?;
        let after = counts.taken;
        if self.queue.error_counter().dropped_lines() == dropped {
            counts.taken += 1;
        } else {
            counts.lose(after);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogLines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Drop for LinesGuard {
    fn drop(&mut self) {
        let is_busy = |counts: &mut Counts| counts.settled < counts.taken;
        // The process ends, whether the thread has ended or not.
        drop(self.0.settled.wait_timeout_while(self.0.lock(), PATIENCE, is_busy));
    }
}

/// Writes lines on the thread. Writing never returns an error, because no caller could handle the error.
struct Writer<W> {
    stream: W,
    notice: Notice,
    tally: Arc<LineTally>,
    /// Whether the stream has accepted a part of a line and refused the rest.
    torn: bool,
}

impl<W: Write> Write for Writer<W> {
    /// Writes one line; each call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.report_missing_lines();
        let written = self.put(line).is_ok();
        let mut counts = self.tally.lock();
        counts.handled += 1;
        if !written {
            let after = counts.handled;
            counts.lose(after);
        }
        Ok(line.len())
    }

    /// The library calls this when the queue is empty.
    fn flush(&mut self) -> io::Result<()> {
        self.report_missing_lines();
        let mut counts = self.tally.lock();
        counts.settled = counts.handled;
        self.tally.settled.notify_all();
        Ok(())
    }
}

impl<W: Write> Writer<W> {
    /// Writes how many lines are missing, as soon as all lines before the first missing line have left the queue.
    fn report_missing_lines(&mut self) {
        let (lost, lost_after, handled) = {
            let counts = self.tally.lock();
            (counts.lost, counts.lost_after, counts.handled)
        };
        if lost == 0 || handled < lost_after {
            return;
        }
        if self.put(&(self.notice)(lost)).is_ok() {
            let mut counts = self.tally.lock();
            counts.lost -= lost;
            counts.lost_after = counts.taken;
        }
    }

    /// Writes the whole line, however long that takes. If only a part of the previous line was written, ends that line
    /// first.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.put_all(b"\n")?;
        }
        self.put_all(line)
    }

    fn put_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        let done = write_rest(&mut self.stream, bytes, &mut written);
        // If no byte was written, the stream still ends as before: with a torn line or with a whole one.
        self.torn = done.is_err() && (self.torn || written > 0);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A stream that waits at each write until the test tells it to accept or refuse the bytes.
    struct Slow {
        /// The answer to each write: an error, or the most bytes that are accepted.
        answers: Receiver<Result<usize, ErrorKind>>,
        /// Sends a value to the test at the beginning of each write.
        began: Sender<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.began.send(()).ok();
            // If the test sends no more answers, all bytes are accepted.
            let count = self.answers.recv().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.taken.lock().unwrap().extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Scene {
        lines: LogLines,
        guard: LinesGuard,
        answers: Sender<Result<usize, ErrorKind>>,
        began: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Scene {
        fn new() -> Self {
            let (answers, inbox) = channel();
            let (begins, began) = channel();
            let taken = Arc::<Mutex<Vec<u8>>>::default();
            let stream = Slow { answers: inbox, began: begins, taken: Arc::clone(&taken) };
            let (lines, guard) = start(stream, Box::new(|lost| format!("{lost} missing\n").into_bytes()));
            Self { lines, guard, answers, began, taken }
        }

        fn log(&mut self, numbers: std::ops::Range<usize>) {
            for number in numbers {
                self.lines.write_all(format!("{number}\n").as_bytes()).unwrap();
            }
        }

        /// From now on, the stream accepts all bytes. Returns the lines that the stream got.
        fn ends(self) -> Vec<String> {
            drop(self.answers);
            let LineTally { counts, settled } = &*self.guard.0;
            let is_busy = |counts: &mut Counts| counts.settled < counts.taken;
            drop(settled.wait_while(counts.lock().unwrap(), is_busy).unwrap());
            String::from_utf8(self.taken.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
        range.map(|number| number.to_string())
    }

    #[test]
    fn all_lines_are_written_in_their_order() {
        let mut scene = Scene::new();
        scene.log(0..1000);
        assert_eq!(scene.ends(), numbers(0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn lines_that_find_no_room_are_counted_where_they_are_missing() {
        let mut scene = Scene::new();
        // The thread has the first line, and the queue accepts as many lines as it can hold.
        scene.log(0..1);
        scene.began.recv().unwrap();
        scene.log(1..2 * BUFFERED_LINES);
        let taken = 1 + BUFFERED_LINES;
        let lost = 2 * BUFFERED_LINES - taken;
        let written = scene.ends();
        let expected = numbers(0..taken).chain([format!("{lost} missing")]).collect::<Vec<_>>();
        assert_eq!(written, expected);
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted_and_no_line_is_broken() {
        let mut scene = Scene::new();
        scene.log(1000..1003);
        for answer in [
            // Two bytes of the first line fit. Then the disk is full.
            Ok(2),
            Err(ErrorKind::StorageFull),
            // The line break after the torn line is tried twice: before the notice, and before the second line.
            Err(ErrorKind::StorageFull),
            Err(ErrorKind::StorageFull),
        ] {
            scene.answers.send(answer).unwrap();
        }
        assert_eq!(scene.ends(), ["10", "2 missing", "1002"]);
    }

    #[test]
    fn the_end_waits_for_the_last_line() {
        let mut scene = Scene::new();
        scene.answers.send(Ok(10)).unwrap();
        scene.log(1..2);
        let Scene { guard, taken, .. } = scene;
        drop(guard);
        assert_eq!(*taken.lock().unwrap(), b"1\n");
    }

    #[test]
    fn the_end_does_not_wait_for_a_stream_that_is_stuck() {
        let mut scene = Scene::new();
        scene.log(0..10);
        let Scene { guard, answers, taken, .. } = scene;
        drop(guard);
        assert!(taken.lock().unwrap().is_empty());
        drop(answers);
    }

    #[test]
    fn a_stream_that_somebody_made_non_blocking_is_waited_for() {
        let mut scene = Scene::new();
        for answer in [Err(ErrorKind::WouldBlock), Err(ErrorKind::Interrupted), Ok(1), Err(ErrorKind::WouldBlock)] {
            scene.answers.send(answer).unwrap();
        }
        scene.log(10..12);
        assert_eq!(scene.ends(), ["10", "11"]);
    }
}
