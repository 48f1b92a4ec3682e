//! The requests of commands such as `verify`, which use the same API key as the relay and may run beside it.
//!
//! Invariants: relay and commands together keep to the limit. A command records each request in the file
//! `budget.commands` before the request leaves. It does not send the request if the relay's `budget.ring` and this file
//! together show that no slot is free. The relay counts the requests of `budget.commands` in its window. While a relay
//! runs, commands use at most half of the limit (rounded up).
//!
//! Format: slots of 8 bytes, as in the [`Ring`]. A request takes the first free slot. If there is none, the file grows
//! by a slot. The times are the relay's time.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::WINDOW;
use super::ring::Ring;
use super::server_limit::SLACK;
use crate::domain::UnixMs;
use crate::files;

/// The name of the file in the state directory.
const FILE: &str = "budget.commands";

/// While a relay runs, commands leave one slot of every 20 slots of the limit free.
const KEPT_FREE: u64 = 20;

/// The budget for the requests of a command.
#[derive(Debug)]
pub struct CommandBudget {
    file: File,
    ring: PathBuf,
    limit: u64,
}

/// Identifies a request of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandTicket(u64);

impl CommandBudget {
    /// Opens the file in the state directory `dir`, which must exist. `limit` is the most requests in a minute.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn open(dir: &Path, limit: u32) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = match files::open_to_write(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => match files::make(&path) {
                // Another command was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => files::open_to_write(&path)?,
                made => made?,
            },
            opened => opened?,
        };
        Ok(Self { file, ring: dir.join("budget.ring"), limit: u64::from(limit) })
    }

    /// Records that a request leaves at `now`, the relay's time. If no request may leave yet, records nothing, and
    /// returns how long the command has to wait before it asks again. `beside_relay` says whether a relay runs on the
    /// state.
    ///
    /// # Errors
    /// Errors of the file system. After an error the request must not leave.
    pub fn reserve(&self, now: UnixMs, beside_relay: bool) -> io::Result<Result<CommandTicket, Duration>> {
        // Two commands at once must not take the same slot.
        self.file.lock()?;
        let reserved = self.reserve_locked(now, beside_relay);
        self.file.unlock()?;
        reserved
    }

    fn reserve_locked(&self, now: UnixMs, beside_relay: bool) -> io::Result<Result<CommandTicket, Duration>> {
        let slots = read_slots(&self.file)?;
        let relay = match Ring::busy(&self.ring, now) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let own: Vec<Duration> = slots.iter().filter_map(|slot| left(*slot, now)).collect();
        if let Some(wait) = wait(self.limit, &own, &relay, beside_relay) {
            return Ok(Err(wait));
        }
        let free = slots.iter().position(|slot| left(*slot, now).is_none()).unwrap_or(slots.len());
        let ticket = CommandTicket(u64::try_from(free).unwrap_or(u64::MAX));
        self.write(ticket, now.0.saturating_neg())?;
        Ok(Ok(ticket))
    }

    /// Records that a request was answered at `now`, the relay's time, or ended without an answer.
    ///
    /// # Errors
    /// Errors of the file system. The request then counts as answered 2 seconds after it was sent.
    pub fn answered(&self, ticket: CommandTicket, now: UnixMs) -> io::Result<()> {
        self.write(ticket, now.0)
    }

    fn write(&self, ticket: CommandTicket, value: i64) -> io::Result<()> {
        self.file.write_all_at(&value.to_be_bytes(), ticket.0.saturating_mul(8))
    }
}

/// Returns how long a command has to wait for a slot; `None` if it need not wait. `own` has, for each used slot of the
/// commands, the time until the slot is free; `relay` has these times for the slots of the relay.
fn wait(limit: u64, own: &[Duration], relay: &[Duration], beside_relay: bool) -> Option<Duration> {
    let count = |slots: &[Duration]| u64::try_from(slots.len()).unwrap_or(u64::MAX);
    let (most, share) = if beside_relay { (limit - limit / KEPT_FREE, limit.div_ceil(2)) } else { (limit, limit) };
    let until_below = |slots: &mut Vec<Duration>, most: u64| {
        slots.sort_unstable();
        let excess = (count(slots) + 1).saturating_sub(most.max(1));
        let last = usize::try_from(excess).ok()?.checked_sub(1)?;
        slots.get(last).copied()
    };
    let mut all = [own, relay].concat();
    until_below(&mut all, most).max(until_below(&mut own.to_vec(), share))
}

/// Returns how long the request of a slot still counts at `now`; `None` if the slot is free. A request without an
/// answer counts as answered [`SLACK`] after its sending.
fn left(slot: i64, now: UnixMs) -> Option<Duration> {
    let answered = match slot {
        0 => return None,
        ..0 => UnixMs(slot.saturating_neg()).after(SLACK),
        1.. => UnixMs(slot),
    };
    // A time in the future was written before the relay's clock was set back, and counts as now.
    (WINDOW + SLACK)
        .checked_sub(now.since(answered))
        .map(|left| left.min(WINDOW + SLACK))
        .filter(|left| !left.is_zero())
}

