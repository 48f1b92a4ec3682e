//! The database pages of a state file and of its journal, read as bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::record::{PAGE, number};
use crate::files;

/// The size in bytes of the header before each page in a journal.
const FRAME_HEADER: usize = 24;

/// The size in bytes of the header at the beginning of a journal.
const JOURNAL_HEADER: u64 = 32;

/// The state file and its journal, opened.
pub(super) struct Pages {
    file: File,
    journal: Option<File>,
    /// For each page that the journal has: the position of its newest copy in the journal.
    newer: HashMap<u32, u64>,
    count: u32,
}

impl Pages {
    /// Opens the files of the state in `dir`.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = files::open_to_read(&dir.join("state.db"))?;
        let length = file.metadata()?.len().div_ceil(u64::try_from(PAGE).unwrap_or(1));
        let mut pages = Self {
            file,
            journal: files::open_to_read(&dir.join("state.db-wal")).ok(),
            newer: HashMap::new(),
            count: u32::try_from(length).unwrap_or(u32::MAX),
        };
        pages.read_journal();
        Ok(pages)
    }

    /// Returns the numbers of all pages.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.count
    }

    /// Reads a page, from the journal if the journal has a copy. If the file ends within the page, the missing bytes
    /// are zeros.
    pub(super) fn read(&self, page: u32) -> Option<Vec<u8>> {
        let size = u64::try_from(PAGE).ok()?;
        match (&self.journal, self.newer.get(&page)) {
            (Some(journal), Some(at)) => read(journal, *at, PAGE),
            _ => read(&self.file, u64::from(page.checked_sub(1)?) * size, PAGE),
        }
    }

    /// Finds the pages in the journal. SQLite writes two numbers, the *salts*, before each page, and changes the salts
    /// when it begins to overwrite the journal from its beginning. So if the salts of a page differ from those of the
    /// first page in the journal, the page is a leftover that was not overwritten yet, and is not used. SQLite's
    /// checksums are not checked, because messages have checksums of their own.
    fn read_journal(&mut self) {
        let Some(journal) = &self.journal else { return };
        let frame = u64::try_from(FRAME_HEADER + PAGE).unwrap_or(u64::MAX);
        let (mut at, mut salts) = (JOURNAL_HEADER, None);
        while let Some(header) = read(journal, at, FRAME_HEADER).filter(|header| header.iter().any(|byte| *byte != 0)) {
            let page = number(&header, 0, 4).and_then(|page| u32::try_from(page).ok()).unwrap_or(0);
            let own = number(&header, 8, 8);
            if *salts.get_or_insert(own) == own && page != 0 && page <= self.count.saturating_add(1_000_000) {
                self.newer.insert(page, at + u64::try_from(FRAME_HEADER).unwrap_or(0));
                self.count = self.count.max(page);
            }
            at += frame;
        }
    }
}

fn read(file: &File, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut read = 0;
    while read < length {
        match file.read_at(&mut bytes[read..], at + u64::try_from(read).ok()?) {
            Ok(0) if read == 0 => return None,
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The disk cannot read this part of the file. It may still read other parts, so this is no error.
            Err(_) => return None,
        }
    }
    Some(bytes)
}
