//! Tests of standard output: readers that go away, slow readers, and a stream that is full.

use joltsms_relay::delivery::log_sentences::{OUTPUT_IS_CLOSED, SINK_FAILS};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, PipeReader, Read as _, Seek as _, SeekFrom, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use joltsms_relay::daemon::log_sentences::{STOPPED, STOPPED_AT_ONCE, STOPPING};

use crate::support::cases::side_by_side;
use crate::support::machine::system_calls::Faults;
use crate::support::relay::Relay;
use crate::support::relay::process::id_of;
use crate::support::relay::terminal::terminal;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

fn read_id(reader: &mut BufReader<PipeReader>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    id_of(&line)
}

/// Waits until every message that was written is settled as delivered.
fn wait_until_settled(scene: &Scene, relay: &Relay) {
    let waiting = || scene.count("SELECT count(*) FROM delivery WHERE state <> 'delivered'");
    wait_until("the settlement", || waiting() == 0, || relay.log());
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly_and_the_rest_is_kept() {
    let scene = Scene::new();
    scene.add_past(1);
    let (reader, writer) = pipe().unwrap();
    let mut relay = scene.setup_from_beginning().start_with_stdout(writer);
    let mut reader = BufReader::new(reader);
    assert_eq!(read_id(&mut reader), scene.ids()[0]);
    wait_until_settled(&scene, &relay);
    drop(reader);
    let ids = [scene.add(), scene.add(), scene.add()];
    assert_eq!(relay.wait().code(), Some(0));
    assert!(!relay.log().contains("WARN") && !relay.log().contains("ERROR"), "{}", relay.log());
    let relay = scene.setup().start();
    assert_eq!(relay.ids(3), ids);
    ends_with_nothing_more(relay);
}

#[test]
fn once_says_that_work_is_left_when_its_reader_is_gone() {
    let scene = Scene::new();
    scene.add_past(15);
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut relay = scene.setup_from_beginning().args(&["once"]).start_with_stdout(writer);
    assert_eq!(relay.wait().code(), Some(75), "{}", relay.log());
    let (code, stdout, log) = scene.setup_from_beginning().args(&["once"]).output();
    assert_eq!((code, stdout.lines().map(id_of).collect::<Vec<_>>()), (0, scene.ids()), "{log}");
}

#[test]
fn beside_another_sink_a_closed_stdout_is_paused_and_said() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut setup = scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__OUT__TYPE", "stdout");
    let mut relay = setup.start_with_stdout(writer);
    let said = format!("{OUTPUT_IS_CLOSED} sink.name=\"out\"");
    relay.wait_for_log(&said);
    receiver.wait(3, &relay);
    let id = scene.add();
    receiver.wait(4, &relay);
    assert_eq!(receiver.received()[3].webhook_id(), id);
    assert_eq!(relay.log().matches("nobody reads").count(), 1);
    assert_eq!(relay.stop().code(), Some(0));
    let relay = setup.start();
    let mut arrived = relay.ids(4);
    arrived.sort_unstable();
    let mut expected = scene.ids();
    expected.sort_unstable();
    assert_eq!(arrived, expected, "it was kept");
    ends_with_nothing_more(relay);
    assert_eq!(receiver.count(), 4, "and the other sink has nothing to do with it");
}

#[test]
fn where_it_was_closed_from_the_start_nothing_is_lost() {
    let scene = Scene::new();
    scene.add_past(3);
    let said = "WARN standard output is closed: its messages are kept";
    let mut relay = scene.setup_from_beginning().behind("exec \"$0\" \"$@\" >&-").start();
    assert_eq!(relay.wait().code(), Some(0), "{}", relay.log());
    assert!(relay.log().contains(said), "{}", relay.log());
    let mut relay = scene.setup().args(&["once"]).behind("exec \"$0\" \"$@\" >&-").start();
    assert_eq!(relay.wait().code(), Some(75), "{}", relay.log());
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state <> 'delivered'"), 3);
    // A user may throw messages away on purpose.
    let relay = scene.setup().behind("exec \"$0\" \"$@\" > /dev/null").start();
    wait_until_settled(&scene, &relay);
    assert!(!relay.log().contains(said), "{}", relay.log());
    ends_with_nothing_more(relay);
}

