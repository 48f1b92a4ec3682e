//! The disk belongs to the server: it cleans up by itself, and tells how much room the state takes.
//!
//! A text that was removed is in no record any more. The server overwrites the place where it was when it cleans up
//! (`VACUUM`), and its journal and its backups keep it as long as the server is configured to.

use super::connection::PostgresBackend;
use super::statement::{count, params};
use crate::store::disk::{DiskMaintenance, DiskUsage};
use crate::store::error::Error;

/// Measures the bytes of live records, and the size of the files with them. Files do not become shorter when records are
/// removed, so the live records are estimated from the server's statistics: a third of the room is counted for indexes.
/// A table without statistics counts with the whole size of its files.
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
