//! `[sinks.NAME.signing]`.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::reader::{Reader, Text};
use super::written::{Entry, Origin, Value};
use crate::secret::tidy::Kind;
use crate::sinks::signing::{Encoding, Key, SECRET_BYTES, Signed, Signing};

/// Where an HMAC stands unless the operator says otherwise.
const HEADER: &str = "x-signature";

/// The keys that only `hmac-sha256` has.
const OF_HMAC: [&str; 4] = ["signing.header", "signing.encoding", "signing.prefix", "signing.signed"];

#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    StandardWebhooks,
    HmacSha256,
}

impl Reader<'_> {
    /// How a sink's requests are signed. `headers` are those that they have anyway.
    pub(super) fn signing(&mut self, headers: &HeaderMap) -> Option<Signing> {
        let table = self.table();
        let first = table.entries.iter().find(|(key, _)| key.starts_with("signing."));
        let (_, first) = first?;
        let hmac = self.hmac(headers);
        if !table.entries.contains_key("signing.scheme") {
            if !table.misspelt.contains("signing.scheme") && self.report().is_complete() {
                let message = format!("`{}` is missing", self.name("signing.scheme"));
                let help = "it must be \"standard-webhooks\" or \"hmac-sha256\"".to_owned();
                self.report().error(&first.origin, message, Some(help));
            }
            return None;
        }
        let schemes = [("standard-webhooks", Scheme::StandardWebhooks), ("hmac-sha256", Scheme::HmacSha256)];
        let scheme = self.choice("signing.scheme", &schemes);
        match scheme? {
            Scheme::StandardWebhooks => {
                for (key, entry) in OF_HMAC.iter().filter_map(|key| Some((key, table.entries.get(key)?))) {
                    let message = format!("`{}` belongs to scheme = \"hmac-sha256\"", self.name(key));
                    self.report().error(&entry.origin, message, None);
                }
                let keys = self.keys(Scheme::StandardWebhooks);
                (!keys.is_empty()).then_some(Signing::StandardWebhooks(keys))
            }
            Scheme::HmacSha256 => {
                let mut keys = self.keys(Scheme::HmacSha256);
                if keys.len() > 1 {
                    let origin = table.entries.get("signing.secrets").map_or(&first.origin, |entry| &entry.origin);
                    let message = format!("`{}` has {} secrets", self.name("signing.secrets"), keys.len());
                    let help = "hmac-sha256 sends one signature; for a change without a pause use standard-webhooks";
                    self.report().error(origin, message, Some(help.to_owned()));
                }
                let (header, encoding, prefix, signed) = hmac?;
                Some(Signing::HmacSha256 { key: keys.pop()?, header, encoding, prefix, signed })
            }
        }
    }

    fn hmac(&mut self, headers: &HeaderMap) -> Option<(HeaderName, Encoding, String, Signed)> {
        let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
        let encoding = self.choice("signing.encoding", &encodings).unwrap_or(Encoding::Hex);
        let covers = [("body", Signed::Body), ("timestamp.body", Signed::TimestampAndBody)];
        let signed = self.choice("signing.signed", &covers).unwrap_or(Signed::Body);
        let prefix = match self.text("signing.prefix", "a text in quotes") {
            Some(text) if HeaderValue::from_str(text.as_str()).is_err() => {
                let message = format!("`{}` holds a character that cannot be sent", self.name("signing.prefix"));
                self.report().error(&text.origin, message, None);
                String::new()
            }
            Some(text) => text.as_str().to_owned(),
            None => String::new(),
        };
        let header = match self.text("signing.header", "the name of a header in quotes") {
            None => HeaderName::from_static(HEADER),
            Some(text) => self.signature_header(&text, headers)?,
        };
        Some((header, encoding, prefix, signed))
    }

    fn signature_header(&mut self, text: &Text, headers: &HeaderMap) -> Option<HeaderName> {
        let name = self.header_name("signing.header", text.as_str(), &text.origin)?;
        if headers.contains_key(&name) {
            let message = format!("`{}`: {name} is set already", self.name("signing.header"));
            self.report().error(&text.origin, message, Some("take another header for the signature".to_owned()));
            return None;
        }
        Some(name)
    }

    /// The keys, in the order of their signatures; none only if that has been reported.
    fn keys(&mut self, scheme: Scheme) -> Vec<Key> {
        let table = self.table();
        let Some(entry) = table.entries.get("signing.secrets") else {
            if !table.misspelt.contains("signing.secrets") && self.report().is_complete() {
                let origin = table.entries.get("signing.scheme").map_or(&table.origin, |entry| &entry.origin);
                let message = format!("`{}` is missing", self.name("signing.secrets"));
                let help = "write secrets = [{ env = \"NAME\" }]".to_owned();
                self.report().error(origin, message, Some(help));
            }
            return Vec::new();
        };
        let mut keys = Vec::new();
        match &entry.value {
            Value::List(entries) if entries.is_empty() => {
                let message = format!("`{}` is an empty array", self.name("signing.secrets"));
                self.report().error(&entry.origin, message, Some("it needs at least one secret".to_owned()));
            }
            Value::List(entries) => entries.iter().for_each(|entry| self.keys_in(scheme, entry, &mut keys)),
            _ => self.keys_in(scheme, entry, &mut keys),
        }
        keys
    }

    /// A text from outside the file may hold several secrets of Standard Webhooks, with commas between. Other secrets may
    /// hold commas.
    fn keys_in(&mut self, scheme: Scheme, entry: &Entry, keys: &mut Vec<Key>) {
        let Some(text) = self.text_of("signing.secrets", entry, "a text") else { return };
        let name = self.name("signing.secrets");
        if scheme == Scheme::HmacSha256 {
            let Some(text) = self.tidy("signing.secrets", &text, Kind::Text) else { return };
            match text.as_str() {
                "" => self.report().error(&text.origin, format!("`{name}` is empty"), None),
                secret => keys.push(Key::raw(secret)),
            }
            return;
        }
        let Some(parts) = self.tokens("signing.secrets", &text) else { return };
        let before = keys.len();
        for part in &parts {
            match Key::standard(part.as_str()) {
                Ok(key) if keys.contains(&key) => {
                    self.report().warn(&text.origin, format!("`{name}`: the same secret is there twice"), None);
                }
                Ok(key) => {
                    self.warn_of_length(&name, &text.origin, key.len());
                    keys.push(key);
                }
                Err(wrong) => {
                    let help = "take the secret that the receiver shows, such as whsec_…".to_owned();
                    self.report().error(&text.origin, format!("`{name}`: a secret {wrong}"), Some(help));
                    return;
                }
            }
        }
        if keys.is_empty() && keys.len() == before {
            self.report().error(&text.origin, format!("`{name}` is empty"), None);
        }
    }

    fn warn_of_length(&mut self, name: &str, origin: &Origin, bytes: usize) {
        if !SECRET_BYTES.contains(&bytes) {
            let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            let message = format!("`{name}`: a secret has {bytes} bytes; Standard Webhooks asks for {least} to {most}");
            self.report().warn(origin, message, None);
        }
    }
}
