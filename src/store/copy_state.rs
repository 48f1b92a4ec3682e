//! Copies a whole state from one place to another, table by table.

use super::command_role::CommandRole;
use super::copying::{CopiedRecord, CopiedTable, CopiedValue, TABLES};
use super::error::Error;
use super::location::StateLocation;
use super::open;

/// How many records are read in one transaction.
const PORTION: usize = 1_000;

/// How a copy ended, if nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnd {
    /// The copy holds this many messages and deliveries.
    Copied {
        /// The number of messages and events, including messages of which only the id is kept.
        messages: u64,
        /// The number of deliveries, delivered ones included.
        deliveries: u64,
    },
    /// There is no state to copy.
    NoState,
    /// The place for the copy has a state already. Nothing was changed.
    NotEmpty,
}

/// Copies the state at `from` to `to`, where no state may be yet. Takes the role at both places, so that no relay works
/// there during the copy.
///
/// # Errors
/// [`Error::InUse`] and [`Error::HasActiveRelay`]: a relay works on one of the states. Otherwise the errors of
/// [`open::open_for_command`] and [`super::CopyTransactions`].
pub fn copy_state(from: &StateLocation, to: &StateLocation) -> Result<CopyEnd, Error> {
    let Some(source) = open::open_for_command(from)? else { return Ok(CopyEnd::NoState) };
    let mut role = CommandRole::take(from)?;
    let mut other_role = CommandRole::take(to)?;
    let mut target = open::open_or_make(to)?;
    let (mut messages, mut deliveries) = (0, 0);
    let mut place = CopyPlace::default();
    let filled = target.fill(&mut || {
        role.keep()?;
        other_role.keep()?;
        let portion = place.next(|table, after| source.read_records(table, after, PORTION))?;
        if let Some((table, records)) = &portion {
            let count = u64::try_from(records.len()).unwrap_or(0);
            match table.name {
                "message" => messages += count,
                "delivery" => deliveries += count,
                _ => {}
            }
        }
        Ok(portion)
    })?;
    Ok(if filled { CopyEnd::Copied { messages, deliveries } } else { CopyEnd::NotEmpty })
}

/// How far the copy of a state has come.
#[derive(Debug, Default)]
struct CopyPlace {
    /// The index of the present table in [`TABLES`].
    table: usize,
    /// The key of the last record of this table that was copied; `None` before the first record.
    after: Option<Vec<CopiedValue>>,
}

impl CopyPlace {
    /// Returns the next records, and their table; `None` after the last record of the last table. `read` reads the
    /// records of a table that follow a key.
    fn next(
        &mut self,
        mut read: impl FnMut(&'static CopiedTable, Option<&[CopiedValue]>) -> Result<Vec<CopiedRecord>, Error>,
    ) -> Result<Option<(&'static CopiedTable, Vec<CopiedRecord>)>, Error> {
        while let Some(table) = TABLES.get(self.table) {
            let records = read(table, self.after.as_deref())?;
            if let Some(last) = records.last() {
                self.after = Some(last[..table.key].to_vec());
                return Ok(Some((table, records)));
            }
            self.table += 1;
            self.after = None;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_read_to_its_end_before_the_next_one() {
        let mut place = CopyPlace::default();
        let mut asked = Vec::new();
        // Each table has two records.
        let mut read = |table: &'static CopiedTable, after: Option<&[CopiedValue]>| {
            let next = match after {
                None => 1,
                Some([CopiedValue::Number(1), ..]) => 2,
                Some(_) => return Ok(Vec::new()),
            };
            asked.push((table.name, next));
            Ok(vec![vec![CopiedValue::Number(next); table.columns.len()]])
        };
        let mut found = Vec::new();
        while let Some((table, records)) = place.next(&mut read).unwrap() {
            found.push((table.name, records.len()));
        }
        let expected: Vec<(&str, i64)> = TABLES.iter().flat_map(|table| [(table.name, 1), (table.name, 2)]).collect();
        assert_eq!(asked, expected);
        assert_eq!(found.len(), 2 * TABLES.len());
    }
}
