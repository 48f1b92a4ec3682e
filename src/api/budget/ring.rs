//! The ring: a file that keeps the requests of the last minute for the next process, even if this process is killed.
//!
//! Format: one slot of 8 bytes for each request that the limit allows. The request with the ticket `n` has the slot `n`
//! modulo the number of slots. A slot holds a time in milliseconds since the Unix epoch, as a big-endian integer. If
//! the request was answered, this is the time of the answer; if not, it is the time at which the request was sent,
//! negated. 0 means that the slot was never used. The file is never flushed: the kernel's cache survives a SIGKILL, and
//! after a power cut the API's headers limit the budget.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::window::Ticket;
use crate::domain::UnixMs;
use crate::files;

/// The open ring file.
#[derive(Debug)]
pub struct Ring {
    path: PathBuf,
    file: File,
    slots: u64,
    complained: bool,
}

/// A request that an earlier process made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The request was answered at this time.
    Answered(UnixMs),
    /// The process ended before the answer came.
    UnderWay,
}

impl Recorded {
    /// Returns how long ago the request was answered; `None` if that is not known. A time in the future, which was
    /// written before the relay's clock was set back, counts as now.
    pub fn age(self, now: UnixMs) -> Option<Duration> {
        match self {
            Self::Answered(at) => Some(now.since(at)),
            Self::UnderWay => None,
        }
    }
}

impl Ring {
    /// Opens or makes the file with `requests` slots. Also returns the requests that an existing file holds. If there
    /// are more than `requests`, only the newest are kept and returned.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn open(path: &Path, requests: u32) -> io::Result<(Self, Vec<Recorded>)> {
        let bytes = match files::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut used: Vec<i64> =
            bytes.chunks_exact(8).filter_map(|slot| slot.try_into().ok().map(i64::from_be_bytes)).collect();
        used.retain(|value| *value != 0);
        used.sort_unstable_by_key(|value| value.unsigned_abs());
        let slots = usize::try_from(requests).unwrap_or(usize::MAX);
        if used.len() > slots {
            used.drain(..used.len() - slots);
        }
        // The entries move to the first slots, oldest first, because the window gives its first tickets to them
        // (`Budget::open`).
        let mut image = Vec::with_capacity(slots * 8);
        image.extend(used.iter().flat_map(|value| value.to_be_bytes()));
        image.resize(slots * 8, 0);
        let file = replace(path, &image)?;
        let recorded = used.into_iter().map(|value| match value {
            ..0 => Recorded::UnderWay,
            0.. => Recorded::Answered(UnixMs(value)),
        });
        Ok((Self { path: path.to_owned(), file, slots: u64::from(requests), complained: false }, recorded.collect()))
    }

    /// Returns the limit and the number of requests in the last minute, for processes other than the relay. A request
    /// without an answer counts from its sending.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn look(path: &Path, now: UnixMs) -> io::Result<(u64, u64)> {
        let bytes = files::read(path)?;
        let slots = bytes.chunks_exact(8).filter_map(|slot| slot.try_into().ok().map(i64::from_be_bytes));
        let recent = |value: &i64| *value != 0 && now.since(UnixMs(value.saturating_abs())) < super::WINDOW;
        let limit = u64::try_from(bytes.len() / 8).unwrap_or(u64::MAX);
        Ok((limit, u64::try_from(slots.filter(recent).count()).unwrap_or(u64::MAX)))
    }

    /// Returns the number of slots of the file.
    pub fn requests(&self) -> u32 {
        u32::try_from(self.slots).unwrap_or(u32::MAX)
    }

    /// Gives the file `requests` slots. `entries` are the requests to keep, each with the content of its slot. If the
    /// file cannot be made anew, it keeps its old number of slots. If these are too few, new requests overwrite
    /// requests that still count.
    pub fn resize(&mut self, requests: u32, entries: impl Iterator<Item = (Ticket, i64)>) {
        let slots = u64::from(requests).max(1);
        let mut image = vec![0; usize::try_from(slots * 8).unwrap_or(0)];
        for (ticket, value) in entries {
            let at = usize::try_from(ticket.0 % slots * 8).unwrap_or(0);
            if let Some(slot) = image.get_mut(at..at + 8) {
                slot.copy_from_slice(&value.to_be_bytes());
            }
        }
        match files::aside(|| replace(&self.path, &image)) {
            Ok(file) => (self.file, self.slots) = (file, slots),
            Err(error) => self.complain(&error),
        }
    }

    /// Returns, for each request that still counts, how long it will go on counting. A request without an answer counts
    /// from its sending.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn busy(path: &Path, now: UnixMs) -> io::Result<Vec<Duration>> {
        let bytes = files::read(path)?;
        let slots = bytes.chunks_exact(8).filter_map(|slot| slot.try_into().ok().map(i64::from_be_bytes));
        let ages = slots.filter(|value| *value != 0).map(|value| now.since(UnixMs(value.saturating_abs())));
        Ok(ages.filter_map(|age| super::WINDOW.checked_sub(age)).collect())
    }

    /// Records that request `ticket` leaves.
    pub fn sent(&mut self, ticket: Ticket, wall: UnixMs) {
        self.write(ticket, wall.0.saturating_neg());
    }

    /// Records that request `ticket` has ended.
    pub fn answered(&mut self, ticket: Ticket, wall: UnixMs) {
        self.write(ticket, wall.0);
    }

    fn write(&mut self, ticket: Ticket, value: i64) {
        let slot = ticket.0 % self.slots.max(1);
        if let Err(error) = files::aside(|| self.file.write_all_at(&value.to_be_bytes(), slot * 8)) {
            self.complain(&error);
        }
    }

    /// Logs the first failure to write.
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(%error, "requests cannot be recorded; until they can, a restart may exceed the request budget");
        }
    }
}

