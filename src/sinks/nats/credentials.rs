//! Credentials of NATS. A client logs in by signing the nonce of the server with a private key. A token (JWT) says to
//! which user the key belongs.

use crate::secret::Secret;

/// The beginning of the seed of a user's key.
const SEED_PREFIX: &str = "SU";

/// The two bytes with which the decoded seed of a user's key begins: 10010 10100000 000 in bits. The first five bits
/// (18) say that it is a seed. The next eight bits (20 << 3) say that the key belongs to a user. The last three bits
/// are not used.
const SEED_BYTES: [u8; 2] = [0x95, 0x00];

/// The first byte of the public key of a user.
#[cfg(feature = "sink-nats")]
const PUBLIC_BYTE: u8 = 20 << 3;

/// A user's key, and the user's token if there is one.
#[derive(Clone)]
#[cfg_attr(
    not(any(feature = "sink-nats", test)),
    expect(dead_code, reason = "only the client uses them, and this build has no client")
)]
pub(super) struct Credentials {
    /// The JWT. If there is none, the server finds the user by the public key.
    pub(super) token: Option<Secret>,
    /// The private key of Ed25519, in hexadecimal.
    seed: Secret,
}

/// The reason why a text cannot be used as credentials, in words that follow the name of the configuration key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableCredentials {
    /// There is no seed of a user's key. A seed of another kind of key does not count.
    #[error("holds no seed of a user's key")]
    NoSeed,
    /// The seed is incomplete, is no base32, or has a wrong checksum.
    #[error("holds a seed of a user's key that is damaged")]
    DamagedSeed,
}

impl Credentials {
    /// Reads the content of a file of credentials, or a bare seed.
    ///
    /// # Errors
    /// [`UnusableCredentials`], which does not quote the content.
    pub(super) fn parse(text: &str) -> Result<Self, UnusableCredentials> {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("---"));
        let seed = lines().find(|line| line.starts_with(SEED_PREFIX)).ok_or(UnusableCredentials::NoSeed)?;
        // A JWT begins with a JSON object in base64, and so with `ey`.
        let token = lines().find(|line| line.starts_with("ey"));
        let decoded = decode_base32(seed).ok_or(UnusableCredentials::DamagedSeed)?;
        let (content, checksum) = decoded.split_at_checked(34).ok_or(UnusableCredentials::DamagedSeed)?;
        if !content.starts_with(&SEED_BYTES) || checksum != crc16(content).to_le_bytes() {
            return Err(UnusableCredentials::DamagedSeed);
        }
        Ok(Self { token: token.map(Secret::from), seed: Secret::from(hex::encode(&content[SEED_BYTES.len()..])) })
    }
}

#[cfg(feature = "sink-nats")]
mod signing {
    use rustls::SignatureScheme;
    use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::sign::SigningKey;
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{Credentials, PUBLIC_BYTE, crc16, encode_base32};

    /// The bytes before the private key of Ed25519 in the format PKCS #8.
    const PKCS8_HEAD: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

    /// The parts of a login with a key.
    pub(in crate::sinks::nats) struct SignedNonce {
        /// The public key, as NATS writes it.
        pub(in crate::sinks::nats) public_key: String,
        /// The signature of the nonce, as NATS writes it.
        pub(in crate::sinks::nats) signature: String,
    }

    impl Credentials {
        /// Signs the nonce of a server; `None` if the key cannot be used.
        pub(in crate::sinks::nats) fn sign(&self, nonce: &str) -> Option<SignedNonce> {
            let key = self.key()?;
            let signer = key.choose_scheme(&[SignatureScheme::ED25519])?;
            let signature = URL_SAFE_NO_PAD.encode(signer.sign(nonce.as_bytes()).ok()?);
            let whole = key.public_key()?;
            // `whole` describes the public key (in DER). Its last 32 bytes are the key itself.
            let mut public = vec![PUBLIC_BYTE];
            public.extend_from_slice(whole.last_chunk::<32>()?);
            public.extend_from_slice(&crc16(&public).to_le_bytes());
            Some(SignedNonce { public_key: encode_base32(&public), signature })
        }

