//! Copying a whole state out of a file, and into a new file.
//!
//! A [`CopiedRecord`] has no checksum. A copied message has no column `event`: an event has the word 'event' in the
//! column `standing` instead.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, Transaction, params_from_iter};

use crate::store::copying::{COMMITS, CopiedRecord, CopiedTable, CopiedValue, CopyTransactions, NextRecords};
use crate::store::error::Error;
use crate::store::sqlite::connection::SqliteBackend;
use crate::store::sqlite::file::checksum::{self, Checksum};
use crate::store::sqlite::file::erasure::text_of;

impl CopyTransactions for SqliteBackend {
    fn read_records(
        &self,
        table: &'static CopiedTable,
        after: Option<&[CopiedValue]>,
        at_most: usize,
    ) -> Result<Vec<CopiedRecord>, Error> {
        let (mut columns, key) = (table.column_names(), table.key_names());
        let sum = if is_message(table) { ", sum" } else { "" };
        if is_message(table) {
            columns = columns.replace("standing", "CASE WHEN event IS NULL THEN standing ELSE 'event' END");
        }
        let places = vec!["?"; table.key].join(", ");
        let from = if after.is_some() { format!("WHERE ({key}) > ({places})") } else { String::new() };
        let sql = format!("SELECT {columns}{sum} FROM {} {from} ORDER BY {key} LIMIT {at_most}", table.name);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let after = params_from_iter(after.into_iter().flatten());
            let records = statement.query_map(after, |row| record(row, table))?.collect::<Result<Vec<_>, _>>()?;
            Ok(records.into_iter().filter(|record| record[0] != CopiedValue::Text(COMMITS.to_owned())).collect())
        })
    }

    fn fill(&mut self, next: &mut NextRecords<'_>) -> Result<bool, Error> {
        let mut failed = None;
        let filled = self.transaction(|transaction| {
            let used = "SELECT EXISTS (SELECT 1 FROM message) OR EXISTS (SELECT 1 FROM sink)
                        OR EXISTS (SELECT 1 FROM coverage)";
            if transaction.query_row(used, [], |row| row.get(0))? {
                return Ok(false);
            }
            loop {
                match next() {
                    Ok(Some((table, records))) => insert(transaction, table, &records)?,
                    Ok(None) => return Ok(true),
                    Err(error) => {
                        failed = Some(error);
                        // This error only rolls the transaction back. The method returns the error in `failed`.
                        return Err(rusqlite::Error::QueryReturnedNoRows);
                    }
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => filled,
        }
    }
}

fn record(row: &Row<'_>, table: &CopiedTable) -> rusqlite::Result<CopiedRecord> {
    let mut record = Vec::with_capacity(table.columns.len());
    for place in 0..table.columns.len() {
        record.push(match row.get_ref(place)? {
            ValueRef::Null => CopiedValue::Null,
            ValueRef::Integer(number) => CopiedValue::Number(number),
            other => CopiedValue::Text(other.as_str()?.to_owned()),
        });
    }
    if is_message(table) {
        let stored: Option<i64> = row.get(table.columns.len())?;
        checksum::verify(
            stored.filter(|_| sum_of(table, &record).is_some()),
            sum_of(table, &record).unwrap_or(0),
            || "a message".to_owned(),
        )?;
        // A copy holds the text as the API sent it, without the spaces that `erasure` puts in front of it.
        if let CopiedValue::Text(raw) = &mut record[table.place_of("raw")] {
            *raw = text_of(raw).to_owned();
        }
    }
    Ok(record)
}

fn insert(transaction: &Transaction<'_>, table: &CopiedTable, records: &[CopiedRecord]) -> rusqlite::Result<()> {
    let (own, own_places) = if is_message(table) { (", sum, event", ", ?, ?") } else { ("", "") };
    let places = vec!["?"; table.columns.len()].join(", ");
    // A state without messages and sinks may have counters: for example, `sinks` stays when all sinks were dropped.
    let verb = if table.name == "counter" { "INSERT OR REPLACE" } else { "INSERT" };
    let sql = format!("{verb} INTO {} ({}{own}) VALUES ({places}{own_places})", table.name, table.column_names());
    let mut statement = transaction.prepare_cached(&sql)?;
    for record in records {
        let mut record = record.clone();
        if is_message(table) {
            let sum = sum_of(table, &record).map_or(CopiedValue::Null, CopiedValue::Number);
            let standing = &mut record[table.place_of("standing")];
            let event = match *standing == CopiedValue::Text("event".to_owned()) {
                true => {
                    *standing = CopiedValue::Text("news".to_owned());
                    CopiedValue::Number(1)
                }
                false => CopiedValue::Null,
            };
            record.extend([sum, event]);
        }
        statement.execute(params_from_iter(&record))?;
    }
    Ok(())
}

/// Returns whether this is the table `message`, which has columns that are not copied.
fn is_message(table: &CopiedTable) -> bool {
    table.name == "message"
}

/// Returns the checksum of a message; `None` if its text is not kept.
fn sum_of(table: &CopiedTable, record: &CopiedRecord) -> Option<i64> {
    let value = |column: &str| &record[table.place_of(column)];
    match (value("id"), value("time"), value("raw")) {
        (CopiedValue::Text(id), CopiedValue::Number(time), CopiedValue::Text(raw)) => {
            Some(Checksum::of_message(id, *time, raw))
        }
        _ => None,
    }
}

impl rusqlite::ToSql for CopiedValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Number(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}
