//! Reads certificates and keys from PEM files. Errors name the mistake.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Certificate, Identity};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

use super::transport::{ClientCertificate, Tls};
use crate::files;

/// The longest file that is read, in bytes. The certificate bundle of a whole system has about 250 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The mistake in a file. Displays as the end of a sentence that begins with the file's name, and repeats nothing of
/// the content.
#[derive(Debug, thiserror::Error)]
pub enum UnusableTlsFile {
    /// The system cannot read the file.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is too long for certificates.
    #[error("is longer than 1 MiB, so it is not what is meant")]
    TooLong,
    /// The file is DER or PKCS #12.
    #[error("is binary (DER or PKCS #12); convert it to PEM, which is text")]
    Binary,
    /// The file is UTF-16, as some editors save text.
    #[error("is UTF-16; save it as plain text (ASCII or UTF-8)")]
    Utf16,
    /// The file has no certificate in PEM form.
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    /// The two files are mixed up: this file should hold the certificate.
    #[error("holds a private key and no certificate")]
    KeyInstead,
    /// The two files are mixed up: this file should hold the key.
    #[error("holds a certificate and no private key")]
    CertificateInstead,
    /// The file is PEM with something other than a key, or is not PEM.
    #[error("holds no private key in PEM form")]
    NoKey,
    /// The key needs a passphrase.
    #[error("holds a key that is locked with a passphrase; store it without one, readable by the relay's user only")]
    Locked,
    /// The file has several keys.
    #[error("holds more than one private key")]
    SeveralKeys,
    /// The PEM or its content is invalid.
    #[error("holds a certificate or key that cannot be read: {0}")]
    Broken(String),
    /// The certificate and the key do not belong together.
    #[error("holds another key than that of the certificate")]
    OtherKey,
}

/// Reads the authorities that are trusted to sign the other side's certificate.
///
/// # Errors
/// [`UnusableTlsFile`] if the file cannot be used.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, UnusableTlsFile> {
    let found = certificates(&read(path)?)?;
    let mut store = RootCertStore::empty();
    for certificate in &found {
        store.add(certificate.clone()).map_err(|error| UnusableTlsFile::Broken(error.to_string()))?;
    }
    for certificate in &found {
        Certificate::from_der(certificate).map_err(|_| UnusableTlsFile::NoCertificate)?;
    }
    Ok(found)
}

/// Reads the client certificate, and its intermediate certificates if the file has any.
///
/// # Errors
/// [`UnusableTlsFile`] if the file cannot be used.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, UnusableTlsFile> {
    let chain = certificates(&read(path)?)?;
    if let Some(own) = chain.first() {
        ParsedCertificate::try_from(own).map_err(|error| UnusableTlsFile::Broken(error.to_string()))?;
    }
    Ok(chain)
}

/// Reads the key of a client certificate.
///
/// # Errors
/// [`UnusableTlsFile`] if the file cannot be used, for example because the key belongs to another certificate.
pub fn read_identity(chain: &[CertificateDer<'static>], path: &Path) -> Result<ClientCertificate, UnusableTlsFile> {
    let pem = read(path)?;
    if pem.windows(9).any(|part| part == b"ENCRYPTED") {
        return Err(UnusableTlsFile::Locked);
    }
    let mut keys = Vec::new();
    for key in PrivateKeyDer::pem_slice_iter(&pem) {
        keys.push(key.map_err(|error| UnusableTlsFile::Broken(error.to_string()))?);
    }
    let key = match keys.pop() {
        Some(_) if !keys.is_empty() => return Err(UnusableTlsFile::SeveralKeys),
        Some(key) => key,
        None if is_binary(&pem) => return Err(UnusableTlsFile::Binary),
        None if holds_certificate(&pem) => return Err(UnusableTlsFile::CertificateInstead),
        None => return Err(UnusableTlsFile::NoKey),
    };
    let certified = match CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &default_provider()) {
        Ok(certified) => Arc::new(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => return Err(UnusableTlsFile::OtherKey),
        Err(error) => return Err(UnusableTlsFile::Broken(error.to_string())),
    };
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    // Only the certificates and the key are passed on, not other parts of the files.
    let mut pem: String = chain.iter().map(|certificate| armored("CERTIFICATE", certificate)).collect();
    pem += &armored(label, key.secret_der());
    let for_http = Identity::from_pem(pem.as_bytes()).map_err(|_| UnusableTlsFile::NoKey)?;
    Ok(ClientCertificate { for_http, certified })
}

/// Makes a [`Tls`] from its parts.
pub fn tls(authorities: Vec<CertificateDer<'static>>, identity: Option<ClientCertificate>) -> Tls {
    Tls { authorities, identity }
}

/// Reads a file without the byte order mark that some editors write.
///
/// # Errors
/// [`UnusableTlsFile`] if the file cannot be read, is too long, or is UTF-16.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, UnusableTlsFile> {
    let mut bytes = Vec::new();
    files::open_configured(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(UnusableTlsFile::TooLong);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(UnusableTlsFile::Utf16);
    }
    // A byte order mark would hide the first line.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, UnusableTlsFile> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        found.push(certificate.map_err(|error| UnusableTlsFile::Broken(error.to_string()))?);
    }
    match found.is_empty() {
        false => Ok(found),
        true if is_binary(pem) => Err(UnusableTlsFile::Binary),
        true if pem.windows(11).any(|part| part == b"PRIVATE KEY") => Err(UnusableTlsFile::KeyInstead),
        true => Err(UnusableTlsFile::NoCertificate),
    }
}

