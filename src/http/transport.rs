//! How requests reach the other side: through which proxy, and with which certificates.

use std::fmt;

use reqwest::{Certificate, ClientBuilder, Identity, Url};

use super::Proxy;

/// How connections to an address are made.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// The proxy that connections go through, if they go through one.
    pub proxy: Proxy,
    /// Which certificates are trusted, and which one is shown.
    pub tls: Tls,
}

/// Certificates, read from their files; see [`super::tls_files`].
#[derive(Clone, Default)]
pub struct Tls {
    /// The only authorities that are trusted; if there are none, those of the system are.
    pub(super) authorities: Vec<Certificate>,
    /// The certificate that is shown when the other side asks for one.
    pub(super) identity: Option<Identity>,
}

impl Transport {
    /// Sets up a client that sends to `url` for this transport.
    pub(super) fn apply(&self, builder: ClientBuilder, url: &Url) -> reqwest::Result<ClientBuilder> {
        // The environment's proxy variables were considered when the configuration was read.
        let builder = match &self.proxy.address {
            None => builder.no_proxy(),
            Some(address) => builder.proxy(reqwest::Proxy::all(address.clone())?),
        };
        let is_tls = |url: &Url| url.scheme() == "https";
        let builder = match self.tls.authorities.as_slice() {
            // The system's certificates are loaded only where a certificate has to be checked: a bare machine has none.
            [] if is_tls(url) || self.proxy.address.as_ref().is_some_and(is_tls) => builder,
            authorities => builder.tls_certs_only(authorities.iter().cloned()),
        };
        Ok(match &self.tls.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        })
    }
}

impl Tls {
    /// Whether there is a client certificate.
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
