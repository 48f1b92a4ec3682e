//! The file `relay.status` beside the state, into which a running relay writes a report about itself.
//!
//! The file holds values such as the time of the API's last answer, the API's limit, and what each sink is doing. They
//! need not survive a power cut. In `state.db` they would cost a flush for each poll. So the relay writes them to this
//! file instead, at most once a second. It writes over the old content and never flushes the file. If the file is lost,
//! the values are missing until it is written again.
//!
//! Format: two slots of equal length, written in turn. A slot begins with a line of text, `joltsms-relay status 2
//! LENGTH COUNT CHECK`: the format, the length of the content in bytes, a number that grows by one with each writing,
//! and the first 16 hexadecimal digits of the SHA-256 of the content. The content follows, one JSON object, [`Live`]. A
//! program that reads the file uses the intact slot with the highest number, so it never sees a report that is only
//! half written. The mode of the file is 0600.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::reload_report::ReloadReport;
use crate::delivery::SinkStatus;
use crate::domain::UnixMs;
use crate::files;
use crate::ingest::{ApiBudget, CatchUp, FeedReport, PollReport, StorageReport};

/// The report that a running relay writes about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// The process.
    pub relay: RelayReport,
    /// `poll.interval`, in milliseconds.
    pub interval_ms: u64,
    /// The shortest time between two polls that the API's limit allows, in milliseconds; zero if the limit does not
    /// matter.
    pub spacing_ms: u64,
    /// How the API is polled.
    pub polling: PollReport,
    /// The values that the API states about its request limit.
    pub budget: ApiBudget,
    /// The disk on which the state lies.
    pub storage: StorageReport,
    /// The values that the API states about its feed.
    pub feed: FeedReport,
    /// How the reading of older messages goes; `None` while there are no older messages to read.
    pub catch_up: Option<CatchUp>,
    /// The sinks of the configuration, by name.
    pub sinks: BTreeMap<String, SinkStatus>,
}

/// The process of a relay. Instants are by the relay's time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayReport {
    /// The version of the relay.
    pub version: String,
    /// The id of the process, as long as it runs.
    pub pid: Option<u32>,
    /// When the relay started.
    pub started_at: UnixMs,
    /// When the relay last wrote this report.
    pub last_heard_at: UnixMs,
    /// When the relay ended. `None` while it runs, and after a kill.
    pub stopped_at: Option<UnixMs>,
    /// Whether the process stands by, because another relay that shares the state is the active one.
    pub stands_by: bool,
    /// Whether the process is or was the command `once`.
    pub once: bool,
    /// When `once` ended, if it had read everything and delivered what was due.
    pub caught_up_at: Option<UnixMs>,
    /// The failure with which the relay ended; `None` if it ended because of a signal, or because its work was done.
    /// For `once`, a signal counts as a failure, too, and so do messages that wait for another attempt.
    pub failure: Option<String>,
    /// Whether the relay ended because the state is damaged.
    pub damaged: bool,
    /// The outcome of the last reload.
    #[serde(flatten)]
    pub reload: ReloadReport,
}

/// The file `relay.status`, opened by the relay that writes it.
#[derive(Debug)]
pub struct LiveFile {
    file: File,
    slot: u64,
    count: u64,
    complained: bool,
}

const NAME: &str = "relay.status";
const MAGIC: &str = "joltsms-relay status 2";

/// The most bytes of the file that are read. No relay writes a larger file.
const MAX_BYTES: u64 = 4 << 20;

impl LiveFile {
    /// Opens or makes the file in `dir`, with room for `sinks` sinks. The content that an earlier relay wrote is
    /// removed.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn open(dir: &Path, sinks: usize) -> io::Result<Self> {
        let path = dir.join(NAME);
        let file = files::open_or_make(&path).or_else(|error| replace(&path, error))?;
        let slot = clear(&file, sinks)?;
        Ok(Self { file, slot, count: 0, complained: false })
    }

    /// Writes `live` to the file. If a reload has added sinks, the file is made larger first. The first failure is
    /// logged, further failures are not; nothing depends on the file.
    pub fn write(&mut self, live: &Live) {
        self.count += 1;
        let written = self.make_room(live.sinks.len()).and_then(|()| {
            let bytes = slot(live, self.count, self.slot)?;
            self.file.write_all_at(&bytes, (self.count % 2) * self.slot)
        });
        if let Err(error) = written
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(%error, "the status of the running relay cannot be written to relay.status");
        }
    }
}

