//! Tests of a log that nobody reads, that cannot be written, or that gets too many lines. The relay goes on, and every
//! signal works.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use joltsms_relay::daemon::log_sentences::STOPPED;
use joltsms_relay::delivery::log_sentences::MESSAGE_IS_DEAD;
use joltsms_simulator::NewMessage;

use crate::support::cases::side_by_side;
use crate::support::relay::process::gather;
use crate::support::relay::terminal::terminal;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Writes until the stream is full, so that the next write blocks.
fn fill(mut stream: &File) {
    let flags = fcntl_getfl(stream).unwrap();
    fcntl_setfl(stream, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        let is_full = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
        while !stream.write(&vec![b'\n'; size]).is_err_and(|error| is_full(&error)) {}
    }
    fcntl_setfl(stream, flags).unwrap();
}

/// Opens a stream for the log, and the other end of the stream, which keeps it open.
type Opening = fn() -> (File, Option<File>);

fn unread_pipe() -> (File, Option<File>) {
    let (reader, writer) = pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    fill(&writer);
    (writer, Some(File::from(OwnedFd::from(reader))))
}

fn unread_terminal() -> (File, Option<File>) {
    let (screen, side) = terminal();
    fill(&side);
    (side, Some(screen))
}

fn full_disk() -> (File, Option<File>) {
    (OpenOptions::new().write(true).open("/dev/full").unwrap(), None)
}

fn pipe_without_a_reader() -> (File, Option<File>) {
    (File::from(OwnedFd::from(pipe().unwrap().1)), None)
}

const STREAMS: [(&str, Opening); 4] = [
    ("a pipe that nobody reads", unread_pipe),
    ("a terminal that nobody reads", unread_terminal),
    ("a full disk", full_disk),
    ("a pipe without a reader", pipe_without_a_reader),
];

#[test]
fn a_log_that_cannot_be_written_stops_neither_deliveries_nor_the_end() {
    side_by_side(&STREAMS, |open| {
        let scene = Scene::new();
        // With so many messages a terminal shows a progress bar.
        scene.add_past(400);
        let receiver = Receiver::in_background();
        let (stream, _kept) = open();
        let mut setup = scene.setup_from_beginning().sink(&receiver.url()).args(&["run", "--log-level", "trace"]);
        let mut relay = setup.start_with_stderr(stream);
        receiver.wait(400, &relay);
        let id = scene.add();
        receiver.wait(401, &relay);
        assert_eq!(receiver.received().last().unwrap().webhook_id(), id);
        assert_eq!(relay.stop().code(), Some(0));
    });
}

#[test]
fn once_ends_although_nobody_reads_its_log() {
    side_by_side(&STREAMS, |open| {
        let scene = Scene::new();
        scene.add_past(400);
        let receiver = Receiver::in_background();
        let (stream, _kept) = open();
        let mut setup = scene.setup_from_beginning().sink(&receiver.url()).args(&["once", "--log-level", "trace"]);
        let mut relay = setup.start_with_stderr(stream);
        assert_eq!(relay.wait().code(), Some(0));
        assert_eq!(receiver.count(), 400);
    });
}

#[test]
fn a_second_signal_ends_it_although_nobody_reads_its_log() {
    side_by_side(&STREAMS[..2], |open| {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        // No delivery in flight ends by itself.
        receiver.answer(|_| (200, 10 * crate::support::waiting::DEADLINE));
        scene.add_past(1);
        let (stream, _kept) = open();
        let setup = scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__CRM__TIMEOUT", "10m");
        let mut relay = setup.args(&["--log-level", "trace"]).start_with_stderr(stream);
        receiver.wait(1, &relay);
        relay.signal("TERM");
        relay.signal("INT");
        assert_eq!(relay.wait().code(), Some(0));
    });
}

