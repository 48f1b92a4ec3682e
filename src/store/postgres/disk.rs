//! The part of the contract that concerns the disk. The database server manages its disk itself, so the relay only asks
//! how much room the state takes.
//!
//! When the relay removes a text, a copy of it stays in the server's files until the server cleans up (`VACUUM`) and
//! writes something else there. The server's journal and backups keep the text for as long as the server is configured
//! to keep them.

use super::connection::PostgresBackend;
use super::statement::{count, params};
use crate::store::disk::{DiskMaintenance, DiskUsage};
use crate::store::error::Error;

/// Reads how many bytes the records of the state use, and the size of the server's files for the state's tables. Files
/// do not become shorter when records are removed, so the bytes in use are estimated from the server's statistics: the
/// number of records times their average size, and half as much again for indexes. If a table has no statistics, the
/// whole size of its files counts.
const USAGE: &str = "
    SELECT coalesce(sum(least(total, coalesce(live, total))), 0)::bigint, coalesce(sum(total), 0)::bigint
    FROM (SELECT pg_total_relation_size(c.oid) AS total,
                 (SELECT (pg_stat_get_live_tuples(c.oid) * (28 + sum(avg_width * (1 - null_frac))) * 1.5)::bigint
                  FROM pg_stats WHERE schemaname = n.nspname AND tablename = c.relname) AS live
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE n.nspname = $1 AND c.relkind = 'r') AS tables";

impl DiskMaintenance for PostgresBackend {
    fn erase_on_delivery(&mut self) {
        self.erase_on_delivery = true;
    }

    fn keep_for_readers(&mut self, keep: bool) {
        self.keep_for_readers = keep;
    }

    fn erase_traces(&mut self) -> Result<bool, Error> {
        Ok(true)
    }

    fn changed_by_others(&mut self) -> Result<bool, Error> {
        let commits = self.read(|statements| statements.value("SELECT commits FROM writer", Vec::new()))?;
        let differs = self.note_commits(commits.unwrap_or(0));
        Ok(std::mem::take(&mut self.changed_by_others) || differs)
    }

    fn disk_usage(&self) -> Result<DiskUsage, Error> {
        let (used, total) = self.read(|statements| {
            let row = statements.row(USAGE, params![self.namespace()])?;
            row.map_or(Ok((0, 0)), |row| Ok((count(&row, 0)?, count(&row, 1)?)))
        })?;
        Ok(DiskUsage { used, unused: total - used.min(total), free: u64::MAX, journal: 0 })
    }

    fn shrink_file(&mut self, _short: bool) -> Result<bool, Error> {
        Ok(false)
    }

    fn truncate_journal(&mut self) -> Result<bool, Error> {
        Ok(true)
    }
}
