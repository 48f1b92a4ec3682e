//! The list of the messages that `wait --claim` has given out. It is a file that all these commands share, so that no
//! two of them give out the same message.
//!
//! Format of `wait.claims`: 16 bytes for each claimed message, the beginning of the SHA-256 of its id. A process locks
//! the file while it looks for an id and, if the file does not have it, adds it. The file is flushed before the message
//! is given out, so a claim survives a power cut. When the file has [`MOST`] entries, the older half is removed.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::files;

/// The name of the file.
const NAME: &str = "wait.claims";

/// The length of the entry of one message, in bytes.
const RECORD: usize = 16;

/// The most claims that are remembered.
const MOST: usize = 100_000;

/// Claims the message with this id. `dir` is the state directory. Returns `false` if the message is claimed already.
/// Waits while another process claims a message.
///
/// # Errors
/// Errors of the file system.
pub fn claim_for_waiter(dir: &Path, id: &str) -> io::Result<bool> {
    claim(dir, id, MOST)
}

fn claim(dir: &Path, id: &str, most: usize) -> io::Result<bool> {
    let mut file = open(&dir.join(NAME))?;
    file.lock()?;
    let mut known = Vec::new();
    file.read_to_end(&mut known)?;
    let digest = Sha256::digest(id);
    let record = &digest[..RECORD];
    if known.chunks_exact(RECORD).any(|known| known == record) {
        return Ok(false);
    }
    let mut records = known.len() / RECORD;
    if records >= most {
        // The newer half is copied to the front before the file is cut off. After a crash between the two steps, the
        // file has the entries of the newer half twice, which does no harm.
        let kept = known.get(records / 2 * RECORD..records * RECORD).unwrap_or_default();
        file.write_all_at(kept, 0)?;
        file.set_len(bytes(kept.len()))?;
        records = kept.len() / RECORD;
    }
    file.write_all_at(record, bytes(records * RECORD))?;
    file.sync_data()?;
    Ok(true)
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn open(path: &Path) -> io::Result<File> {
    match files::open_to_write(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match files::make(path) {
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => files::open_to_write(path),
            made => made,
        },
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        for (id, first) in [("a", true), ("b", true), ("a", false), ("b", false), ("c", true)] {
            assert_eq!(claim_for_waiter(dir.path(), id).unwrap(), first, "{id}");
        }
    }

    #[test]
    fn threads_that_claim_at_the_same_time_share_the_messages() {
        let dir = tempfile::tempdir().unwrap();
        let claim_all = || (0..50).filter(|id| claim_for_waiter(dir.path(), &id.to_string()).unwrap()).count();
        let counts: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(claim_all)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(counts.iter().sum::<usize>(), 50, "{counts:?}");
    }

    #[test]
    fn a_full_file_forgets_its_older_half() {
        let dir = tempfile::tempdir().unwrap();
        for id in 0..10 {
            assert!(claim(dir.path(), &id.to_string(), 10).unwrap());
        }
        assert!(claim(dir.path(), "10", 10).unwrap());
        assert_eq!(dir.path().join(NAME).metadata().unwrap().len(), 6 * 16);
        for id in 5..=10 {
            assert!(!claim(dir.path(), &id.to_string(), 10).unwrap(), "{id}");
        }
    }

    #[test]
    fn a_torn_record_at_the_end_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        claim_for_waiter(dir.path(), "a").unwrap();
        let file = open(&dir.path().join(NAME)).unwrap();
        file.write_all_at(b"torn", 16).unwrap();
        assert!(claim_for_waiter(dir.path(), "b").unwrap());
        assert!(!claim_for_waiter(dir.path(), "b").unwrap() && !claim_for_waiter(dir.path(), "a").unwrap());
    }
}
