//! The transactions of a relay that shares a state: taking, renewing and giving back the lease, and recording the
//! requests to the API.
//!
//! A replica has a connection of its own, so that a renewal never waits for a long write transaction.

use std::time::Duration;

use super::connection::{PostgresBackend, Statements};
use super::database::Database;
use super::statement::{Failure, Param, get, params};
use crate::domain::UnixMs;
use crate::store::error::Error;
use crate::store::lease::{
    LeaseOffer, LeaseTransactions, LeaseView, ReplicaGroup, ReplicaView, RequestId, RequestTransactions,
};

/// How long a recorded request is kept. The budget counts requests of the last minute.
const REQUESTS_KEPT: Duration = Duration::from_secs(300);

/// How long a relay is still listed after it last recorded that it runs.
const REPLICAS_KEPT: Duration = Duration::from_secs(600);

/// The columns of a [`LeaseView`].
const VIEW: &str = "epoch, CASE WHEN expires > clock_timestamp() THEN holder END,
    greatest(0, (extract(epoch FROM expires - clock_timestamp()) * 1000)::bigint)";

/// A relay that shares a state with others. The methods block their thread, like the methods of
/// [`crate::store::Backend`].
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) state: PostgresBackend,
    name: String,
}

impl Replica {
    /// Joins the relays that share a state, under the name `name`, which no other relay has. A missing schema is made.
    ///
    /// # Errors
    /// Returns the errors of [`crate::store::join_replicas`].
    pub(super) fn join(database: &Database, name: impl Into<String>) -> Result<Self, Error> {
        Ok(Self { state: PostgresBackend::open(database)?, name: name.into() })
    }
}

/// Reads who has the lease, and which relays share the state, in the order of their names.
pub(super) fn group(state: &PostgresBackend) -> Result<ReplicaGroup, Error> {
    state.read(|statements| {
        let rows = statements.rows(
            "SELECT name, (extract(epoch FROM clock_timestamp() - since) * 1000)::bigint,
                    (extract(epoch FROM clock_timestamp() - seen) * 1000)::bigint
             FROM replica ORDER BY name",
            Vec::new(),
        )?;
        let replica = |row| Ok(ReplicaView { name: get(row, 0)?, joined: span(row, 1)?, seen: span(row, 2)? });
        let replicas = rows.iter().map(replica).collect::<Result<_, Failure>>()?;
        Ok(ReplicaGroup { lease: view(statements)?, replicas })
    })
}