/// Starts a relay whose stdout nobody reads. The stream has no room even for the first line.
fn stuck(scene: &Scene) -> (Relay, BufReader<UnixStream>) {
    scene.add_past(40);
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let fill = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    while !writer.write(b"\n").is_err_and(|error| fill(&error)) {}
    writer.set_nonblocking(false).unwrap();
    let relay = scene.setup_from_beginning().start_with_stdout(OwnedFd::from(writer));
    relay.wait_for_log("relaying messages");
    let released = || scene.count("SELECT count(*) FROM delivery WHERE state = 'fresh'");
    wait_until("all to be written", || released() == 40, || relay.log());
    (relay, BufReader::new(reader))
}

fn rest_of(mut reader: BufReader<UnixStream>) -> Vec<String> {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(id_of).collect()
}

#[test]
fn a_reader_that_is_slow_is_waited_for() {
    let scene = Scene::new();
    let (mut relay, reader) = stuck(&scene);
    let requests = scene.handle().counters().requests;
    scene.wait_until(|handle| handle.counters().requests > requests + 3);
    let late = scene.add();
    wait_until("polling beside it", || scene.count("SELECT count(*) FROM message") == 41, || relay.log());
    let lines = reader.lines().map(Result::unwrap).filter(|line| !line.is_empty());
    let mut arrived: Vec<String> = lines.take(41).map(|line| id_of(&line)).collect();
    let place = arrived.iter().position(|id| *id == late).unwrap();
    assert!(place < 10, "a new message does not wait for all older ones");
    arrived.remove(place);
    assert_eq!(arrived, scene.ids()[..40], "in order, each once");
    wait_until_settled(&scene, &relay);
    assert!(!relay.log().contains("WARN"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
    let relay = scene.setup().start();
    let id = scene.add();
    assert_eq!(relay.ids(1), [id], "nothing twice");
    ends_with_nothing_more(relay);
}

#[test]
fn a_stop_waits_for_the_line_that_is_being_written() {
    let scene = Scene::new();
    let (mut relay, reader) = stuck(&scene);
    relay.signal("TERM");
    relay.wait_for_log(STOPPING);
    let mut arrived = rest_of(reader);
    assert_eq!(relay.wait().code(), Some(0));
    assert!(!arrived.is_empty());
    assert!(relay.log().contains(STOPPED), "{}", relay.log());
    let relay = scene.setup().start();
    arrived.extend(relay.ids(40 - arrived.len()));
    assert_eq!(arrived, scene.ids(), "in order, each once");
    ends_with_nothing_more(relay);
}

#[test]
fn a_second_signal_does_not_wait_for_a_reader_that_never_reads() {
    let scene = Scene::new();
    let (mut relay, reader) = stuck(&scene);
    relay.signal("TERM");
    relay.wait_for_log(STOPPING);
    relay.signal("INT");
    assert_eq!(relay.wait().code(), Some(0));
    relay.wait_for_log(STOPPED_AT_ONCE);
    assert_eq!(rest_of(reader), Vec::<String>::new());
    let relay = scene.setup().start();
    assert_eq!(relay.ids(40), scene.ids());
    ends_with_nothing_more(relay);
}

#[test]
fn a_full_stream_is_tried_again() {
    let scene = Scene::new();
    scene.add_past(3);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut setup =
        scene.setup_from_beginning().set("SINKS__OUT__TYPE", "stdout").set("SINKS__OUT__RETRY__INITIAL", "100ms");
    let mut relay = setup.start_with_stdout(full);
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"out\" reason=\"cannot write the line: "));
    assert_eq!(relay.stop().code(), Some(0));
    let relay = setup.start();
    let mut arrived = relay.ids(3);
    arrived.sort_unstable();
    let mut expected = scene.ids();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    ends_with_nothing_more(relay);
}

/// Opens a file for writing.
type Opening = fn(&Path) -> File;

/// A line that a process left unfinished when the process died.
const TORN: &str = r#"{"id":"torn","numberId":"num_1","body":"your co"#;