#[test]
fn dropped_lines_are_counted_and_told_when_somebody_reads_again() {
    let scene = Scene::new();
    scene.add_past(1400);
    let receiver = Receiver::in_background();
    let (stream, reader) = unread_pipe();
    let mut setup = scene.setup_from_beginning().sink(&receiver.url()).args(&["run", "--log-level", "trace"]);
    let mut relay = setup.start_with_stderr(stream);
    receiver.wait(1400, &relay);
    let (log, reading) = gather(reader.unwrap());
    let told = "WARN the log could not be written for a while: lines are missing here lines=";
    wait_until("the number of dropped lines", || log.lock().unwrap().contains(told), || log.lock().unwrap().clone());
    // From now on the log can be written again.
    assert_eq!(relay.stop().code(), Some(0));
    drop(setup);
    reading.join().unwrap();
    let log = log.lock().unwrap().clone();
    let (before, after) = log.split_once(told).unwrap();
    assert!(before.contains("INFO joltsms-relay"), "what was logged first is kept: {before}");
    assert!(after.contains(&format!("INFO {STOPPED}")), "{after}");
    let lines: u64 = after.split_whitespace().next().unwrap().parse().unwrap();
    assert!(lines > 0);
}

#[test]
fn lines_that_repeat_are_left_out_and_counted() {
    let scene = Scene::new();
    let old = scene.handle().now() - jiff::SignedDuration::from_secs(3600);
    scene.handle().add_many((0..80).map(|_| NewMessage::new().received_at(old).ingested_at(old)));
    let receiver = Receiver::in_background();
    let mut relay = scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__CRM__MAX_AGE", "10m").start();
    let id = scene.add();
    receiver.wait(1, &relay);
    assert_eq!(receiver.webhook_ids(), [id]);
    let dead = || scene.count("SELECT count(*) FROM delivery WHERE state = 'dead'");
    wait_until("all dead letters", || dead() == 80, || relay.log());
    assert_eq!(relay.stop().code(), Some(0));
    let log = relay.log();
    assert_eq!(log.matches(&format!("ERROR {MESSAGE_IS_DEAD} message.id=")).count(), 50, "{log}");
    let report = format!("lines=30 repeated=\"{MESSAGE_IS_DEAD}\" sink.name=\"crm\"\n");
    assert!(log.contains(&format!("ERROR lines that repeat were left out of the log {report}")), "{log}");
}

#[test]
fn a_log_file_that_is_cut_off_by_logrotate_gets_no_hole() {
    let scene = Scene::new();
    let path = scene.dir().join("log");
    let receiver = Receiver::in_background();
    let mut relay = scene.setup().sink(&receiver.url()).start_with_stderr(File::create(&path).unwrap());
    wait_until("the start", || read(&path).contains("relaying"), String::new);
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert_eq!(relay.stop().code(), Some(0));
    let log = read(&path);
    assert!(!log.contains('\0') && log.contains("INFO stopped;"), "{log:?}");
}

#[test]
fn in_the_journal_lines_have_a_priority_and_elsewhere_a_time() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let path = scene.dir().join("log");
    let log = |journal: &str, args: &[&str]| {
        let setup = scene.setup().sink(&receiver.url()).env("JOURNAL_STREAM", journal);
        let mut relay = { setup }.args(args).start_with_stderr(File::options().append(true).open(&path).unwrap());
        relay.wait();
        let log = read(&path);
        std::fs::write(&path, "").unwrap();
        log
    };
    File::create(&path).unwrap();
    let found = std::fs::metadata(&path).unwrap();
    let journal = format!("{}:{}", found.dev(), found.ino());
    let lines = log(&journal, &["once"]);
    assert!(lines.lines().all(|line| line.starts_with("<6> INFO ")), "{lines}");
    let lines = log("8:15", &["once"]);
    assert!(lines.lines().all(|line| line.starts_with("20")), "stderr is another file than the journal: {lines}");
    // Before the log begins, every line of an error is an error.
    let lines = log(&journal, &["--config", "/nowhere"]);
    assert!(lines.lines().count() > 1 && lines.lines().all(|line| line.starts_with("<3>")), "{lines}");
    let lines = log("8:15", &["--config", "/nowhere"]);
    assert!(lines.starts_with("joltsms-relay: "), "{lines}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
