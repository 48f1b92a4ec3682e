//! Statements: their parameters, the values of the records that they return, and why a statement fails.

use std::error::Error as StdError;
use std::time::Duration;

use tokio_postgres::Row as PgRow;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::domain::UnixMs;

/// How long one round trip to the server may take. The server ends each statement after 30 seconds
/// ([`super::connection`]). A round trip takes longer only if it carries several slow statements, or if a commit, the
/// server or the network hangs.
pub(super) const ROUND_TRIP: Duration = Duration::from_secs(35);

/// The error code with which the schema's function `check_lease` refuses a relay that is not the active one.
const NOT_THE_RELAY: &str = "JR001";

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server did not answer in time.
    #[error("the database did not answer in time")]
    TooSlow,
    /// The connection or the client failed.
    #[error("{}", with_cause(.0))]
    Client(tokio_postgres::Error),
    /// The server refused a statement. The field `detail` of the server's error is left out, because it may repeat the
    /// text of a message.
    #[error("the database refused ({code}): {message}")]
    Refused {
        /// The error code (SQLSTATE).
        code: String,
        /// The error message.
        message: String,
        /// Whether the server ends the connection because of this error.
        ends_connection: bool,
    },
    /// The state holds something that no relay wrote.
    #[error("{0}")]
    Unreadable(String),
    /// The database has fewer transactions than this relay made or saw.
    #[error("the database was restored to an earlier moment")]
    WentBack,
    /// The lease belongs to another relay, or has ended.
    #[error("another relay is the active one")]
    NotTheRelay,
}

impl Failure {
    /// Returns whether the connection can be used after this failure.
    pub(super) fn keeps_connection(&self) -> bool {
        match self {
            Self::Refused { ends_connection, .. } => !ends_connection,
            Self::NotTheRelay | Self::WentBack | Self::Unreadable(_) => true,
            Self::TooSlow | Self::Client(_) => false,
        }
    }

    /// Makes the failure for a value that no relay wrote.
    pub(super) fn unreadable(what: impl Into<String>) -> Self {
        Self::Unreadable(what.into())
    }
}

/// Returns the message of an error together with the message of its cause.
fn with_cause(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) if refusal.code().code() == NOT_THE_RELAY => Self::NotTheRelay,
            Some(refusal) => Self::Refused {
                code: refusal.code().code().to_owned(),
                message: refusal.message().to_owned(),
                ends_connection: !matches!(refusal.parsed_severity(), Some(Severity::Error)),
            },
            None => Self::Client(error),
        }
    }
}

/// A parameter of a statement. Texts of the API are stored as bytes, because a text of PostgreSQL cannot hold the
/// character NUL.
#[derive(Clone, Debug)]
pub(super) enum Param {
    Number(Option<i64>),
    Flag(bool),
    Word(Option<String>),
    Bytes(Option<Vec<u8>>),
    Numbers(Vec<Option<i64>>),
    Flags(Vec<bool>),
    Words(Vec<Option<String>>),
    ByteTexts(Vec<Option<Vec<u8>>>),
}

impl Param {
    /// Returns the value and its type, as the client takes them.
    pub(super) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Number(value) => (value, Type::INT8),
            Self::Flag(value) => (value, Type::BOOL),
            Self::Word(value) => (value, Type::TEXT),
            Self::Bytes(value) => (value, Type::BYTEA),
            Self::Numbers(values) => (values, Type::INT8_ARRAY),
            Self::Flags(values) => (values, Type::BOOL_ARRAY),
            Self::Words(values) => (values, Type::TEXT_ARRAY),
            Self::ByteTexts(values) => (values, Type::BYTEA_ARRAY),
        }
    }

    /// Makes a parameter of a text of the API.
    pub(super) fn bytes(text: &str) -> Self {
        Self::Bytes(Some(text.as_bytes().to_vec()))
    }

    /// Makes a list of texts of the API.
    pub(super) fn byte_texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self::ByteTexts(texts.into_iter().map(|text| Some(text.as_bytes().to_vec())).collect())
    }

    /// Makes a list of numbers.
    pub(super) fn numbers(numbers: impl IntoIterator<Item = i64>) -> Self {
        Self::Numbers(numbers.into_iter().map(Some).collect())
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Param {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Param {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<bool> for Param {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&str> for Param {
    fn from(word: &str) -> Self {
        Self::Word(Some(word.to_owned()))
    }
}

impl From<&String> for Param {
    fn from(word: &String) -> Self {
        Self::Word(Some(word.clone()))
    }
}

impl From<Option<&str>> for Param {
    fn from(word: Option<&str>) -> Self {
        Self::Word(word.map(str::to_owned))
    }
}

/// Makes the list of the parameters of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::store::postgres::statement::Param::from($value)),*]
    };
}
pub(super) use params;

/// Reads a column of a record.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r PgRow, column: usize) -> Result<T, Failure> {
    row.try_get(column).map_err(|error| Failure::unreadable(format!("column {column}: {}", with_cause(&error))))
}

/// Reads a column with a text of the API.
pub(super) fn text(row: &PgRow, column: usize) -> Result<String, Failure> {
    maybe_text(row, column)?.ok_or_else(|| Failure::unreadable("a text is missing"))
}

/// Reads a column with a text of the API, which may be NULL.
pub(super) fn maybe_text(row: &PgRow, column: usize) -> Result<Option<String>, Failure> {
    let bytes: Option<Vec<u8>> = get(row, column)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| Failure::unreadable("a text is not UTF-8"))
}

/// Reads a column with a number that fits into a `u32`.
pub(super) fn small(row: &PgRow, column: usize) -> Result<u32, Failure> {
    let number: i64 = get(row, column)?;
    u32::try_from(number).map_err(|_| Failure::unreadable(format!("the count {number}")))
}

/// Reads a column with a count of records.
pub(super) fn count(row: &PgRow, column: usize) -> Result<u64, Failure> {
    get(row, column).map(i64::unsigned_abs)
}

/// Reads a column with an instant that may be NULL.
pub(super) fn instant(row: &PgRow, column: usize) -> Result<Option<UnixMs>, Failure> {
    get::<Option<i64>>(row, column).map(|at| at.map(UnixMs))
}

/// Converts a limit on the number of records to the type that a statement takes.
pub(super) fn limit(at_most: usize) -> i64 {
    i64::try_from(at_most).unwrap_or(i64::MAX)
}

/// Replaces each character NUL, because a text of PostgreSQL cannot hold this character.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
