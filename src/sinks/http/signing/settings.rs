//! The keys of `[sinks.NAME.signing]`, and the [`Signing`] that they make.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::super::headers::header_name;
use super::{Encoding, Key, SECRET_BYTES, Signed, Signing};
use crate::secret::trimming;
use crate::settings::{self, Origin, Reader, Texts, WordChoice, WrittenText, settings};

/// The keys that only the scheme `hmac-sha256` has.
const OF_HMAC: [&str; 4] = ["header", "encoding", "prefix", "signed"];

settings! {
    /// `[sinks.NAME.signing]`, as written.
    pub struct Settings {
        /// The scheme: standard-webhooks, or hmac-sha256, which sends one HMAC in a header of your choice. Required.
        scheme: Option<Scheme> = settings::one_choice(),
        /// The secrets. They must not be written out in the file. With standard-webhooks there may be several: each
        /// makes a signature of its own, and the receiver needs to know only one of them. hmac-sha256 takes one secret.
        secrets: Option<Texts> = settings::secrets("NAME"),
        /// For hmac-sha256: the header that holds the signature.
        header: Option<WrittenText> = settings::text("header", "the name of a header in quotes", None)
            .or("x-signature"),
        /// For hmac-sha256: how the bytes of the signature become text.
        encoding: Encoding = settings::choice(Encoding::Hex),
        /// For hmac-sha256: a text before the signature, such as "sha256=".
        prefix: Option<WrittenText> = settings::text("text", "a text in quotes", None).or(""),
        /// For hmac-sha256: what is signed. body is the body alone; timestamp.body is the time in `webhook-timestamp`,
        /// a `.`, and the body.
        signed: Signed = settings::choice(Signed::Body),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    StandardWebhooks,
    HmacSha256,
}

impl WordChoice for Scheme {
    const WORDS: &'static [(&'static str, Self)] =
        &[("standard-webhooks", Self::StandardWebhooks), ("hmac-sha256", Self::HmacSha256)];
}

impl WordChoice for Encoding {
    const WORDS: &'static [(&'static str, Self)] = &[("hex", Self::Hex), ("base64", Self::Base64)];
}

impl WordChoice for Signed {
    const WORDS: &'static [(&'static str, Self)] = &[("body", Self::Body), ("timestamp.body", Self::TimestampAndBody)];
}

impl Settings {
    /// Returns how the requests of a sink are signed; `None`: they are not signed, or an error was reported. `headers`:
    /// the headers that the operator adds to the requests.
    pub fn resolve(self, at: &mut Reader<'_>, headers: &HeaderMap) -> Option<Signing> {
        let (_, first) = at.all_written("").next()?;
        let Self { encoding, signed, .. } = self;
        let prefix = self.prefix.map_or_else(String::new, |text| prefix(at, &text));
        let header = self.header.and_then(|text| match text.origin {
            Origin::Default => text.as_str().parse().ok(),
            _ => signature_header(at, &text, headers),
        });
        if at.written("scheme").is_none() {
            let message = format!("`{}` is missing", at.name("scheme"));
            let help = "it must be \"standard-webhooks\" or \"hmac-sha256\"";
            at.missing(&["scheme"], &first.origin, message, help);
            return None;
        }
        match self.scheme? {
            Scheme::StandardWebhooks => {
                for key in OF_HMAC {
                    let Some(origin) = at.origin(key) else { continue };
                    at.wrong(key, origin, "belongs to scheme = \"hmac-sha256\"", "");
                }
                let keys = keys(at, Scheme::StandardWebhooks, self.secrets);
                (!keys.is_empty()).then_some(Signing::StandardWebhooks(keys))
            }
            Scheme::HmacSha256 => {
                let mut keys = keys(at, Scheme::HmacSha256, self.secrets);
                if keys.len() > 1 {
                    let origin = at.origin("secrets").unwrap_or(&first.origin);
                    let message = format!("`{}` has {} secrets", at.name("secrets"), keys.len());
                    let help = "hmac-sha256 takes one secret; with standard-webhooks an old and a new secret can sign side by side";
                    at.error(origin, message, help);
                }
                Some(Signing::HmacSha256 { key: keys.pop()?, header: header?, encoding, prefix, signed })
            }
        }
    }
}

fn prefix(at: &mut Reader<'_>, text: &WrittenText) -> String {
    if HeaderValue::from_str(text.as_str()).is_err() {
        at.wrong("prefix", &text.origin, "holds a character that cannot be sent", "");
        return String::new();
    }
    text.as_str().to_owned()
}

fn signature_header(at: &mut Reader<'_>, text: &WrittenText, headers: &HeaderMap) -> Option<HeaderName> {
    let name = header_name(at, "header", text.as_str(), &text.origin)?;
    if headers.contains_key(&name) {
        let message = format!("`{}`: {name} is set already", at.name("header"));
        at.error(&text.origin, message, "take another header for the signature");
        return None;
    }
    Some(name)
}

/// Returns the keys in the order in which they were written. If the result is empty, an error was reported.
fn keys(at: &mut Reader<'_>, scheme: Scheme, written: Option<Texts>) -> Vec<Key> {
    let mut keys = Vec::new();
    let name = at.name("secrets");
    match written {
        None => {
            let origin = at.origin("scheme").unwrap_or(at.place());
            let help = "write secrets = [{ env = \"NAME\" }]";
            at.missing(&["secrets"], origin, format!("`{name}` is missing"), help);
        }
        Some(written) if written.is_empty_array => {
            let help = "it needs at least one secret";
            at.error(&written.origin, format!("`{name}` is an empty array"), help);
        }
        Some(written) => written.texts.iter().for_each(|text| keys_in(at, scheme, text, &mut keys)),
    }
    keys
}

/// Adds the keys of one text. With Standard Webhooks, a text from outside the file may hold several secrets with commas
/// between them. The secret of the other scheme may itself contain commas, so it is not split.
fn keys_in(at: &mut Reader<'_>, scheme: Scheme, text: &WrittenText, keys: &mut Vec<Key>) {
    let name = at.name("secrets");
    if scheme == Scheme::HmacSha256 {
        let Some(text) = at.tidy("secrets", text, trimming::SecretKind::Text) else { return };
        match text.as_str() {
            "" => at.error(&text.origin, format!("`{name}` is empty"), ""),
            secret => keys.push(Key::raw(secret)),
        }
        return;
    }
    let Some(parts) = at.tokens("secrets", text) else { return };
    for part in &parts {
        match Key::standard(part.as_str()) {
            Ok(key) if keys.contains(&key) => {
                at.warn(&text.origin, format!("`{name}`: the same secret is there twice"), "");
            }
            Ok(key) => {
                warn_of_length(at, &name, &text.origin, key.len());
                keys.push(key);
            }
            Err(wrong) => {
                let help = "take the secret that the receiver shows, such as whsec_…";
                at.error(&text.origin, format!("`{name}`: a secret {wrong}"), help);
                return;
            }
        }
    }
    if parts.is_empty() {
        at.error(&text.origin, format!("`{name}` is empty"), "");
    }
}

fn warn_of_length(at: &mut Reader<'_>, name: &str, origin: &Origin, bytes: usize) {
    if !SECRET_BYTES.contains(&bytes) {
        let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        let message = format!("`{name}`: a secret has {bytes} bytes; Standard Webhooks asks for {least} to {most}");
        at.warn(origin, message, "");
    }
}
