//! Copying a whole state out of a schema, and into a new schema.

use tokio_postgres::Row as PgRow;

use crate::store::copying::{ColumnKind, CopiedRecord, CopiedTable, CopiedValue, CopyTransactions, NextRecords};
use crate::store::error::Error;
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, get, maybe_text};

/// Lets the server wait up to a minute for the next statement of this transaction, because the next records must first
/// be read from the other state. No other transaction has to wait meanwhile: nobody uses the new state yet.
const PATIENCE: &str = "SET LOCAL idle_in_transaction_session_timeout = 60000";

impl CopyTransactions for PostgresBackend {
    fn read_records(
        &self,
        table: &'static CopiedTable,
        after: Option<&[CopiedValue]>,
        at_most: usize,
    ) -> Result<Vec<CopiedRecord>, Error> {
        let (columns, key) = (table.column_names(), table.key_names());
        let places: Vec<String> = (1..=table.key).map(|place| format!("${place}")).collect();
        let from = if after.is_some() { format!("WHERE ({key}) > ({})", places.join(", ")) } else { String::new() };
        let sql = format!("SELECT {columns} FROM {} {from} ORDER BY {key} LIMIT {at_most}", table.name);
        // The keys of the copied tables are numbers and words. So no key has to be passed as bytes.
        let after = after.unwrap_or_default().iter().map(|value| match value {
            CopiedValue::Null => Param::Number(None),
            CopiedValue::Number(number) => Param::from(*number),
            CopiedValue::Text(text) => Param::from(text),
        });
        let after: Vec<Param> = after.collect();
        self.read(|statements| {
            statements.rows(&sql, after)?.iter().map(|row| record(row, table)).collect::<Result<Vec<_>, Failure>>()
        })
    }

    fn fill(&mut self, next: &mut NextRecords<'_>) -> Result<bool, Error> {
        let mut failed = None;
        let filled = self.transaction(|statements| {
            statements.later(PATIENCE, Vec::new());
            let used = "SELECT 1 WHERE EXISTS (SELECT 1 FROM message) OR EXISTS (SELECT 1 FROM sink)
                        OR EXISTS (SELECT 1 FROM coverage)";
            if statements.exists(used, Vec::new())? {
                return Ok(false);
            }
            loop {
                match next() {
                    Ok(Some((table, records))) => insert(statements, table, &records)?,
                    Ok(None) => return Ok(true),
                    Err(error) => {
                        failed = Some(error);
                        // This error only rolls the transaction back. The method returns the error in `failed`.
                        return Err(Failure::unreadable("the other state cannot be read"));
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

fn record(row: &PgRow, table: &CopiedTable) -> Result<CopiedRecord, Failure> {
    let value = |(place, kind): (usize, ColumnKind)| {
        Ok(match kind {
            ColumnKind::Number => get::<Option<i64>>(row, place)?.map(CopiedValue::Number),
            ColumnKind::Flag => get::<Option<bool>>(row, place)?.map(|flag| CopiedValue::Number(flag.into())),
            ColumnKind::Word => get::<Option<String>>(row, place)?.map(CopiedValue::Text),
            ColumnKind::ApiText => maybe_text(row, place)?.map(CopiedValue::Text),
        }
        .unwrap_or(CopiedValue::Null))
    };
    table.columns.iter().map(|column| column.kind).enumerate().map(value).collect()
}

/// Inserts the records with one statement, whose parameters are lists: one for each column.
fn insert(statements: &Statements<'_>, table: &CopiedTable, records: &[CopiedRecord]) -> Result<(), Failure> {
    let (columns, key) = (table.column_names(), table.key_names());
    let types = table.columns.iter().enumerate().map(|(place, column)| {
        let kind = match column.kind {
            ColumnKind::Number => "bigint",
            ColumnKind::Flag => "boolean",
            ColumnKind::Word => "text",
            ColumnKind::ApiText => "bytea",
        };
        format!("${}::{kind}[]", place + 1)
    });
    // A new state has some counters already.
    let known = match table.name {
        "counter" => format!("ON CONFLICT ({key}) DO UPDATE SET value = excluded.value"),
        _ => String::new(),
    };
    let lists = types.collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO {} ({columns}) SELECT * FROM unnest({lists}) {known}", table.name);
    let columns = table.columns.iter().enumerate();
    let lists = columns.map(|(place, column)| list(column.kind, records.iter().map(|record| &record[place])));
    statements.later(sql, lists.collect());
    statements.flush()
}

/// Makes a list of the values of one column.
fn list<'v>(kind: ColumnKind, values: impl Iterator<Item = &'v CopiedValue>) -> Param {
    let number = |value: &CopiedValue| match value {
        CopiedValue::Number(number) => Some(*number),
        CopiedValue::Null | CopiedValue::Text(_) => None,
    };
    let text = |value: &CopiedValue| match value {
        CopiedValue::Text(text) => Some(text.clone()),
        CopiedValue::Null | CopiedValue::Number(_) => None,
    };
    match kind {
        ColumnKind::Number => Param::Numbers(values.map(number).collect()),
        ColumnKind::Flag => Param::Flags(values.map(|value| number(value) == Some(1)).collect()),
        ColumnKind::Word => Param::Words(values.map(text).collect()),
        ColumnKind::ApiText => Param::ByteTexts(values.map(|value| text(value).map(String::into_bytes)).collect()),
    }
}