/// Opens a new file at `path` in place of something that is no file: a link, a named pipe, a socket or an empty
/// directory. None of these has content that would be lost. Returns `error` if `path` is a file, or if nothing is
/// there.
fn replace(path: &Path, error: io::Error) -> io::Result<File> {
    let Ok(found) = path.symlink_metadata() else { return Err(error) };
    if found.is_file() {
        return Err(error);
    }
    let removed = if found.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    if let Err(stays) = removed {
        return Err(io::Error::other(format!("{error}; the thing in its place cannot be removed: {stays}")));
    }
    tracing::warn!(path = %path.display(), %error, "something in the place of relay.status that was no file was removed");
    files::open_or_make(path)
}

impl LiveFile {
    fn make_room(&mut self, sinks: usize) -> io::Result<()> {
        if slot_size(sinks) > self.slot {
            self.slot = clear(&self.file, sinks)?;
        }
        Ok(())
    }
}

/// The size of a slot with room for this many sinks.
fn slot_size(sinks: usize) -> u64 {
    4096 * (1 + u64::try_from(sinks).unwrap_or(0).div_ceil(4))
}

/// Makes the file as large as two slots, and empties both. Returns the size of a slot.
fn clear(file: &File, sinks: usize) -> io::Result<u64> {
    let slot = slot_size(sinks);
    file.set_len(0)?;
    // The file gets its whole length now, so that it can still be written when the disk is full.
    let empty = vec![b'\n'; usize::try_from(2 * slot).unwrap_or(0)];
    file.write_all_at(&empty, 0)?;
    Ok(slot)
}

fn slot(live: &Live, count: u64, room: u64) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(live)?;
    let line = format!("{MAGIC} {} {count} {}\n", json.len(), check(json.as_bytes()));
    let mut bytes = (line + &json).into_bytes();
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if bytes.len() > room {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("{} bytes for a slot of {room}", bytes.len())));
    }
    bytes.resize(room, b'\n');
    Ok(bytes)
}

fn check(json: &[u8]) -> String {
    hex::encode(&Sha256::digest(json)[..8])
}

impl Live {
    /// Reads the report that the relay on the state in `dir` last wrote about itself. `None` if no relay wrote a
    /// report, or if the report is not in the format of this version.
    pub fn read(dir: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        files::open_to_read(&dir.join(NAME)).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let (_, newest) = [first, second].into_iter().filter_map(read_slot).max_by_key(|(count, _)| *count)?;
        Some(newest)
    }

    /// If `relay.status` in `dir` is something other than a file, returns a sentence which says why the relay cannot
    /// write its report.
    pub fn obstacle(dir: &Path) -> Option<String> {
        let path = dir.join(NAME);
        let found = path.symlink_metadata().ok().filter(|found| !found.is_file())?;
        let kind = if found.is_dir() { "a directory" } else { "no file" };
        Some(format!(
            "the relay cannot write its status, because {} is {kind}: move it away and restart the relay",
            path.display()
        ))
    }

    /// Returns whether the relay wrote its report in the last 15 seconds. If so, it probably runs.
    pub fn is_recent(&self, now: UnixMs) -> bool {
        self.relay.stopped_at.is_none() && now.0.saturating_sub(self.relay.last_heard_at.0) < 15_000
    }

    /// Returns `poll.interval`.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// Returns how much longer than `poll.interval` the time between two polls is, because of the API's limit.
    pub fn slowed_by(&self) -> Duration {
        Duration::from_millis(self.spacing_ms.saturating_sub(self.interval_ms))
    }
}

