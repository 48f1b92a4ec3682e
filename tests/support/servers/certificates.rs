//! Makes certificates, good and bad, for servers at `localhost`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The TLS configuration of a server, with its certificate and key.
pub(crate) type Identity = Arc<ServerConfig>;

/// A certificate authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    /// Makes an authority whose own certificate lies in a file in this directory.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Returns the path of the authority's own certificate.
    pub(crate) fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// Makes a certificate for a server, changed as the test wants.
    pub(crate) fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (mut params, key) = (params("localhost"), KeyPair::generate().unwrap());
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        identity(certificate.der().clone(), &key)
    }

    /// Makes a valid certificate for a server of another program, and its key, in two files of this directory. Returns
    /// their paths.
    pub(crate) fn files(&self, dir: &Path, name: &str) -> (String, String) {
        let (params, key) = (params("localhost"), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |kind: &str, text: String| {
            let path = dir.join(format!("{name}.{kind}.pem"));
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        (write("certificate", certificate.pem()), write("key", key.serialize_pem()))
    }

    /// Makes a valid certificate for a server.
    pub(crate) fn good(&self) -> Identity {
        self.sign(|_| ())
    }
}

/// Makes a certificate that a server signed itself.
pub(crate) fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let (mut params, key) = (params("localhost"), KeyPair::generate().unwrap());
    change(&mut params);
    identity(params.self_signed(&key).unwrap().der().clone(), &key)
}

/// Returns the same identity for a server that also speaks HTTP/2.
pub(crate) fn with_http2(identity: &Identity) -> Identity {
    let mut config = ServerConfig::clone(identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn identity(certificate: CertificateDer<'static>, key: &KeyPair) -> Identity {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    Arc::new(config)
}
