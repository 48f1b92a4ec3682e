//! Conversion of values of the domain to columns, and back.

use tokio_postgres::Row as PgRow;

use crate::domain::DeliveryClass;
use crate::store::delivery_state::DeliveryState;
use crate::store::postgres::statement::{Failure, get};

/// Returns the number that a column holds for a class.
pub(super) fn class_number(class: DeliveryClass) -> i64 {
    match class {
        DeliveryClass::Live => 0,
        DeliveryClass::Backfill => 1,
    }
}

/// Reads a column with a class.
pub(super) fn class_of(row: &PgRow, column: usize) -> Result<DeliveryClass, Failure> {
    Ok(if get::<i64>(row, column)? == 0 { DeliveryClass::Live } else { DeliveryClass::Backfill })
}

/// Reads a column with the state of a delivery.
pub(super) fn state_of(row: &PgRow, column: usize) -> Result<DeliveryState, Failure> {
    let word: &str = get(row, column)?;
    DeliveryState::from_word(word).ok_or_else(|| Failure::unreadable(format!("the state {word:?}")))
}

/// Converts a list to JSON, as a column holds it.
pub(super) fn to_json<T: serde::Serialize>(list: &[T]) -> Result<String, Failure> {
    serde_json::to_string(list).map_err(|error| Failure::unreadable(error.to_string()))
}

/// Reads the list from the text that [`to_json`] made. Any other text is an error, because the relay cannot have
/// written it.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::unreadable(error.to_string()))
}
