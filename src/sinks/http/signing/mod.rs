//! Signatures of requests, by which a receiver knows who sent a message and that nobody changed it.
//!
//! Invariants: the body that is signed is, byte for byte, the body that is sent. If a time is signed, too, it is the
//! time of the attempt, and a header tells it to the receiver. Keys are never shown.

pub mod settings;

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::domain::UnixMs;

/// The header with the time of the attempt, in whole seconds since 1970.
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The header with the signatures of Standard Webhooks.
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The beginning of a secret of Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";

/// How many bytes a secret of Standard Webhooks may have.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Reads base64 with or without padding, because secrets are copied by hand.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The scheme by which requests are signed, with its keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Signing {
    /// Standard Webhooks. Each key makes a signature of its own, so the receiver needs to know only one of the keys.
    /// There is at least one key.
    StandardWebhooks(Vec<Key>),
    /// One HMAC with SHA-256, in the header in which the receiver expects it.
    HmacSha256 {
        /// The key.
        key: Key,
        /// The header that contains the signature.
        header: HeaderName,
        /// The notation of the signature.
        encoding: Encoding,
        /// The text before the signature.
        prefix: String,
        /// The signed part of the request.
        signed: Signed,
    },
}

/// The notation of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, in small letters.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// The part of a request that an HMAC signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The body.
    Body,
    /// The time of the attempt in seconds, `.`, and the body. The time is sent as `webhook-timestamp`.
    TimestampAndBody,
}

/// A key that is ready to sign.
#[derive(Clone)]
pub struct Key {
    mac: Hmac<Sha256>,
    bytes: usize,
}

/// The error for a text that is not a secret of Standard Webhooks. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not base64, with or without `whsec_` before it")]
pub struct NotASecret;

impl Key {
    /// Makes the key for a secret of Standard Webhooks: base64, with or without `whsec_` before it.
    ///
    /// # Errors
    /// [`NotASecret`] if the text is not such a secret.
    pub fn standard(secret: &str) -> Result<Self, NotASecret> {
        let encoded = secret.trim();
        let encoded = encoded.strip_prefix(SECRET_PREFIX).unwrap_or(encoded);
        let bytes = LENIENT.decode(encoded).map_err(|_| NotASecret)?;
        if bytes.is_empty() { Err(NotASecret) } else { Ok(Self::of(&bytes)) }
    }

    /// Makes the key for a text whose bytes are the secret.
    pub fn raw(secret: &str) -> Self {
        Self::of(secret.as_bytes())
    }

    fn of(bytes: &[u8]) -> Self {
        // HMAC accepts keys of every length (it first hashes a key that is longer than a block), so this never fails.
        let mac = Hmac::new_from_slice(bytes).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { mac, bytes: bytes.len() }
    }

    /// Returns the number of bytes of the secret.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the secret is empty. No key of a sink is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn sign(&self, parts: [&[u8]; 3]) -> Vec<u8> {
        let mut mac = self.mac.clone();
        parts.into_iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
}

impl Signing {
    /// Returns the headers that sign the request of an attempt. `at`: the time of the attempt.
    pub fn headers(&self, webhook_id: &str, at: UnixMs, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
        let seconds = at.0.div_euclid(1000).to_string();
        match self {
            Self::StandardWebhooks(keys) => {
                let head = format!("{webhook_id}.{seconds}.");
                let signatures: Vec<String> = keys
                    .iter()
                    .map(|key| format!("v1,{}", STANDARD.encode(key.sign([head.as_bytes(), body, b""]))))
                    .collect();
                [(WEBHOOK_TIMESTAMP, seconds), (WEBHOOK_SIGNATURE, signatures.join(" "))]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
                    .collect()
            }
            Self::HmacSha256 { key, header, encoding, prefix, signed } => {
                let signature = match signed {
                    Signed::Body => key.sign([body, b"", b""]),
                    Signed::TimestampAndBody => key.sign([seconds.as_bytes(), b".", body]),
                };
                let signature = match encoding {
                    Encoding::Hex => hex::encode(signature),
                    Encoding::Base64 => STANDARD.encode(signature),
                };
                let timestamp = (*signed == Signed::TimestampAndBody).then_some((WEBHOOK_TIMESTAMP, seconds));
                timestamp
                    .into_iter()
                    .chain([(header.clone(), format!("{prefix}{signature}"))])
                    .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
                    .collect()
            }
        }
    }
}

