//! A reverse proxy in front of a server. The test chooses whether it passes connections on, ends TLS, or breaks
//! connections.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::certificates::Identity;
use super::raw::BackgroundRuntime;

/// What the proxy does with a connection.
#[derive(Clone)]
pub(crate) enum Manner {
    /// The proxy passes the connection on.
    Pass,
    /// The proxy ends TLS, and passes on the bytes inside.
    Tls(Identity),
    /// The proxy ends TLS and HTTP/2, and passes on each request.
    Http2(Identity),
    /// The proxy closes the connection as soon as the first byte came.
    Close,
    /// The proxy resets the connection as soon as the first byte came.
    Reset,
    /// The proxy answers with these bytes as soon as the first byte came, and closes the connection.
    Say(Vec<u8>),
    /// The proxy never sends anything.
    Silence,
}

/// A reverse proxy. It ends when it is dropped.
pub(crate) struct ReverseProxy {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    accepted: Arc<AtomicUsize>,
    _runtime: BackgroundRuntime,
}

impl ReverseProxy {
    /// Starts a proxy at this address, on a port of its own, in front of the server `behind`.
    pub(crate) fn start(at: IpAddr, behind: SocketAddr, manner: Manner) -> Self {
        let runtime = BackgroundRuntime::new();
        let listener = runtime.block_on(TcpListener::bind((at, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, manners) = watch::channel(manner);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut manners = manners.clone();
                tokio::spawn(async move {
                    let manner = manners.borrow_and_update().clone();
                    tokio::select! {
                        () = serve(stream, behind, manner) => {}
                        // Open connections end, as they do when a server is restarted.
                        _ = manners.changed() => {}
                    }
                });
            }
        });
        Self { address, manner, accepted, _runtime: runtime }
    }

    /// Starts a proxy on loopback.
    pub(crate) fn on_loopback(behind: SocketAddr, manner: Manner) -> Self {
        Self::start(IpAddr::from([127, 0, 0, 1]), behind, manner)
    }

    /// Returns the address at which the proxy listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the proxy's port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the proxy's URL, with its address or with a host name.
    pub(crate) fn url(&self, scheme: &str, host: Option<&str>) -> String {
        let host = host.map_or_else(|| self.address.ip().to_string(), str::to_owned);
        format!("{scheme}://{host}:{}", self.port())
    }

    /// Changes what the proxy does with connections. Open connections end.
    pub(crate) fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Returns how many connections were made to the proxy.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, behind: SocketAddr, manner: Manner) {
    drop(stream.set_nodelay(true));
    match manner {
        Manner::Pass => pass(stream, behind).await,
        Manner::Tls(identity) => {
            if let Ok(stream) = TlsAcceptor::from(identity).accept(stream).await {
                pass(stream, behind).await;
            }
        }
        Manner::Http2(identity) => {
            if let Ok(stream) = TlsAcceptor::from(identity).accept(stream).await {
                let client = reqwest::Client::new();
                let service = service_fn(move |request| forward(client.clone(), behind, request));
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            }
        }
        Manner::Close => drop(stream.read_u8().await),
        Manner::Reset => {
            drop(stream.read_u8().await);
            drop(stream.set_zero_linger());
        }
        Manner::Say(bytes) => {
            drop(stream.read_u8().await);
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
            // If bytes were left unread, the close would be a reset.
            drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
        }
        Manner::Silence => drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await),
    }
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, behind: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(behind).await {
        drop(server.set_nodelay(true));
        drop(copy_bidirectional(&mut stream, &mut server).await);
    }
}

async fn forward(
    client: reqwest::Client,
    behind: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let sent = client.request(head.method, format!("http://{behind}{path}")).headers(head.headers).body(body).send();
    let Ok(answer) = sent.await else {
        return Ok(Response::builder().status(502).body(Full::default()).unwrap());
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| !is_of_the_connection(name.as_str())) {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.bytes().await.unwrap_or_default())).unwrap())
}

/// Whether a header is one that HTTP/2 does not have.
fn is_of_the_connection(name: &str) -> bool {
    ["connection", "keep-alive", "transfer-encoding"].contains(&name)
}
