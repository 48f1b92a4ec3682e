//! The server: accepts connections, and limits them.
//!
//! `axum::serve` limits neither the time in which a client sends its headers nor the number of connections. So this
//! module uses hyper directly.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::router::router;
use super::settings::Options;
use super::state::{AdminState, ArrivedAt, Endpoint};
use super::watcher::watch;
use super::write_limit::WriteLimit;

/// The most connections at a time. Further clients wait until a connection ends.
const MOST_CONNECTIONS: usize = 64;

/// The longest time in which a client sends the head of a request, and the longest time between two requests of a
/// connection.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The most bytes of the head of a request.
const LARGEST_HEAD: usize = 16 * 1024;

/// The most header lines of a request.
const MOST_HEADERS: usize = 64;

/// A client that accepts no byte of its answer for this long is cut off.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// The wait after a connection could not be accepted, for example because the process has too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// Why the endpoint cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("the admin endpoint cannot listen at {address}: {source}{}", hint(source))]
pub struct CannotListen {
    /// The address of `admin.listen`.
    address: SocketAddr,
    /// The error of the operating system.
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program, perhaps another relay, uses the port: set another `admin.listen`"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine does not have the address: set another `admin.listen`",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root: set another port in `admin.listen`",
        _ => "",
    }
}

/// The endpoint, which listens but does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
}

impl AdminServer {
    /// Listens at the configured address.
    ///
    /// # Errors
    /// [`CannotListen`] if the address cannot be used.
    pub async fn bind(options: &Options) -> Result<Self, CannotListen> {
        let explain = |source| CannotListen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(explain)?;
        let address = listener.local_addr().map_err(explain)?;
        Ok(Self { listener, address, options: options.clone() })
    }

    /// Returns the address at which the endpoint listens, with the port that the system has chosen for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether a token is configured. Without a token, only the paths that need none exist.
    pub fn has_token(&self) -> bool {
        self.options.token.is_some()
    }

    /// Answers requests until the future is dropped, which also cuts off requests under way.
    pub async fn serve(self, state: AdminState) {
        let endpoint = Endpoint::new(&self.options, state);
        let router = router(&endpoint);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        connections.spawn(watch(endpoint));
        loop {
            while connections.try_join_next().is_some() {}
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, router.clone(), place))),
                Err(error) => {
                    tracing::debug!(%error, "a connection to the admin endpoint cannot be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, _place: OwnedSemaphorePermit) {
    let Ok(own_address) = stream.local_addr() else { return };
    let service = TowerToHyperService::new(router.layer(Extension(ArrivedAt(own_address.ip()))));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(WriteLimit::new(stream, WRITE_TIME)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin endpoint has ended early");
    }
}
