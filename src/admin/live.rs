//! What a running relay says of itself: the file `relay.status` beside the state.
//!
//! It holds what need not survive a power cut and would cost a flush for each poll in the state: when the API last
//! answered, what is wrong, what the server said of the budget, what each sink is doing. It is written in place, at most
//! once a second, and never flushed. Losing it loses nothing.
//!
//! Format: two slots of equal length, written in turn. A slot begins with a line of text, `joltsms-relay status 1 LENGTH
//! COUNT CHECK`: the format, the length of what follows in bytes, a number that counts up with each writing, and the first
//! 16 hexadecimal digits of the SHA-256 of what follows. Then comes one JSON object; see [`Live`]. Of the slots that are
//! whole the one with the higher number counts, so a reader never sees half of anything. Mode 0600.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::UnixMs;
use crate::files;

/// Times are milliseconds since the Unix epoch, by the relay's time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// The version of the relay.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started_at: i64,
    /// When this was written.
    pub written_at: i64,
    /// When it ended, if it ended as it should.
    pub stopped_at: Option<i64>,
    /// `poll.interval`.
    pub interval_ms: u64,
    /// How polling is going, in one word.
    pub condition: String,
    /// Why, where something is wrong.
    pub why: Option<String>,
    /// Since when.
    pub condition_since: Option<i64>,
    /// When the newest page was last read.
    pub last_poll: Option<i64>,
    /// By how much the API's clock is ahead of the relay's time.
    pub server_ahead_ms: Option<i64>,
    /// How many messages there are, by the API's word.
    pub total: Option<u64>,
    /// The size of SQLite's journal, in bytes, while another program keeps it from being emptied.
    pub journal_held: Option<u64>,
    /// How quickly older messages are read, in pages a minute.
    pub pages_per_minute: Option<f64>,
    /// `api.requests_per_minute`.
    pub requests_per_minute: u32,
    /// What the API's headers say of the limit.
    pub server_limit: Option<u32>,
    /// Requests left, by those headers.
    pub server_remaining: Option<u32>,
    /// When that begins anew.
    pub server_resets_at: Option<i64>,
    /// Requests of other programs in the last window.
    pub foreign: u32,
    /// Why the list of numbers cannot be read while messages wait for it.
    pub numbers_why: Option<String>,
    /// Since when.
    pub numbers_since: Option<i64>,
    /// The sinks of the configuration.
    pub sinks: Vec<LiveSink>,
}

/// What one sink is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveSink {
    /// Its name.
    pub name: String,
    /// Deliveries under way.
    pub in_flight: usize,
    /// When the first of the failures was seen that no success followed.
    pub failing_since: Option<i64>,
    /// What holds it that passes by itself: `busy` or `probing`.
    pub held: Option<String>,
    /// When it is tried again, where that is known.
    pub held_until: Option<i64>,
    /// How many requests a minute are made, where the receiver limits that by refusing others.
    pub learned_per_minute: Option<u64>,
}

/// The file, opened by the relay that writes it.
#[derive(Debug)]
pub struct LiveFile {
    file: File,
    slot: u64,
    count: u64,
    complained: bool,
}

const NAME: &str = "relay.status";
const MAGIC: &str = "joltsms-relay status 1";

/// More is not ours.
const MAX_BYTES: u64 = 4 << 20;

