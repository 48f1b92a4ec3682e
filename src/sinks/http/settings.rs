//! `[sinks.NAME]` of `type = "http"`: the keys that say where messages go, and how.

use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::{Method, Url};

use super::headers::{Auth, SECRET_HEADERS, headers};
use super::signing::settings::Settings as SigningSettings;
use super::{Options, Statuses};
use crate::http::Transport;
use crate::http::settings::{self as http, TlsSettings, parse_url, proxy_to};
use crate::settings::{self, Member, Reader, WordChoice, WrittenText, settings};

/// What may be accepted beside the usual: 1xx are no answers, and every 2xx is accepted anyway, so it may be listed.
const ACCEPTABLE: RangeInclusive<u16> = 200..=599;
/// What may be rejected: not what means that the receiver has the message.
const REJECTABLE: RangeInclusive<u16> = 300..=599;

settings! {
    /// What only an http sink has, as written.
    pub struct Settings {
        /// Where messages are posted; required. With a token in it: url = { env = "CRM_URL" }.
        url: Option<WrittenText> = http::url().such_as("\"https://crm.example.com/hooks/sms\""),
        /// The method of its requests.
        method: Method = settings::choice(Method::POST),
        /// Such as { X-Team = "ops", X-Key = { env = "CRM_KEY" } }; an Authorization or a Cookie is never written out in the
        /// file. In variables each header is a variable of its own, such as JOLTSMS_RELAY_SINKS__CRM__HEADERS__X_TEAM. Headers
        /// that the relay sets itself (webhook-*, content-type and so on) cannot be set.
        headers: Vec<Member> = settings::map(&SECRET_HEADERS),
        /// Authentication: bearer, or basic with user and password. Neither is ever written out in the file.
        auth: Auth = settings::table().lines(&[
            r#"auth = { bearer = { env = "CRM_TOKEN" } }"#,
            r#"auth = { basic = { user = { env = "CRM_USER" }, password = { file = "crm-password" } } }"#,
        ]),
        /// For one whole request, the answer included.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
        /// For the TCP and TLS handshakes together.
        connect_timeout: Duration = http::connect_timeout(),
        /// Allows plain http to other machines.
        allow_http: bool = settings::boolean(false),
        /// Through a proxy, as for the API; each sink has its own.
        proxy: Option<WrittenText> = http::proxy(),
        /// Files in PEM form: whom to trust instead of the system's authorities, and a certificate of our own with its key.
        tls: TlsSettings = http::tls(),
        /// How requests are signed. With several secrets each of them signs; an HMAC has one.
        signing: SigningSettings = settings::table().lines(&[
            r#"signing = { scheme = "standard-webhooks", secrets = [{ env = "NEW" }, { env = "OLD" }] }"#,
            r#"signing = { scheme = "hmac-sha256", secrets = { env = "S" }, header = "x-signature", encoding = "hex", prefix = "", signed = "body" }"#,
        ]),
        /// What counts as accepted beside every 2xx, such as [409] for a receiver that answers so to a repeat.
        accept_status: Vec<u16> = settings::statuses(ACCEPTABLE),
        /// What makes a dead letter ("rejected") at once, such as [400, 422]. Takes precedence over Retry-After and 410.
        reject_status: Vec<u16> = settings::statuses(REJECTABLE),
    }
}

impl WordChoice for Method {
    const WORDS: &'static [(&'static str, Self)] = &[("POST", Self::POST), ("PUT", Self::PUT), ("PATCH", Self::PATCH)];
}

impl Settings {
    /// The options of the sink, if nothing that they need is missing or wrong. What is wrong goes to the report.
    /// `is_meant`: the sink is of this type.
    pub fn resolve(self, at: &mut Reader<'_>, is_meant: bool) -> Option<Options> {
        let Self { method, timeout, connect_timeout, allow_http, .. } = self;
        let statuses = statuses(at, self.accept_status, self.reject_status);
        let url = self.url.and_then(|text| receiver_url(at, &text, allow_http));
        let headers = headers(at, self.headers, self.auth, url.as_ref());
        let signing = self.signing.resolve(&mut at.inside("signing"), &headers);
        let proxy = proxy_to(at, "proxy", self.proxy, url.as_ref());
        let way = Transport { proxy, tls: self.tls.resolve(&mut at.inside("tls")) };
        if is_meant {
            let message = format!("`{}` is missing: an http sink needs it", at.name("url"));
            at.missing(&["url"], at.place(), message, "");
        }
        Some(Options { url: url?, method, headers, timeout, connect_timeout, way, signing, statuses })
    }
}

/// Where messages are posted.
fn receiver_url(at: &mut Reader<'_>, text: &WrittenText, allow_http: bool) -> Option<Url> {
    let url = parse_url(at, "url", text, allow_http)?;
    if text.is_in_file() && url.password().is_some() {
        let message = format!("`{}` holds a password; secrets do not belong in the configuration file", at.name("url"));
        let help = "put the URL into a variable or a file: url = { env = \"X\" } or { file = \"path\" }";
        at.warn(&text.origin, message, help);
    }
    Some(url)
}

fn statuses(at: &mut Reader<'_>, accept: Vec<u16>, reject: Vec<u16>) -> Statuses {
    if let Some(both) = reject.iter().find(|status| accept.contains(status)) {
        let message = format!("{both} is both in `{}` and in `{}`", at.name("accept_status"), at.name("reject_status"));
        if let Some(origin) = at.origin("reject_status").or(at.origin("accept_status")) {
            at.error(origin, message, "leave it out of one of them");
        }
    }
    Statuses { accept, reject }
}
