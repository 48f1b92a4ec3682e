//! The TLS of connections that are not HTTP: the same certificates and the same checks as for HTTP.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::Tls;

/// TLS cannot be set up, for example because this machine has no certificates of authorities.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsSetupError(String);

impl Tls {
    /// Returns the configuration of a client that trusts these authorities, or the system's authorities if there are
    /// none. If the server asks for a certificate, the client shows the one of `identity`, if there is one.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the authorities cannot be used.
    pub fn client_config(&self) -> Result<ClientConfig, TlsSetupError> {
        let explain = |error: &dyn std::fmt::Display| TlsSetupError(error.to_string());
        let provider = Arc::new(default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if self.authorities.is_empty() {
            Arc::new(Verifier::new(Arc::clone(&provider)).map_err(|error| explain(&error))?)
        } else {
            let mut roots = RootCertStore::empty();
            for authority in &self.authorities {
                roots.add(authority.clone()).map_err(|error| explain(&error))?;
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| explain(&error))?
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| explain(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let own = SingleCertAndKey::from(own.certified.as_ref().clone());
                builder.with_client_cert_resolver(Arc::new(own))
            }
        };
        // A connection is kept open for long, so resuming TLS sessions would save little.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