impl LiveFile {
    /// Opens or makes the file in `dir`, with room for so many sinks. What an earlier relay wrote goes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(dir: &Path, sinks: usize) -> io::Result<Self> {
        let slot = 4096 * (1 + u64::try_from(sinks).unwrap_or(0).div_ceil(8));
        let file = files::open_or_make(&dir.join(NAME))?;
        file.set_len(0)?;
        // All the room that it will ever need, so that a disk that fills up later does not matter.
        let empty = vec![b'\n'; usize::try_from(2 * slot).unwrap_or(0)];
        file.write_all_at(&empty, 0)?;
        Ok(Self { file, slot, count: 0, complained: false })
    }

    /// Writes it down. What does not work is said once; nothing depends on it.
    pub fn write(&mut self, live: &Live) {
        self.count += 1;
        let written = slot(live, self.count, self.slot)
            .and_then(|bytes| self.file.write_all_at(&bytes, (self.count % 2) * self.slot));
        if let Err(error) = written
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(%error, "what `joltsms-relay status` shows of the running relay cannot be written");
        }
    }
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
    Sha256::digest(json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Live {
    /// What the relay on the state in `dir` last said of itself; nothing if it never did, or if this version does not
    /// understand it.
    pub fn read(dir: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        files::open_to_read(&dir.join(NAME)).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let (_, newest) = [first, second].into_iter().filter_map(read_slot).max_by_key(|(count, _)| *count)?;
        Some(newest)
    }

    /// What the relay says of a sink.
    pub fn sink(&self, name: &str) -> Option<&LiveSink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }

    /// Whether the relay wrote lately, so that it can be thought to run where nothing better is known.
    pub fn is_recent(&self, now: UnixMs) -> bool {
        self.stopped_at.is_none() && now.0.saturating_sub(self.written_at) < 15_000
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
    use std::fs;

    use super::*;

    fn live(pid: u32) -> Live {
        let sink =
            LiveSink { name: "crm".into(), held: Some("busy".into()), held_until: Some(7), ..Default::default() };
        Live {
            version: "0.1.0".into(),
            pid,
            why: Some("502 from the API".into()),
            sinks: vec![sink],
            ..Live::default()
        }
    }

    #[test]
    fn the_last_that_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Live::read(dir.path()), None);
        let mut file = LiveFile::open(dir.path(), 1).unwrap();
        assert_eq!(Live::read(dir.path()), None, "nothing was said yet");
        for pid in 1..5 {
            file.write(&live(pid));
            assert_eq!(Live::read(dir.path()), Some(live(pid)));
        }
        drop(LiveFile::open(dir.path(), 1).unwrap());
        assert_eq!(Live::read(dir.path()), None, "a new relay begins anew");
    }

    #[test]
    fn half_a_slot_never_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut file = LiveFile::open(dir.path(), 1).unwrap();
        file.write(&live(1));
        let before = fs::read(&path).unwrap();
        file.write(&live(2));
        let after = fs::read(&path).unwrap();
        assert_eq!(before.len(), after.len());
        let changed: Vec<usize> = (0..after.len()).filter(|&at| before[at] != after[at]).collect();
        // Cut off anywhere, and with any part of it missing.
        for &cut in &changed {
            let torn = [&after[..cut], &before[cut..]].concat();
            fs::write(&path, torn).unwrap();
            assert!([Some(live(1)), Some(live(2))].contains(&Live::read(dir.path())), "cut at {cut}");
            let mut holed = after.clone();
            holed[cut] ^= 0x55;
            fs::write(&path, holed).unwrap();
            assert_eq!(Live::read(dir.path()), Some(live(1)), "a hole at {cut}");
        }
    }

    #[test]
    fn what_is_not_ours_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in ["", "x", "joltsms-relay status 2 2 1 44136fa355b3678a\n{}", &"\n".repeat(8192)] {
            fs::write(dir.path().join(NAME), bytes).unwrap();
            assert_eq!(Live::read(dir.path()), None, "{bytes:?}");
        }
    }

    #[test]
    fn many_sinks_find_room() {
        let dir = tempfile::tempdir().unwrap();
        let name = "a".repeat(64);
        let sink = LiveSink {
            name,
            in_flight: 256,
            failing_since: Some(1_750_000_000_000),
            held: Some("probing".into()),
            held_until: Some(1_750_000_000_000),
            learned_per_minute: Some(60_000),
        };
        for count in [0, 1, 100, 1000] {
            let live = Live { sinks: vec![sink.clone(); count], why: Some("x".repeat(1000)), ..live(1) };
            LiveFile::open(dir.path(), count).unwrap().write(&live);
            assert_eq!(Live::read(dir.path()), Some(live));
        }
    }
}
