//! Describes for operators why TLS failed: first the reason, then the remedy.
//!
//! Invariant: of the other side's texts, only the names in its certificate are shown. Control characters are removed
//! from these names, and long names are cut.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as Tls, InvalidMessage};

use crate::domain::UnixMs;

/// The most names of a certificate that are shown.
const NAMES_SHOWN: usize = 3;

/// The longest name that is shown in full, in characters.
const NAME_LENGTH: usize = 100;

const NOT_FOR_SERVERS: &str = "the server's certificate is not made for servers: it needs the use \"serverAuth\"";

/// Returns the words for one link in a chain of causes, if the link is an error of TLS.
pub(super) fn words(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        // This is the library's text for a connection that ends during the handshake.
        if io.kind() == io::ErrorKind::UnexpectedEof && io.to_string() == "tls handshake eof" {
            return Some("the connection was closed during the TLS handshake".to_owned());
        }
        return words(io.get_ref()?);
    }
    cause.downcast_ref().map(of_tls)
}

fn of_tls(error: &Tls) -> String {
    match error {
        Tls::InvalidCertificate(error) => of_certificate(error),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the answer is not TLS: should the URL begin with http:// instead of https://?".to_owned()
        }
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "the other side wants to see a certificate: name yours in tls.cert_file and tls.key_file".to_owned()
        }
        Tls::AlertReceived(alert) => format!("the other side refuses the TLS handshake: {alert:?}"),
        Tls::PeerIncompatible(_) => format!("the other side cannot do TLS 1.2 or 1.3 as it is safe today: {error}"),
        other => format!("TLS failed: {other}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    use CertificateError as Bad;
    match error {
        Bad::ExpiredContext { not_after, .. } => format!(
            "the server's certificate expired at {}: renew it there, or is this machine's clock wrong?",
            instant(not_after.as_secs())
        ),
        Bad::Expired => {
            "the server's certificate has expired: renew it there, or is this machine's clock wrong?".to_owned()
        }
        Bad::NotValidYetContext { not_before, .. } => format!(
            "the server's certificate is not valid before {}: is this machine's clock wrong?",
            instant(not_before.as_secs())
        ),
        Bad::NotValidYet => "the server's certificate is not valid yet: is this machine's clock wrong?".to_owned(),
        Bad::UnknownIssuer => {
            "the server's certificate is signed by nobody that is trusted here: name its authority's \
                               certificate in tls.ca_file, or should the server send an intermediate one?"
                .to_owned()
        }
        Bad::NotValidForNameContext { presented, .. } => {
            format!(
                "the server's certificate is for {}, not for the host in the URL: which of the two is wrong?",
                names(presented)
            )
        }
        Bad::NotValidForName => "the server's certificate is not for the host in the URL".to_owned(),
        Bad::Revoked => "the server's certificate was revoked: it needs a new one".to_owned(),
        Bad::BadSignature => "the server's certificate is not signed by whom it names".to_owned(),
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is self-signed, and made for an authority (CA:TRUE) instead of a server: make \
             one with CA:FALSE for it"
                .to_owned()
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => NOT_FOR_SERVERS.to_owned(),
        other if other.to_string().contains("EkuError") => NOT_FOR_SERVERS.to_owned(),
        other => format!("the server's certificate is not accepted: {other}"),
    }
}

fn instant(unix_seconds: u64) -> UnixMs {
    UnixMs(i64::try_from(unix_seconds).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// Lists the first few names of a certificate, with `DnsName("a.example")` shown as `a.example`, and
/// `IpAddress(10.1.2.3)` as `10.1.2.3`.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| -> String {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        inner.trim_matches('"').chars().filter(|next| !next.is_control()).take(NAME_LENGTH).collect()
    };
    let mut shown: Vec<String> = presented.iter().take(NAMES_SHOWN).map(plain).collect();
    if presented.len() > NAMES_SHOWN {
        shown.push("…".to_owned());
    }
    if shown.is_empty() { "no name at all".to_owned() } else { shown.join(", ") }
}
