//! The database and the schema that keep a state, and connections to the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::notifications::{SessionMark, drive};
use super::statement::Failure;
use super::waiting::{runtime, wait_for};
use crate::secret::Secret;
use crate::store::change_hints::ChangeHints;
use crate::store::error::Error;

/// How long connecting to one host may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the TLS handshakes and logins of all hosts together may take, beside the time for connecting ([`CONNECT`]).
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long the operating system waits for the server to acknowledge data before it gives the connection up.
const HALF_OPEN: Duration = Duration::from_secs(5);

/// After this time without data from the server, the operating system sends keepalive probes. If [`KEEPALIVE_PROBES`]
/// probes get no answer, it gives the connection up.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(2);
const KEEPALIVE_PROBES: u32 = 3;

/// The part of a database's address that asks for TLS.
const SSL: &str = "sslmode=require";

/// A schema of a PostgreSQL database that keeps a state.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    namespace: Arc<str>,
    /// Gives a hint whenever the server notifies one of the connections; `None` if the connections ask for no
    /// notifications.
    hints: Option<ChangeHints>,
}

impl Database {
    /// Makes a [`Database`] from the address of a database (`postgresql://…` or `host=… user=…`) and the name of a
    /// schema. PostgreSQL must accept this name without quotes.
    ///
    /// # Errors
    /// Returns what is wrong with the address, as the end of a sentence that begins with the name of the configuration
    /// key. The error repeats no part of the address.
    pub fn new(url: &Secret, namespace: &str) -> Result<Self, String> {
        // This client always checks the server's certificate, so it treats `verify-full` and `verify-ca` like
        // `require`.
        let known = url.expose().replace("sslmode=verify-full", SSL).replace("sslmode=verify-ca", SSL);
        // An error of the parser may repeat a part of the address, which may be a part of the password.
        let mut config: Config = known.parse().map_err(|_| "is no address of a PostgreSQL database".to_owned())?;
        if config.get_hosts().is_empty() {
            return Err("names no host of a PostgreSQL database".to_owned());
        }
        if config.get_application_name().is_none() {
            config.application_name("joltsms-relay");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        // If the address names several hosts, only a host that accepts changes is used.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite).tcp_user_timeout(HALF_OPEN);
        config
            .keepalives_idle(KEEPALIVE_AFTER)
            .keepalives_interval(KEEPALIVE_AFTER / 2)
            .keepalives_retries(KEEPALIVE_PROBES);
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => MakeRustlsConnect::with_native_certs().ok().map(|(tls, _)| tls),
        };
        if tls.is_none() && config.get_ssl_mode() == SslMode::Require {
            return Err(
                "asks for TLS, but this system has no CA certificates, so the server's certificate cannot be checked"
                    .to_owned(),
            );
        }
        Ok(Self { config, tls, namespace: namespace.into(), hints: None })
    }

    /// Uses this password if the address has none.
    #[must_use]
    pub fn or_password(mut self, password: &Secret) -> Self {
        if self.config.get_password().is_none() {
            self.config.password(password.expose());
        }
        self
    }

    /// Returns the name of the schema.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the same database, but each of its connections asks the server for the notifications of the schema's
    /// channel. Each notification becomes a hint of `hints`. A connection gets no notifications if it leads through a
    /// pooler in transaction mode, or if the server refuses the session mark or `LISTEN` (`notifications`).
    pub(super) fn notifying(&self, hints: &ChangeHints) -> Self {
        Self { hints: Some(hints.clone()), ..self.clone() }
    }

    /// Connects to the database.
    pub(super) fn connect(&self) -> Result<Client, Error> {
        let runtime = runtime().map_err(|error| Error::Database(error.into()))?;
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(1);
        let limit = self.config.get_connect_timeout().copied().unwrap_or(CONNECT) * hosts + HANDSHAKE;
        let connecting = async {
            match &self.hints {
                Some(hints) => Ok(self.connect_notified(hints, runtime).await?),
                None => Ok(self.connect_by(&self.config, None, runtime).await?),
            }
        };
        let connected = wait_for(runtime, limit, connecting).unwrap_or(Err(Failure::TooSlow));
        connected.map_err(|failure| Error::Unreachable(failure.into()))
    }

    /// Connects, and asks for notifications if the connection has a session of its own.
    async fn connect_notified(&self, hints: &ChangeHints, runtime: &Runtime) -> Result<Client, tokio_postgres::Error> {
        let mark = SessionMark::new();
        let client = match self.connect_by(&mark.put_on(&self.config), Some(hints.clone()), runtime).await {
            Err(error) if SessionMark::may_be_refused_by(&error) => {
                tracing::debug!(%error, "the connection gets no notifications");
                return self.connect_by(&self.config, None, runtime).await;
            }
            connected => connected?,
        };
        match mark.listen(&client, &self.namespace).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("the connection gets no notifications: it has no session of its own"),
            Err(error) => tracing::debug!(%error, "the connection gets no notifications"),
        }
        Ok(client)
    }

    /// Connects as `config` says. Each notification of the server becomes a hint of `hints`.
    async fn connect_by(
        &self,
        config: &Config,
        hints: Option<ChangeHints>,
        runtime: &Runtime,
    ) -> Result<Client, tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                runtime.spawn(drive(connection, hints));
                Ok(client)
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                runtime.spawn(drive(connection, hints));
                Ok(client)
            }
        }
    }

    /// Turns a failure into an error of the store.
    pub(super) fn explain(&self, failure: Failure) -> Error {
        let namespace = || self.namespace.to_string();
        match failure {
            Failure::Unreadable(what) => Error::DamagedSchema { namespace: namespace(), what },
            Failure::NotTheRelay => Error::RoleLost,
            Failure::WentBack => Error::WentBack,
            Failure::TooSlow | Failure::Client(_) | Failure::Refused { ends_connection: true, .. } => {
                Error::Unreachable(failure.into())
            }
            Failure::Refused { ends_connection: false, .. } => Error::Database(failure.into()),
        }
    }
}

/// Shows the name of the schema only.
impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Database").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_address_is_refused_and_not_repeated() {
        for url in ["hunter2", "postgresql://me:hunter2@host:port/db", "user=me password=hunter2"] {
            let wrong = Database::new(&Secret::from(url), "relay").unwrap_err();
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
        let right = Database::new(&Secret::from("postgresql://me:hunter2@host/db?sslmode=disable"), "relay_1").unwrap();
        assert_eq!(right.namespace(), "relay_1");
        assert!(!format!("{right:?}").contains("hunter2"));
        let checked = Database::new(&Secret::from("postgresql://me@host/db?sslmode=verify-full"), "relay").unwrap();
        assert_eq!(checked.config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn a_password_in_the_address_is_preferred() {
        let password = |url| {
            let database =
                Database::new(&Secret::from(url), "relay").unwrap().or_password(&Secret::from("from outside"));
            String::from_utf8(database.config.get_password().unwrap().to_vec()).unwrap()
        };
        assert_eq!(password("postgresql://me:hunter2@host/db?sslmode=disable"), "hunter2");
        assert_eq!(password("postgresql://me@host/db?sslmode=disable"), "from outside");
    }
}