        fn key(&self) -> Option<Arc<dyn SigningKey>> {
            let mut der = PKCS8_HEAD.to_vec();
            der.extend_from_slice(&hex::decode(self.seed.expose()).ok()?);
            any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).ok()
        }
    }
}

/// The alphabet of base32 (RFC 4648).
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Decodes base32 without padding.
fn decode_base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut out) = (0_u32, 0_u32, Vec::new());
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = (bits << 5 | u32::try_from(value).ok()?) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

/// Encodes base32 without padding. The number of bytes must be a multiple of 5. This holds for a public key: with its
/// first byte and its checksum it has 35 bytes.
#[cfg(any(test, feature = "sink-nats"))]
fn encode_base32(bytes: &[u8]) -> String {
    let letter = |value: u64| char::from(ALPHABET[usize::try_from(value & 31).unwrap_or_default()]);
    let chunk = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        (0..8).rev().map(move |index| letter(bits >> (5 * index))).collect::<String>()
    };
    bytes.chunks(5).map(chunk).collect()
}

/// Computes the checksum of keys of NATS: CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed made for this test: the bytes 0 to 31.
    fn seed() -> String {
        let mut bytes = SEED_BYTES.to_vec();
        bytes.extend(0..32);
        bytes.extend(crc16(&bytes).to_le_bytes());
        // These are 36 bytes, but `encode_base32` needs a multiple of 5. So four zero bytes are added, and the letters
        // that stand for them are removed again.
        bytes.extend([0; 4]);
        let mut text = encode_base32(&bytes);
        text.truncate(58);
        text
    }

    #[test]
    fn base32_and_checksum() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(encode_base32(b"fooba"), "MZXW6YTB");
        assert_eq!(decode_base32("MZXW6YTB").unwrap(), b"fooba");
        assert_eq!(decode_base32("MZXW6YTBOI").unwrap(), b"foobar");
        assert_eq!(decode_base32("mz"), None);
    }

    #[test]
    fn credentials_of_both_kinds_are_read() {
        let seed = seed();
        assert!(seed.starts_with("SU"), "{seed}");
        let bare = Credentials::parse(&format!("{seed}\n")).ok().unwrap();
        assert!(bare.token.is_none());
        assert_eq!(bare.seed.expose(), hex::encode((0..32).collect::<Vec<u8>>()));
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.sig\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\nNKEY Seed printed below\n\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\n"
        );
        let whole = Credentials::parse(&file).ok().unwrap();
        assert_eq!(whole.token.unwrap().expose(), "eyJ0.eyJq.sig");
        let damaged = seed.replace('A', "B");
        for (text, wrong) in [
            ("", UnusableCredentials::NoSeed),
            ("eyJ0.eyJq.sig", UnusableCredentials::NoSeed),
            (damaged.as_str(), UnusableCredentials::DamagedSeed),
            ("SU", UnusableCredentials::DamagedSeed),
            (&seed[..40], UnusableCredentials::DamagedSeed),
        ] {
            assert_eq!(Credentials::parse(text).err(), Some(wrong), "{text}");
        }
    }

    /// OpenSSL computes the expected public key from the private key 00 01 … 1f.
    #[cfg(feature = "sink-nats")]
    #[test]
    fn a_nonce_is_signed() {
        let signed = Credentials::parse(&seed()).ok().unwrap().sign("nonce").unwrap();
        assert_eq!(signed.signature.len(), 86);
        let decoded = decode_base32(&signed.public_key).unwrap();
        assert!(signed.public_key.starts_with('U') && signed.public_key.len() == 56, "{}", signed.public_key);
        assert_eq!(hex::encode(&decoded[1..33]), "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8");
    }
}
