//! The way to the other side: through which proxy, and whose certificates count on it.

use std::fmt;

use reqwest::{Certificate, ClientBuilder, Identity, Url};

use super::Proxy;

/// How connections are made, beyond an address.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// Through what.
    pub proxy: Proxy,
    /// Whom to trust, and who we are.
    pub tls: Tls,
}

/// Certificates, read from their files; see [`super::tls_files`].
#[derive(Clone, Default)]
pub struct Tls {
    /// The only ones that may vouch for the other side; without any, those of the system.
    pub(super) authorities: Vec<Certificate>,
    /// What we show when the other side asks who we are.
    pub(super) identity: Option<Identity>,
}

impl Transport {
    /// Takes this way for all connections of a client that sends to `url`.
    pub(super) fn apply(&self, builder: ClientBuilder, url: &Url) -> reqwest::Result<ClientBuilder> {
        // What the environment says of proxies was decided when the configuration was read.
        let builder = match &self.proxy.address {
            None => builder.no_proxy(),
            Some(address) => builder.proxy(reqwest::Proxy::all(address.clone())?),
        };
        let is_tls = |url: &Url| url.scheme() == "https";
        let builder = match self.tls.authorities.as_slice() {
            // The system's certificates are looked for only where one has to be checked: a bare machine has none.
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
    /// Whether we show a certificate of our own.
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
