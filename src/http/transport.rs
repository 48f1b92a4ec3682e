//! How requests reach the other side: through which proxy, and with which certificates.

use std::fmt;
use std::sync::Arc;

use reqwest::{Certificate, ClientBuilder, Identity, Url};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::Proxy;

/// How connections to an address are made.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// The proxy that connections go through, if they go through one.
    pub proxy: Proxy,
    /// The certificates that are trusted, and the certificate that is shown to the other side.
    pub tls: Tls,
}

/// Certificates that [`super::tls_files`] has read from their files.
#[derive(Clone, Default)]
pub struct Tls {
    /// The only authorities that are trusted; if the list is empty, the system's authorities are trusted.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// The client certificate that is shown when the other side asks for a certificate.
    pub(super) identity: Option<ClientCertificate>,
}

/// The relay's own certificate, with its key.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate and the key as a client for HTTP takes them.
    pub(super) for_http: Identity,
    /// The certificate and the key as rustls takes them.
    #[cfg_attr(
        not(feature = "server-connections"),
        expect(dead_code, reason = "connections that are not HTTP show it")
    )]
    pub(super) certified: Arc<CertifiedKey>,
}

impl Transport {
    /// Configures `builder` to make a client that sends to `url` over this transport.
    pub(super) fn apply(&self, builder: ClientBuilder, url: &Url) -> reqwest::Result<ClientBuilder> {
        // The environment's proxy variables were read together with the configuration, so the client must not read them
        // again.
        let builder = match &self.proxy.address {
            None => builder.no_proxy(),
            Some(address) => builder.proxy(reqwest::Proxy::all(address.clone())?),
        };
        let is_tls = |url: &Url| url.scheme() == "https";
        let builder = match self.tls.authorities.as_slice() {
            // The system's certificates are loaded only if a certificate has to be checked, because loading fails on a
            // machine that has none.
            [] if is_tls(url) || self.proxy.address.as_ref().is_some_and(is_tls) => builder,
            authorities => {
                let certificates: reqwest::Result<Vec<Certificate>> =
                    authorities.iter().map(|authority| Certificate::from_der(authority)).collect();
                builder.tls_certs_only(certificates?)
            }
        };
        Ok(match &self.tls.identity {
            Some(identity) => builder.identity(identity.for_http.clone()),
            None => builder,
        })
    }
}

impl Tls {
    /// Whether there is a client certificate to show.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = if self.identity.is_some() { "with" } else { "without" };
        write!(out, "Tls({} authorities, {identity} identity)", self.authorities.len())
    }
}