fn read_slots(mut file: &File) -> io::Result<Vec<i64>> {
    use std::io::{Seek as _, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(slots_of(&bytes))
}

fn slots_of(bytes: &[u8]) -> Vec<i64> {
    bytes.chunks_exact(8).filter_map(|slot| slot.try_into().ok().map(i64::from_be_bytes)).collect()
}

/// The requests of commands that the relay has counted.
#[derive(Debug)]
pub(super) struct CommandRequests {
    path: PathBuf,
    counted: Vec<i64>,
}

impl CommandRequests {
    /// Reads the file in `dir`, for a relay that starts at `now`. Also returns the requests that still count: for each
    /// of them, the time that has passed since its answer.
    pub(super) fn open(dir: &Path, now: UnixMs) -> (Self, Vec<Duration>) {
        let mut requests = Self { path: dir.join(FILE), counted: Vec::new() };
        requests.counted = requests.read();
        let lefts = requests.counted.iter().filter_map(|slot| left(*slot, now));
        let ages = lefts.map(|left| (WINDOW + SLACK).saturating_sub(left)).collect();
        (requests, ages)
    }

    /// Returns how many requests commands have made since the last call.
    pub(super) fn count_new(&mut self) -> usize {
        let slots = self.read();
        let is_new = |(place, slot): (usize, &i64)| is_new(self.counted.get(place).copied().unwrap_or(0), *slot);
        let count = slots.iter().enumerate().filter(|entry| is_new(*entry)).count();
        self.counted = slots;
        count
    }

    /// Reads the slots of the file. A file that cannot be read, for example because it belongs to root, counts as
    /// empty. Then the relay knows the requests of commands only from the API's headers, as requests of other programs.
    fn read(&self) -> Vec<i64> {
        files::read(&self.path).map(|bytes| slots_of(&bytes)).unwrap_or_default()
    }
}

/// Whether a slot holds a request that the relay has not counted. `before` is the content of the slot at the last
/// count, and `slot` is its present content. Each request is counted once, with one exception: if its answer comes more
/// than [`SLACK`] after it was sent, it is counted again then, because the API may have counted it only shortly before
/// the answer.
fn is_new(before: i64, slot: i64) -> bool {
    match (before, slot) {
        (_, 0) => false,
        (before, slot) if before == slot => false,
        (..0, 1..) => UnixMs(slot).since(UnixMs(before.saturating_neg())) > SLACK,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> UnixMs {
        UnixMs(1_000_000_000 + seconds * 1000)
    }

    #[test]
    fn beside_a_relay_commands_leave_room() {
        let slots = |count: u64| (0..count).map(|place| SECOND * u32::try_from(place + 1).unwrap()).collect::<Vec<_>>();
        for (limit, own, relay, beside, expected) in [
            (120, 0, 0, true, None),
            (120, 0, 113, true, None),
            (120, 0, 114, true, Some(1)),
            (120, 0, 119, false, None),
            (120, 0, 120, false, Some(1)),
            (120, 60, 0, true, Some(1)),
            (120, 60, 0, false, None),
            (120, 61, 60, true, Some(4)),
            (1, 0, 0, true, None),
            (1, 0, 1, true, Some(1)),
            (1, 1, 0, false, Some(1)),
        ] {
            let found = wait(limit, &slots(own), &slots(relay), beside);
            assert_eq!(found, expected.map(|seconds| SECOND * seconds), "{limit} {own} {relay} {beside}");
        }
    }

    #[test]
    fn a_slot_is_used_again_after_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let budget = CommandBudget::open(dir.path(), 2).unwrap();
        let first = budget.reserve(at(0), false).unwrap().unwrap();
        let second = CommandBudget::open(dir.path(), 2).unwrap().reserve(at(1), false).unwrap().unwrap();
        assert_ne!(first, second);
        budget.answered(first, at(3)).unwrap();
        budget.answered(second, at(2)).unwrap();
        let wait = budget.reserve(at(10), false).unwrap().unwrap_err();
        assert_eq!(wait, Duration::from_secs(54), "62 seconds after the answer");
        assert_eq!(budget.reserve(at(64), false).unwrap(), Ok(second));
        assert!(budget.reserve(at(64), false).unwrap().is_err());
        assert_eq!(std::fs::metadata(dir.path().join(FILE)).unwrap().len(), 16);
    }

    #[test]
    fn a_relay_counts_each_request_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut relay, before) = CommandRequests::open(dir.path(), at(0));
        assert_eq!((before, relay.count_new()), (vec![], 0));
        let budget = CommandBudget::open(dir.path(), 10).unwrap();
        let first = budget.reserve(at(0), true).unwrap().unwrap();
        assert_eq!((relay.count_new(), relay.count_new()), (1, 0));
        budget.answered(first, at(1)).unwrap();
        assert_eq!(relay.count_new(), 0, "the answer is no request");
        let slow = budget.reserve(at(5), true).unwrap().unwrap();
        assert_eq!(relay.count_new(), 1);
        budget.answered(slow, at(25)).unwrap();
        assert_eq!(relay.count_new(), 1, "the API may have counted it just now");
        let (mut next, before) = CommandRequests::open(dir.path(), at(26));
        assert_eq!(before, [SECOND * 25, SECOND]);
        assert_eq!(next.count_new(), 0);
        budget.reserve(at(70), true).unwrap().unwrap();
        assert_eq!(next.count_new(), 1, "in a slot that was used before");
    }
}
