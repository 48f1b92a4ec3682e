//! The table of a sink, and the statements about it. Pure.

use std::fmt;

/// The longest name that PostgreSQL does not cut, in bytes.
const LONGEST_NAME: usize = 63;

/// The name of a table, with its schema if the operator has written one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableName(String);

impl TableName {
    /// Reads `table` or `schema.table`; `None` if a name is too long, begins with a digit, or has characters other than
    /// small letters, digits and `_`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_name = |name: &str| {
            let is_part = |next: char| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_';
            name.len() <= LONGEST_NAME
                && name.chars().all(is_part)
                && !name.starts_with(|first: char| first.is_ascii_digit())
        };
        let parts: Vec<&str> = text.split('.').collect();
        let is_right = parts.len() <= 2 && parts.iter().all(|part| !part.is_empty() && is_name(part));
        is_right.then(|| Self(text.to_owned()))
    }

    /// Returns the statement that makes the table, unless the table exists.
    #[cfg(any(feature = "sink-postgres", test))]
    pub(super) fn create(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n    id text PRIMARY KEY,\n    received_at timestamptz,\n    sender text,\n    \
             recipient text,\n    code text,\n    payload text NOT NULL,\n    \
             inserted_at timestamptz NOT NULL DEFAULT now()\n)",
            self.quoted()
        )
    }

    /// Returns the statement that adds a message: id, time of receipt, sender, recipient, code, payload.
    pub(super) fn insert(&self) -> String {
        format!(
            "INSERT INTO {} (id, received_at, sender, recipient, code, payload) \
             VALUES ($1, $2::timestamptz, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
            self.quoted()
        )
    }

    /// Returns the statement that finds out whether messages can be added. The statement changes nothing.
    #[cfg(feature = "sink-postgres")]
    pub(super) fn probe(&self) -> String {
        let table = self.quoted();
        format!(
            "INSERT INTO {table} (id, received_at, sender, recipient, code, payload) SELECT '', NULL, '', '', '', '' WHERE false ON CONFLICT (id) DO NOTHING"
        )
    }

    /// Returns the name in quotes. With quotes, a word of SQL such as `order` can be a name, too.
    fn quoted(&self) -> String {
        self.0.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_a_statement() {
        for (text, quoted) in [("sms", "\"sms\""), ("relay.order", "\"relay\".\"order\""), ("_a1", "\"_a1\"")] {
            assert_eq!(TableName::parse(text).unwrap().quoted(), quoted);
        }
        let long = "a".repeat(64);
        for text in ["", ".", "a.", "a.b.c", "1a", "Sms", "a b", "a\"b", "a;b", "ü", long.as_str()] {
            assert_eq!(TableName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_statement_that_makes_the_table_is_in_the_documentation() {
        let page = include_str!("../../../docs/sinks/postgres.md");
        let plain = |statement: String| statement.replace('"', "");
        let table = TableName::parse("sms").unwrap();
        assert!(page.contains(&plain(table.create())), "{}", plain(table.create()));
    }
}