#[test]
fn a_line_that_was_torn_by_a_death_is_not_mixed_with_the_next() {
    let appended = |path: &Path| OpenOptions::new().append(true).open(path).unwrap();
    let shared = |path: &Path| {
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file
    };
    let cases: [(&str, Opening); 2] = [("appended to", appended), ("shared", shared)];
    side_by_side(&cases, |open| {
        let scene = Scene::new();
        scene.add_past(3);
        let path = scene.dir().join("lines.jsonl");
        fs::write(&path, format!("{{\"id\":\"whole\"}}\n{TORN}")).unwrap();
        let mut setup = scene.setup_from_beginning();
        let mut relay = setup.start_with_stdout(open(&path));
        wait_until_delivered(&scene, 3, &relay);
        assert_eq!(relay.stop().code(), Some(0));
        assert!(relay.log().contains("standard output ends in the middle of a line"), "{}", relay.log());
        let mut expected = vec!["{\"id\":\"whole\"}".to_owned(), TORN.to_owned()];
        expected.extend(scene.handle().rows().into_iter().rev().map(|row| row.json));
        assert_eq!(lines_of(&path), expected);

        // No line is unfinished now, so no empty line may be written.
        let id = scene.add();
        let mut relay = setup.start_with_stdout(open(&path));
        wait_until_delivered(&scene, 4, &relay);
        assert_eq!(relay.stop().code(), Some(0));
        assert!(!relay.log().contains("in the middle of a line"), "{}", relay.log());
        expected.push(scene.handle().row(&id).unwrap().json);
        assert_eq!(lines_of(&path), expected);
    });
}

#[test]
fn a_line_that_a_limit_on_the_file_s_size_has_cut_is_not_mixed_with_the_next() {
    const LIMIT: usize = 8 << 20;
    let scene = Scene::new();
    scene.add_past(3);
    let path = scene.dir().join("lines.jsonl");
    // The file has room only for a part of a line.
    fs::write(&path, "\n".repeat(LIMIT - 100)).unwrap();
    let append = || OpenOptions::new().append(true).open(&path).unwrap();
    let mut setup = scene.setup_from_beginning().set("SINKS__OUT__TYPE", "stdout");
    // `ulimit -f` counts blocks of 512 bytes.
    let mut limited = setup.behind(&format!("ulimit -f {}; exec \"$0\" \"$@\"", LIMIT / 512));
    let mut relay = limited.start_with_stdout(append());
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"out\" reason=\"cannot write the line: File too large"));
    assert_eq!(fs::metadata(&path).unwrap().len(), LIMIT as u64, "a part of a line was written");
    relay.kill();
    let mut relay = setup.start_with_stdout(append());
    wait_until_delivered(&scene, 3, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    let lines = lines_of(&path).split_off(LIMIT - 100);
    let rows: Vec<String> = scene.handle().rows().into_iter().rev().map(|row| row.json).collect();
    assert!(rows.iter().any(|row| row.starts_with(&lines[0])) && lines[0].len() == 100, "{lines:?}");
    let mut arrived = lines[1..].to_vec();
    arrived.sort_unstable();
    let mut expected = rows.clone();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
}

fn wait_until_delivered(scene: &Scene, count: i64, relay: &Relay) {
    let delivered = || {
        scene.dir().join("state/state.db").exists()
            && scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == count
    };
    wait_until("every delivery", delivered, || relay.log());
}

fn lines_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn indented_messages_become_lines_and_stay_as_they_are_over_http() {
    let scene = Scene::with(|switches| switches.pretty = true);
    let receiver = Receiver::in_background();
    let mut setup = scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__OUT__TYPE", "stdout");
    let id = scene.handle().add(joltsms_simulator::NewMessage::new().from("A  B").body("two\nlines, {\"a\" : 1}"));
    let relay = setup.start();
    let line = relay.line();
    receiver.wait(1, &relay);
    let indented = scene.handle().row(&id).unwrap().json;
    assert!(indented.contains("\n      \"id\": "), "this test needs white space");
    assert_eq!(receiver.received()[0].body, indented.as_bytes());
    scene.handle().set_switches(|switches| switches.pretty = false);
    assert_eq!(line, scene.handle().row(&id).unwrap().json);
    ends_with_nothing_more(relay);
}