impl LeaseTransactions for Replica {
    fn take(&mut self, valid: Duration) -> Result<LeaseOffer, Error> {
        let name = self.name.clone();
        self.state.side_transaction(|statements| {
            record_presence(statements, &name);
            let free = "SELECT 1 FROM lease WHERE one = 1 AND (expires IS NULL OR expires <= clock_timestamp())";
            // `FOR UPDATE` waits until all transactions that have checked the lease have ended. A relay that stands by
            // must not wait for the transactions of the active relay. So it first asks without `FOR UPDATE` whether the
            // lease is free.
            if statements.exists(free, Vec::new())? && statements.exists(&format!("{free} FOR UPDATE"), Vec::new())? {
                let taken = statements.row(
                    "UPDATE lease SET epoch = epoch + 1, holder = $1,
                                      expires = clock_timestamp() + $2 * INTERVAL '1 millisecond'
                     WHERE one = 1 RETURNING epoch, (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
                    vec![Param::from(&name), milliseconds(valid)],
                )?;
                let taken = taken.ok_or_else(|| Failure::unreadable("the lease is missing"))?;
                return Ok(LeaseOffer::Granted { epoch: get(&taken, 0)?, at: UnixMs(get(&taken, 1)?) });
            }
            Ok(LeaseOffer::Held(view(statements)?))
        })
    }

    fn renew(&mut self, epoch: i64, valid: Duration) -> Result<bool, Error> {
        let name = self.name.clone();
        self.state.side_transaction(|statements| {
            record_presence(statements, &name);
            let renewed = statements.change(
                "UPDATE lease SET expires = clock_timestamp() + $3 * INTERVAL '1 millisecond'
                 WHERE one = 1 AND epoch = $1 AND holder = $2 AND expires > clock_timestamp()",
                vec![Param::from(epoch), Param::from(&name), milliseconds(valid)],
            )?;
            Ok(renewed > 0)
        })
    }

    fn hand_over(&mut self, epoch: i64) -> Result<(), Error> {
        let (name, channel) = (self.name.clone(), self.state.namespace().to_owned());
        self.state.side_transaction(|statements| {
            statements.later(
                "UPDATE lease SET holder = NULL, expires = NULL WHERE one = 1 AND epoch = $1 AND holder = $2
                 RETURNING pg_notify($3, '')",
                vec![Param::from(epoch), Param::from(&name), Param::from(&channel)],
            );
            Ok(())
        })
    }

    fn leave(&mut self) -> Result<(), Error> {
        let (name, channel) = (self.name.clone(), self.state.namespace().to_owned());
        self.state.side_transaction(|statements| {
            statements.later(
                "UPDATE lease SET holder = NULL, expires = NULL WHERE holder = $1 RETURNING pg_notify($2, '')",
                params![&name, &channel],
            );
            statements.later("DELETE FROM replica WHERE name = $1", params![&name]);
            Ok(())
        })
    }
}

impl RequestTransactions for PostgresBackend {
    fn record_request(&mut self, epoch: i64) -> Result<RequestId, Error> {
        self.side_transaction(|statements| {
            statements.later("SELECT check_lease($1)", params![epoch]);
            statements.later(
                "DELETE FROM request WHERE sent < clock_timestamp() - $1 * INTERVAL '1 millisecond'",
                vec![milliseconds(REQUESTS_KEPT)],
            );
            let id = statements.value(
                "INSERT INTO request (epoch, sent) VALUES ($1, clock_timestamp()) RETURNING id",
                params![epoch],
            )?;
            id.map(RequestId).ok_or_else(|| Failure::unreadable("the request was not recorded"))
        })
    }

    fn record_answer(&mut self, request: RequestId) -> Result<(), Error> {
        self.side_transaction(|statements| {
            statements.later("UPDATE request SET answered = clock_timestamp() WHERE id = $1", params![request.0]);
            Ok(())
        })
    }

    fn recent_requests(&self) -> Result<Vec<Option<Duration>>, Error> {
        self.read(|statements| {
            let rows = statements.rows(
                "SELECT (extract(epoch FROM clock_timestamp() - answered) * 1000)::bigint FROM request
                 WHERE coalesce(answered, sent) > clock_timestamp() - $1 * INTERVAL '1 millisecond' ORDER BY id",
                vec![milliseconds(REQUESTS_KEPT)],
            )?;
            rows.iter()
                .map(|row| Ok(get::<Option<i64>>(row, 0)?.map(|ago| Duration::from_millis(ago.max(0).unsigned_abs()))))
                .collect()
        })
    }
}

fn milliseconds(span: Duration) -> Param {
    Param::from(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

fn span(row: &tokio_postgres::Row, column: usize) -> Result<Duration, Failure> {
    get::<i64>(row, column).map(|span| Duration::from_millis(span.max(0).unsigned_abs()))
}

fn view(statements: &Statements<'_>) -> Result<LeaseView, Failure> {
    let row = statements.row(&format!("SELECT {VIEW} FROM lease WHERE one = 1"), Vec::new())?;
    let row = row.ok_or_else(|| Failure::unreadable("the lease is missing"))?;
    let left = get::<Option<i64>>(&row, 2)?.unwrap_or(0);
    Ok(LeaseView { epoch: get(&row, 0)?, holder: get(&row, 1)?, left: Duration::from_millis(left.unsigned_abs()) })
}

/// Records that the relay with this name runs now, and removes relays that have not recorded this for
/// [`REPLICAS_KEPT`].
fn record_presence(statements: &Statements<'_>, name: &str) {
    statements.later(
        "INSERT INTO replica (name, since, seen) VALUES ($1, clock_timestamp(), clock_timestamp())
         ON CONFLICT (name) DO UPDATE SET seen = excluded.seen",
        params![name],
    );
    statements.later(
        "DELETE FROM replica WHERE seen < clock_timestamp() - $1 * INTERVAL '1 millisecond'",
        vec![milliseconds(REPLICAS_KEPT)],
    );
}
