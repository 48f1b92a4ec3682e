//! The way to the other side: through which proxy, and whose certificates count on it.

use std::fmt;

use reqwest::{Certificate, ClientBuilder, Identity, Url};

use super::RedactedUrl;

/// How connections are made, beyond an address.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Through what.
    pub proxy: Proxy,
    /// Whom to trust, and who we are.
    pub tls: Tls,
}

/// Whether requests go through a proxy.
#[derive(Clone, Default)]
pub enum Proxy {
    /// As the usual variables say: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    #[default]
    Environment,
    /// Never.
    Off,
    /// All of them through this one. It may hold a password.
    Url(Url),
}

/// Certificates, read from their files; see [`super::tls_files`].
#[derive(Clone, Default)]
pub struct Tls {
    /// The only ones that may vouch for the other side; without any, those of the system.
    pub(super) authorities: Vec<Certificate>,
    /// What we show when the other side asks who we are.
    pub(super) identity: Option<Identity>,
}

impl Way {
    /// Takes this way for all connections of a client.
    pub(super) fn apply(&self, builder: ClientBuilder) -> reqwest::Result<ClientBuilder> {
        let builder = match &self.proxy {
            Proxy::Environment => builder,
            Proxy::Off => builder.no_proxy(),
            Proxy::Url(url) => builder.proxy(reqwest::Proxy::all(url.clone())?),
        };
        let builder = match self.tls.authorities.as_slice() {
            [] => builder,
            authorities => builder.tls_certs_only(authorities.iter().cloned()),
        };
        Ok(match &self.tls.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        })
    }
}

impl Proxy {
    /// Whether the configuration has a user or a password for it.
    pub fn has_credentials(&self) -> bool {
        matches!(self, Self::Url(url) if !url.username().is_empty() || url.password().is_some())
    }
}

impl Tls {
    /// Whether we show a certificate of our own.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => out.write_str("Environment"),
            Self::Off => out.write_str("Off"),
            Self::Url(url) => fmt::Debug::fmt(&RedactedUrl(url), out),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = if self.identity.is_some() { "with" } else { "without" };
        write!(out, "Tls({} authorities, {identity} identity)", self.authorities.len())
    }
}
