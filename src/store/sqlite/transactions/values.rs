//! Conversion of values of the domain to columns, and back.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};

use crate::domain::{DeliveryClass, UnixMs};
use crate::store::delivery_state::DeliveryState;

impl FromSql for DeliveryState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_word(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for DeliveryState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// Converts a column that may be NULL to an instant.
pub(super) fn instant(column: Option<i64>) -> Option<UnixMs> {
    column.map(UnixMs)
}

/// Returns the number that a column holds for a class.
pub(super) fn class_number(class: DeliveryClass) -> i64 {
    match class {
        DeliveryClass::Live => 0,
        DeliveryClass::Backfill => 1,
    }
}

/// Converts a limit on the number of records to the type that SQLite takes.
pub(super) fn limit(at_most: usize) -> i64 {
    i64::try_from(at_most).unwrap_or(i64::MAX)
}

/// Converts a list to JSON, as a column holds it.
pub(super) fn to_json<T: serde::Serialize>(list: &[T]) -> rusqlite::Result<String> {
    serde_json::to_string(list).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Reads a list that [`to_json`] has written. Any other text counts as damage, because the relay cannot have written
/// it.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<Vec<T>> {
    let read = serde_json::from_str(text);
    read.map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}
