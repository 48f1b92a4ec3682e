//! Sinks of type `postgres`: each message becomes a row of a table in a database. In this folder, a *row* is a row of
//! this table, and not a row of the feed.
//!
//! Invariants, in addition to those of [`super::server`]:
//!
//! - A message is delivered when the server has committed its row to the disk, or when the table already has a row with
//!   the message's id.
//! - No part of a message can become a part of a statement: values are parameters.
//! - The words for a failure contain the code of the server's answer, but not its text, which may repeat the row.

#[cfg(feature = "sink-postgres")]
mod answers;
#[cfg(feature = "sink-postgres")]
mod client;
mod row;
mod settings;
mod table;

use std::fmt;
use std::sync::Arc;

use self::row::row;
use self::settings::Encryption;
use self::table::TableName;
#[cfg(feature = "sink-postgres")]
use super::server::ServerSink;
use super::server::{ServerLogin, SinkServer};
#[cfg(feature = "sink-postgres")]
use super::{OnlineCheck, Sink, SinkBuildError, TableCreation};
use super::{Outgoing, Preview, ReadContext, SinkType, Target};
use crate::codes::CodeFinder;
use crate::domain::Sanitized;
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::time::Clock;

/// The type `postgres`.
#[derive(Debug)]
pub(super) struct Postgres;

/// The database and the table of a sink.
#[derive(Clone)]
struct PostgresTarget {
    server: SinkServer,
    encryption: Encryption,
    login: Option<ServerLogin>,
    table: TableName,
    /// Finds the codes of messages.
    codes: CodeFinder,
}

impl SinkType for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        let target = settings::Settings::read(at).resolve(at, context)?;
        #[cfg(feature = "sink-postgres")]
        if let Err(wrong) = client::config(&target) {
            // The address may contain a password, so the error does not quote it.
            at.wrong("url", at.origin("url").unwrap_or(at.place()), &wrong, "");
            return None;
        }
        Some(Arc::new(target))
    }
}

impl Target for PostgresTarget {
    fn takes_lines(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("PostgreSQL table {} at {}", self.table, self.server)
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        let row = row(outgoing, &self.codes);
        let mut head = format!("{}\n{}\n", self.describe(), self.table.insert());
        let shown = [
            ("id", Some(row.id.as_str())),
            ("received_at", row.received_at.as_deref()),
            ("sender", row.sender.as_deref()),
            ("recipient", row.recipient.as_deref()),
            ("code", row.code.as_deref()),
        ];
        for (column, value) in shown {
            head += &format!("{column}: {}\n", Sanitized::line(value.unwrap_or("NULL")));
        }
        Ok(Preview { head: head + "\n", body: row.payload.into_bytes() })
    }

    #[cfg(feature = "sink-postgres")]
    fn create_table(&self) -> Option<TableCreation<'_>> {
        Some(Box::pin(client::create_table(self)))
    }

    #[cfg(feature = "sink-postgres")]
    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        Box::pin(client::check(self, name, clock))
    }

    #[cfg(feature = "sink-postgres")]
    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(ServerSink::new(client::TableWriter::new(self)?)))
    }
}

impl fmt::Debug for PostgresTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, encryption, login, table, codes: _ } = self;
        out.debug_struct("Postgres")
            .field("server", server)
            .field("encryption", encryption)
            .field("login", &login.is_some())
            .field("table", table)
            .finish()
    }
}