impl Signing {
    /// Checks that a request has a valid signature by each of the keys. Returns the number of keys.
    ///
    /// # Errors
    /// The reason why a receiver that has one of the keys would refuse the request.
    pub fn verify(&self, webhook_id: &str, headers: &HeaderMap, body: &[u8]) -> Result<usize, &'static str> {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let seconds = text(&WEBHOOK_TIMESTAMP).ok_or("there is no webhook-timestamp");
        let signatures: Vec<Option<Vec<u8>>>;
        let (keys, signed) = match self {
            Self::StandardWebhooks(keys) => {
                let parts = text(&WEBHOOK_SIGNATURE).ok_or("there is no webhook-signature")?.split(' ');
                signatures = parts.map(|part| STANDARD.decode(part.strip_prefix("v1,")?).ok()).collect();
                (keys.as_slice(), [webhook_id.as_bytes(), b".", seconds?.as_bytes(), b".", body].concat())
            }
            Self::HmacSha256 { key, header, encoding, prefix, signed } => {
                let signature = text(header).ok_or("there is no signature")?;
                signatures = vec![signature.strip_prefix(prefix.as_str()).and_then(|signature| match encoding {
                    Encoding::Hex => hex::decode(signature).ok(),
                    Encoding::Base64 => STANDARD.decode(signature).ok(),
                })];
                let signed = match signed {
                    Signed::Body => body.to_vec(),
                    Signed::TimestampAndBody => [seconds?.as_bytes(), b".", body].concat(),
                };
                (std::slice::from_ref(key), signed)
            }
        };
        let is_verified = |key: &Key| {
            signatures.iter().flatten().any(|signature| {
                let mut mac = key.mac.clone();
                mac.update(&signed);
                mac.verify_slice(signature).is_ok()
            })
        };
        if keys.iter().all(is_verified) { Ok(keys.len()) } else { Err("the signature is not that of the secret") }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

/// Keys are equal if they make the same signature of the same text. Their bytes cannot be compared, because `mac` does
/// not give them back.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.sign([b"", b"", b""]) == other.sign([b"", b"", b""])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMs = UnixMs(1_614_265_330_999);
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn told(signing: &Signing, body: &[u8]) -> Vec<(String, String)> {
        let headers = signing.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", AT, body);
        headers.into_iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    /// The expected values are the test vector that the libraries of Standard Webhooks use.
    #[test]
    fn standard_webhooks_as_the_reference_has_it() {
        const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        for secret in [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        ] {
            let key = Key::standard(secret).unwrap();
            assert!(SECRET_BYTES.contains(&key.len()));
            let expected = [
                ("webhook-timestamp".to_owned(), "1614265330".to_owned()),
                ("webhook-signature".to_owned(), SIGNATURE.to_owned()),
            ];
            assert_eq!(told(&Signing::StandardWebhooks(vec![key]), BODY), expected);
        }
        let keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];
        let keys = keys.map(|secret| Key::standard(secret).unwrap()).to_vec();
        let both = &told(&Signing::StandardWebhooks(keys), BODY)[1].1;
        let parts: Vec<&str> = both.split(' ').collect();
        assert!(parts.len() == 2 && parts[0] == SIGNATURE && parts[1].starts_with("v1,"), "{both}");
    }

    #[test]
    fn what_is_no_secret_of_standard_webhooks() {
        for secret in ["", "whsec_", "hunter2!", "whsec_hunter2?", "whsk_x"] {
            assert_eq!(Key::standard(secret).err(), Some(NotASecret), "{secret}");
        }
        assert_eq!(Key::standard("YWJjZA").unwrap().len(), 4, "padding may be left out");
        assert_eq!(Key::standard("YWJjZA==").unwrap(), Key::standard("whsec_YWJjZA").unwrap());
    }

    /// The expected values come from: printf '%s' "$signed" | openssl dgst -sha256 -hmac "It's a Secret to Everybody"
    #[test]
    fn hmac_in_its_variants() {
        let signing = |encoding, prefix: &str, signed| Signing::HmacSha256 {
            key: Key::raw("It's a Secret to Everybody"),
            header: HeaderName::from_static("x-hub-signature-256"),
            encoding,
            prefix: prefix.to_owned(),
            signed,
        };
        // This expected value is also in GitHub's documentation of its webhooks.
        let told_of = told(&signing(Encoding::Hex, "sha256=", Signed::Body), b"Hello, World!");
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(told_of, [("x-hub-signature-256".to_owned(), expected.to_owned())]);
        let base64 = told(&signing(Encoding::Base64, "", Signed::Body), b"Hello, World!");
        assert_eq!(base64[0].1, "dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsEPhc=");
        let with_time = told(&signing(Encoding::Hex, "", Signed::TimestampAndBody), b"Hello, World!");
        assert_eq!(with_time[0], ("webhook-timestamp".to_owned(), "1614265330".to_owned()));
        assert_eq!(with_time[1].1, "f37376a318b83773050e9e3ac8c6d599d2254e4f69edd75a1419cb54dc7264f3");
    }

    #[test]
    fn a_receiver_verifies_what_was_signed_and_nothing_else() {
        let hmac = |encoding, signed| Signing::HmacSha256 {
            key: Key::raw("hunter2"),
            header: HeaderName::from_static("x-signature"),
            encoding,
            prefix: "sha256=".to_owned(),
            signed,
        };
        let signings = [
            Signing::StandardWebhooks(vec![Key::raw("a"), Key::raw("b")]),
            hmac(Encoding::Hex, Signed::Body),
            hmac(Encoding::Base64, Signed::TimestampAndBody),
        ];
        for signing in signings {
            let headers: HeaderMap = signing.headers("m1", AT, BODY).into_iter().collect();
            let is_standard = matches!(signing, Signing::StandardWebhooks(_));
            assert_eq!(signing.verify("m1", &headers, BODY), Ok(if is_standard { 2 } else { 1 }));
            assert!(signing.verify("m1", &headers, b"{}").is_err());
            assert!(signing.verify("m1", &HeaderMap::new(), BODY).is_err());
            assert_eq!(signing.verify("m2", &headers, BODY).is_err(), is_standard);
        }
    }

    #[test]
    fn keys_do_not_show_themselves() {
        let key = Key::raw("hunter2");
        assert_eq!(format!("{key:?} {:?}", Signing::StandardWebhooks(vec![key.clone()])).matches("hunter").count(), 0);
        assert!(Key::raw("a") != Key::raw("b"));
    }
}