fn file_sink(scene: &Scene) -> (PathBuf, Relay) {
    let path = scene.dir().join("lines.jsonl");
    let setup = scene.setup_from_beginning().set("SINKS__OUT__TYPE", "stdout");
    let mut setup = setup.set("SINKS__OUT__RETRY__INITIAL", "100ms").set("SINKS__OUT__RETRY__MAX", "100ms");
    let relay = setup.start_with_stdout(File::create(&path).unwrap());
    (path, relay)
}

#[test]
fn a_file_that_is_cut_off_by_logrotate_gets_no_hole() {
    let scene = Scene::new();
    scene.add_past(2);
    let (path, mut relay) = file_sink(&scene);
    wait_until_delivered(&scene, 2, &relay);
    // logrotate's `copytruncate` copies the file and then does this.
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    let id = scene.add();
    wait_until_delivered(&scene, 3, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    assert_eq!(lines_of(&path), [scene.handle().row(&id).unwrap().json]);
}

#[test]
fn a_line_that_cannot_be_flushed_to_the_disk_is_not_delivered() {
    let scene = Scene::new();
    scene.add_past(1);
    let (path, mut relay) = file_sink(&scene);
    wait_until_delivered(&scene, 1, &relay);
    let Some(faults) = Faults::begin(&relay, "fdatasync", std::slice::from_ref(&path), "EIO") else { return };
    scene.add();
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"out\" reason=\"cannot flush the file: Input/output error"));
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'"), 1);
    faults.end();
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    let mut ids: Vec<String> = lines_of(&path).iter().map(|line| id_of(line)).collect();
    ids.dedup();
    assert_eq!(ids, scene.ids());
}

#[test]
fn a_file_system_that_cannot_flush_is_said_once_and_used_as_it_is() {
    let scene = Scene::new();
    scene.add_past(1);
    let (path, mut relay) = file_sink(&scene);
    wait_until_delivered(&scene, 1, &relay);
    let Some(faults) = Faults::begin(&relay, "fdatasync", std::slice::from_ref(&path), "EINVAL") else { return };
    for delivered in 2..=3 {
        scene.add();
        wait_until_delivered(&scene, delivered, &relay);
    }
    faults.end();
    assert_eq!(relay.stop().code(), Some(0));
    assert_eq!(relay.log().matches("INFO standard output is a file that cannot be flushed").count(), 1);
    assert_eq!(lines_of(&path).len(), 3);
}

#[test]
fn a_terminal_that_is_gone_ends_it_also_with_a_file() {
    let hangup: fn(&Scene, &Relay) = |_, relay| relay.signal("HUP");
    let message: fn(&Scene, &Relay) = |scene, _| drop(scene.add());
    side_by_side(&[("it hears of that", hangup), ("it writes to it", message)], |end| {
        let scene = Scene::new();
        scene.add_past(1);
        let file = scene.file("[poll]\nstart = \"beginning\"\n");
        let (screen, side) = terminal();
        let mut relay = scene.setup().args(&["run", "--config", &file]).start_with_stdout(side);
        wait_until_delivered(&scene, 1, &relay);
        drop(screen);
        end(&scene, &relay);
        assert_eq!(relay.wait().code(), Some(0), "{}", relay.log());
        assert!(!relay.log().contains("SIGHUP") && !relay.log().contains("ERROR"), "{}", relay.log());
        let id = scene.add();
        let relay = scene.setup().args(&["run", "--config", &file]).start();
        while relay.ids(1) != std::slice::from_ref(&id) {}
        ends_with_nothing_more(relay);
    });
}

#[test]
fn a_terminal_that_is_gone_does_not_end_other_sinks_and_asks_for_no_reload() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let file = scene.file("[poll]\nstart = \"beginning\"\n");
    let (screen, side) = terminal();
    let mut setup = scene.setup().sink(&receiver.url()).args(&["run", "--config", &file]);
    let mut relay = setup.start_with_stdout(side);
    scene.add();
    receiver.wait(1, &relay);
    drop(screen);
    relay.signal("HUP");
    relay.wait_for_log("WARN the terminal is gone; the relay goes on without it");
    scene.add();
    receiver.wait(2, &relay);
    assert!(!relay.log().contains("SIGHUP"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}