fn holds_certificate(pem: &[u8]) -> bool {
    pem.windows(11).any(|part| part == b"CERTIFICATE")
}

/// Whether the bytes are DER: they begin with the tag of a sequence, and are not text.
fn is_binary(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && str::from_utf8(bytes).is_err()
}

fn armored(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pem");
        let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let long = "x".repeat(1 << 21);
        for (content, as_certificate, as_key) in [
            ("", "holds no certificate in PEM form", "holds no private key in PEM form"),
            ("hunter2", "holds no certificate in PEM form", "holds no private key in PEM form"),
            (&long, "is longer than 1 MiB", "is longer than 1 MiB"),
            (&pem("PRIVATE KEY", "aHVudGVyMg=="), "holds a private key and no certificate", "cannot be read: "),
            (&pem("CERTIFICATE", "hunter2!"), "cannot be read: ", "cannot be read: "),
            (&pem("CERTIFICATE", "aHVudGVyMg=="), "cannot be read: ", "holds a certificate and no private key"),
            (
                &pem("ENCRYPTED PRIVATE KEY", "aHVudGVyMg=="),
                "holds a private key and no certificate",
                "is locked with a passphrase",
            ),
            (
                &pem("PRIVATE KEY", "aHVudGVyMg==").repeat(2),
                "holds a private key and no certificate",
                "holds more than one private key",
            ),
        ] {
            fs::write(&path, content).unwrap();
            let said = [
                (read_authorities(&path).err(), as_certificate),
                (read_chain(&path).err(), as_certificate),
                (read_identity(&[CertificateDer::from(vec![1])], &path).err(), as_key),
            ];
            for (error, expected) in said {
                let said = error.map(|error| error.to_string()).unwrap_or_default();
                assert!(said.contains(expected) && !said.contains("hunter2"), "{content:.40}: {said}");
            }
        }
        fs::write(&path, b"\xff\xfe-\0-\0").unwrap();
        assert!(matches!(read_chain(&path), Err(UnusableTlsFile::Utf16)));
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let marked = |pem: String| format!("\u{feff}{}", pem.replace('\n', "\r\n"));
        fs::write(&path, marked(cert.pem())).unwrap();
        let chain = read_chain(&path).unwrap();
        fs::write(&path, marked(signing_key.serialize_pem())).unwrap();
        read_identity(&chain, &path).unwrap();
        fs::write(&path, [0x30, 0x82, 0xff, 0xfe]).unwrap();
        assert!(matches!(read_chain(&path), Err(UnusableTlsFile::Binary)));
        assert!(matches!(read_identity(&[], &path), Err(UnusableTlsFile::Binary)));
        let missing = read_chain(&directory.path().join("missing")).unwrap_err().to_string();
        assert_eq!(missing, "cannot be read: No such file or directory (os error 2)");
    }
}
