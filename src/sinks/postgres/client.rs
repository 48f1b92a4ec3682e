//! The client that adds rows, the check of a sink for `check --online`, and the creation of a sink's table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresTarget;
use super::answers::attempt;
use super::row::{SinkRow, row};
use super::settings::Encryption;
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{CheckedServer, Reusable, ServerClient, ServerLogin, check_online, failed};
use crate::sinks::{Attempt, Outgoing};
use crate::time::Clock;

/// Lets commits wait for the disk if `synchronous_commit` is `off`. Otherwise a server that crashes could lose a row
/// that the relay counts as delivered. Other values of the setting are kept, such as `remote_apply`, with which a
/// commit also waits for a second server.
const WAIT_FOR_THE_DISK: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Returns the configuration of the client, made from the address, the login, and the kind of encryption.
///
/// # Errors
/// The reason why the address is wrong, in words that follow the name of the key. The words do not quote the address.
pub(super) fn config(target: &PostgresTarget) -> Result<Config, String> {
    let mut url = target.server.url.clone();
    let parameters: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| key != "sslmode")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    let parsed: Result<Config, _> = url.as_str().parse();
    let mut config = parsed.map_err(|_| "is no address of a PostgreSQL database".to_owned())?;
    if let Some(ServerLogin { user, password }) = &target.login {
        config.user(user);
        if !password.expose().is_empty() {
            config.password(password.expose());
        }
    }
    if config.get_application_name().is_none() {
        config.application_name("joltsms-relay");
    }
    config.connect_timeout(target.server.connect_timeout).ssl_mode(match target.encryption {
        Encryption::Required => SslMode::Require,
        Encryption::IfOffered => SslMode::Prefer,
        Encryption::Off => SslMode::Disable,
    });
    Ok(config)
}

/// Makes the table of the sink, unless the table exists.
///
/// # Errors
/// The reason why the table was not made, in words.
pub(super) async fn create_table(target: &PostgresTarget) -> Result<String, String> {
    let creating = async {
        let connection = DatabaseConnector::new(target).map_err(|error| failed(error.to_string()))?.connect().await?;
        connection.client.batch_execute(&target.table.create()).await.map_err(|error| attempt(&error))
    };
    match timeout(target.server.timeout, creating).await {
        Ok(Ok(())) => Ok(format!("the table {} is there", target.table)),
        Ok(Err(ended)) => Err(ended.into_answer().unwrap_or_default()),
        Err(_) => Err(format!("no answer within {:?}", target.server.timeout)),
    }
}

/// Connects and logs in, and finds out whether the table takes rows. No row is added.
pub(super) async fn check(target: &PostgresTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let connect = async {
        let connection = DatabaseConnector::new(target).map_err(|error| failed(error.to_string()))?.connect().await?;
        connection.client.batch_execute(&target.table.probe()).await.map_err(|error| attempt(&error))?;
        Ok(CheckedServer::works("the table takes rows at"))
    };
    check_online(name, &target.server, clock, connect).await
}

/// Connects to the database of a sink.
struct DatabaseConnector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    target: PostgresTarget,
}

impl DatabaseConnector {
    fn new(target: &PostgresTarget) -> Result<Self, TlsSetupError> {
        let encrypts = target.encryption != Encryption::Off;
        let tls = encrypts.then(|| target.server.tls.client_config().map(MakeRustlsConnect::new)).transpose()?;
        // The same function has checked the address when the configuration was read, so it never fails here.
        Ok(Self { config: config(target).unwrap_or_default(), tls, target: target.clone() })
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// The failed attempt.
    async fn connect(&self) -> Result<DatabaseConnection, Attempt> {
        let connecting = async {
            let client = match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(connection);
                    client
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(connection);
                    client
                }
            };
            client.batch_execute(WAIT_FOR_THE_DISK).await?;
            Ok(client)
        };
        let patience = self.target.server.connect_timeout;
        match timeout(patience, connecting).await {
            Ok(Ok(client)) => Ok(DatabaseConnection { client, is_given_up: AtomicBool::new(false) }),
            Ok(Err(error)) => Err(attempt(&error)),
            Err(_) => Err(failed(format!("no connection within {patience:?}"))),
        }
    }
}

/// A connection that is logged in.
pub(super) struct DatabaseConnection {
    client: Client,
    is_given_up: AtomicBool,
}

impl Reusable for DatabaseConnection {
    fn is_open(&self) -> bool {
        !self.client.is_closed() && !self.is_given_up.load(Ordering::Relaxed)
    }

    fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

/// A client that adds rows to a table.
pub(super) struct TableWriter {
    database: DatabaseConnector,
    insert: String,
}

impl TableWriter {
    /// Makes the client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &PostgresTarget) -> Result<Self, TlsSetupError> {
        Ok(Self { database: DatabaseConnector::new(target)?, insert: target.table.insert() })
    }
}

impl ServerClient for TableWriter {
    type Connection = DatabaseConnection;
    type Message = SinkRow;

    const ANSWER: &'static str = "answer";

    fn patience(&self) -> Duration {
        self.database.target.server.timeout
    }

    fn message(&self, outgoing: Outgoing) -> Result<SinkRow, String> {
        Ok(row(outgoing, &self.database.target.codes))
    }

    async fn connect(&self) -> Result<DatabaseConnection, Attempt> {
        self.database.connect().await
    }

    /// Adds a row. The statement is a transaction of its own, so its success is the success of the commit.
    async fn send(&self, row: SinkRow, connection: &DatabaseConnection) -> Attempt {
        let SinkRow { id, received_at, sender, recipient, code, payload } = &row;
        let values: [&(dyn ToSql + Sync); 6] = [id, received_at, sender, recipient, code, payload];
        let typed = values.map(|value| (value, Type::TEXT));
        match connection.client.execute_typed(&self.insert, &typed).await {
            Ok(_) => Attempt::Accepted { status: None },
            Err(error) => attempt(&error),
        }
    }
}