/// Puts a file with this content in the place of the file at `path`.
fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    let draft = path.with_extension("ring.new");
    let file = files::make_anew(&draft)?;
    file.write_all_at(content, 0)?;
    fs::rename(&draft, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, requests: u32) -> (Ring, Vec<Recorded>) {
        Ring::open(path, requests).unwrap()
    }

    #[test]
    fn remembers_what_was_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("budget.ring");
        let (mut ring, before) = open(&path, 3);
        assert_eq!(before, []);
        for ticket in 0..5 {
            ring.sent(Ticket(ticket), UnixMs(1000 + i64::try_from(ticket).unwrap()));
        }
        ring.answered(Ticket(3), UnixMs(1010));
        drop(ring);
        let expected = [Recorded::UnderWay, Recorded::UnderWay, Recorded::Answered(UnixMs(1010))];
        assert_eq!(open(&path, 3).1, expected);
        assert_eq!(open(&path, 5).1, expected, "a higher limit keeps all");
        assert_eq!(open(&path, 1).1, expected[2..], "a lower limit keeps the newest");
    }

    #[test]
    fn a_resized_file_keeps_each_request_in_the_slot_of_its_ticket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("budget.ring");
        let (mut ring, _) = open(&path, 3);
        let entries = || [(Ticket(5), 1000), (Ticket(6), 1010), (Ticket(7), -1020)].into_iter();
        ring.resize(8, entries());
        assert_eq!(ring.requests(), 8);
        ring.answered(Ticket(7), UnixMs(1030));
        ring.sent(Ticket(8), UnixMs(1040));
        let answered = |at| Recorded::Answered(UnixMs(at));
        assert_eq!(open(&path, 8).1, [answered(1000), answered(1010), answered(1030), Recorded::UnderWay]);
        ring.resize(2, entries());
        assert_eq!(open(&path, 8).1, [answered(1010), Recorded::UnderWay], "a lower limit keeps the newest");
    }

    #[test]
    fn other_processes_can_read_the_limit_and_the_used_requests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("budget.ring");
        assert!(Ring::look(&path, UnixMs(0)).is_err(), "there is none");
        let (mut ring, _) = open(&path, 5);
        for (ticket, at) in [(0, 100_000), (1, 130_000), (2, 150_000)] {
            ring.sent(Ticket(ticket), UnixMs(at));
        }
        ring.answered(Ticket(1), UnixMs(131_000));
        assert_eq!(Ring::look(&path, UnixMs(155_000)).unwrap(), (5, 3));
        assert_eq!(Ring::look(&path, UnixMs(170_000)).unwrap(), (5, 2));
        assert_eq!(Ring::look(&path, UnixMs(900_000)).unwrap(), (5, 0));
    }

    #[test]
    fn a_torn_file_is_read_as_far_as_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("budget.ring");
        fs::write(&path, [&77_i64.to_be_bytes()[..], &[1, 2, 3]].concat()).unwrap();
        assert_eq!(open(&path, 4).1, [Recorded::Answered(UnixMs(77))]);
    }

    #[test]
    fn clocks_that_were_set_back_do_not_free_a_slot() {
        assert_eq!(Recorded::Answered(UnixMs(9_000)).age(UnixMs(4_000)), Some(Duration::ZERO));
        assert_eq!(Recorded::Answered(UnixMs(9_000)).age(UnixMs(19_000)), Some(Duration::from_secs(10)));
        assert_eq!(Recorded::UnderWay.age(UnixMs(19_000)), None);
    }
}