fn read_slot(slot: &[u8]) -> Option<(u64, Live)> {
    let end = slot.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&slot[..end]).ok()?;
    let mut words = line.strip_prefix(MAGIC)?.split_whitespace();
    let length: usize = words.next()?.parse().ok()?;
    let count: u64 = words.next()?.parse().ok()?;
    let json = slot.get(end + 1..)?.get(..length)?;
    (words.next()? == check(json)).then_some(())?;
    Some((count, serde_json::from_slice(json).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{BlockedBy, DeliveredMessages};
    use crate::ingest::Condition;

    fn live(pid: u32) -> Live {
        let sink = SinkStatus {
            blocked_by: Some(BlockedBy::Silence { until: UnixMs(7) }),
            in_flight: 3,
            ..SinkStatus::default()
        };
        Live {
            relay: RelayReport { version: "0.1.0".into(), pid: Some(pid), ..RelayReport::default() },
            polling: PollReport { condition: Condition::Failing("502 from the API".into()), ..PollReport::default() },
            sinks: BTreeMap::from([("crm".into(), sink)]),
            ..Live::default()
        }
    }

    #[test]
    fn the_newest_report_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Live::read(dir.path()), None);
        let mut file = LiveFile::open(dir.path(), 1).unwrap();
        assert_eq!(Live::read(dir.path()), None, "no report was written yet");
        for pid in 1..5 {
            file.write(&live(pid));
            assert_eq!(Live::read(dir.path()), Some(live(pid)));
        }
        drop(LiveFile::open(dir.path(), 1).unwrap());
        assert_eq!(Live::read(dir.path()), None, "a new relay begins anew");
    }

    #[test]
    fn a_slot_that_is_half_written_or_damaged_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut file = LiveFile::open(dir.path(), 1).unwrap();
        file.write(&live(1));
        let before = fs::read(&path).unwrap();
        file.write(&live(2));
        let after = fs::read(&path).unwrap();
        assert_eq!(before.len(), after.len());
        let changed: Vec<usize> = (0..after.len()).filter(|&at| before[at] != after[at]).collect();
        // Writing is cut off at each changed byte in turn, and each changed byte is damaged in turn.
        for &cut in &changed {
            let torn = [&after[..cut], &before[cut..]].concat();
            fs::write(&path, torn).unwrap();
            assert!([Some(live(1)), Some(live(2))].contains(&Live::read(dir.path())), "cut at {cut}");
            let mut holed = after.clone();
            holed[cut] ^= 0x55;
            fs::write(&path, holed).unwrap();
            assert_eq!(Live::read(dir.path()), Some(live(1)), "damaged at {cut}");
        }
    }

    #[test]
    fn a_file_in_another_format_holds_no_report() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in ["", "x", "joltsms-relay status 3 2 1 44136fa355b3678a\n{}", &"\n".repeat(8192)] {
            fs::write(dir.path().join(NAME), bytes).unwrap();
            assert_eq!(Live::read(dir.path()), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_file_is_replaced_unless_something_would_be_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let make: [fn(&Path); 3] = [
            |path| fs::create_dir(path).unwrap(),
            |path| {
                let kind = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), 0).unwrap();
            },
            |path| std::os::unix::fs::symlink("/nowhere", path).unwrap(),
        ];
        for make in make {
            make(&path);
            assert!(Live::obstacle(dir.path()).is_some());
            LiveFile::open(dir.path(), 1).unwrap().write(&live(1));
            assert_eq!((Live::read(dir.path()), Live::obstacle(dir.path())), (Some(live(1)), None));
            fs::remove_file(&path).unwrap();
        }
        fs::create_dir(&path).unwrap();
        fs::write(path.join("kept"), "").unwrap();
        let refused = LiveFile::open(dir.path(), 1).unwrap_err().to_string();
        assert!(refused.contains("the thing in its place cannot be removed: "), "{refused}");
        assert!(path.join("kept").exists());
        let said = Live::obstacle(dir.path()).unwrap();
        assert!(said.contains("relay.status is a directory: move it away and restart the relay"), "{said}");
    }

    #[test]
    fn a_file_grows_with_the_sinks() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LiveFile::open(dir.path(), 1).unwrap();
        for count in [1, 100, 2] {
            let sinks = (0..count).map(|number| (format!("{number:064}"), SinkStatus::default())).collect();
            let live = Live { sinks, ..live(count) };
            file.write(&live);
            assert_eq!(Live::read(dir.path()), Some(live));
        }
    }

    #[test]
    fn many_sinks_find_room() {
        let dir = tempfile::tempdir().unwrap();
        let instant = UnixMs(1_750_000_000_000);
        let sink = SinkStatus {
            in_flight: 256,
            failing_since: Some(instant),
            blocked_by: Some(BlockedBy::Breaker { next_probe: Some(instant) }),
            learned_per_minute: Some(60_000),
            last_failure: Some("\u{20ac}\\\"".repeat(32)),
            delivered: DeliveredMessages { count: u64::MAX, last_at: Some(instant) },
            ..SinkStatus::default()
        };
        for count in [0, 1, 100, 1000] {
            let sinks = (0..count).map(|number| (format!("{number:064}"), sink.clone())).collect();
            let mut live = Live { sinks, ..live(1) };
            live.polling.condition = Condition::Failing("x".repeat(200));
            live.relay.reload.reload_failed(instant, &"\u{20ac}".repeat(1000));
            LiveFile::open(dir.path(), count).unwrap().write(&live);
            assert_eq!(Live::read(dir.path()), Some(live));
        }
    }
}
