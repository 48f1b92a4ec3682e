//! The keys of `[sinks.NAME]` with `type = "http"`: where messages are sent, and how. The keys that every sink has are
//! in `delivery/settings.rs`, `formats/settings.rs` and `config/sinks.rs`.

use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::{Method, Url};

use super::answer::{DISCORD, Dialect, SLACK};
use super::headers::{Auth, SECRET_HEADERS, headers};
use super::signing::settings::Settings as SigningSettings;
use super::{Options, Statuses};
use crate::http::Transport;
use crate::http::settings::{self as http, TlsSettings, parse_url, proxy_to, warn_of_password};
use crate::settings::{self, Member, Reader, WordChoice, WrittenText, settings};
use crate::sinks::require;

/// The statuses that `accept_status` may contain. 1xx is missing because such an answer is not final. 2xx is allowed,
/// although every 2xx counts as accepted anyway.
const ACCEPTABLE: RangeInclusive<u16> = 200..=599;
/// The statuses that `reject_status` may contain. 2xx is missing because it says that the receiver has the message.
const REJECTABLE: RangeInclusive<u16> = 300..=599;

settings! {
    /// The keys that an http sink has besides those of every sink, as written.
    pub struct Settings {
        /// The URL to which messages are posted; required. A URL with a token or a password in it is a secret:
        /// url = { env = "CRM_URL" }.
        url: Option<WrittenText> = http::server_url().such_as("\"https://crm.example.com/hooks/sms\""),
        /// The HTTP method of the requests.
        method: Method = settings::choice(Method::POST),
        /// Additional headers, such as { X-Team = "ops", X-Key = { env = "CRM_KEY" } }. An Authorization or a Cookie
        /// must not be written out in the file. Each header has a variable of its own, such as
        /// JOLTSMS_RELAY_SINKS__CRM__HEADERS__X_TEAM. Headers that the relay sets itself (webhook-*, content-type and
        /// so on) cannot be set.
        headers: Vec<Member> = settings::map(&SECRET_HEADERS),
        /// Authentication: bearer, or basic with user and password. The secrets must not be written out in the file.
        auth: Auth = settings::table().lines(&[
            r#"auth = { bearer = { env = "CRM_TOKEN" } }"#,
            r#"auth = { basic = { user = { env = "CRM_USER" }, password = { file = "crm-password" } } }"#,
        ]),
        /// The longest time for one attempt, the answer included.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
        /// The longest time for the TCP and TLS handshakes together.
        connect_timeout: Duration = http::connect_timeout(),
        /// Allows plain http to other machines.
        allow_http: bool = settings::boolean(false),
        /// The proxy, as for the API. Each sink has its own.
        proxy: Option<WrittenText> = http::proxy(),
        /// Files in PEM form: authorities to trust instead of the system's, and a client certificate with its key.
        tls: TlsSettings = http::tls(),
        /// How requests are signed. The scheme standard-webhooks may have several secrets, each of which makes a
        /// signature; hmac-sha256 has one secret.
        signing: SigningSettings = settings::table().lines(&[
            r#"signing = { scheme = "standard-webhooks", secrets = [{ env = "NEW" }, { env = "OLD" }] }"#,
            r#"signing = { scheme = "hmac-sha256", secrets = { env = "S" }, header = "x-signature", encoding = "hex", prefix = "", signed = "body" }"#,
        ]),
        /// Statuses that count as accepted in addition to every 2xx; for example [409] for a receiver that answers a
        /// repeated message with 409.
        accept_status: Vec<u16> = settings::http_statuses(ACCEPTABLE),
        /// Statuses that make a dead letter ("rejected") at once, such as [400, 422]. Takes precedence over Retry-After
        /// and 410.
        reject_status: Vec<u16> = settings::http_statuses(REJECTABLE),
    }
}

impl WordChoice for Method {
    const WORDS: &'static [(&'static str, Self)] = &[("POST", Self::POST), ("PUT", Self::PUT), ("PATCH", Self::PATCH)];
}

impl Settings {
    /// Returns the options of the sink; `None` if a required key is missing or wrong. Errors are added to the report.
    /// `is_meant`: the sink is of this type.
    pub fn resolve(self, at: &mut Reader<'_>, is_meant: bool) -> Option<Options> {
        let Self { method, timeout, connect_timeout, allow_http, .. } = self;
        let statuses = statuses(at, self.accept_status, self.reject_status);
        let url = self.url.and_then(|text| receiver_url(at, &text, allow_http));
        let headers = headers(at, self.headers, self.auth, url.as_ref());
        let signing = self.signing.resolve(&mut at.inside("signing"), &headers);
        let proxy = proxy_to(at, "proxy", self.proxy, url.as_ref());
        let transport = Transport { proxy, tls: self.tls.resolve(&mut at.inside("tls")) };
        if is_meant {
            require(at, "an http", &["url"]);
        }
        let url = url?;
        warn_of_missing_format(at, &url);
        let dialect = dialect(at.written_out("format"), url.host_str());
        Some(Options { url, method, headers, timeout, connect_timeout, transport, signing, statuses, dialect })
    }
}

/// Returns how the bodies of the receiver's answers are read. The host of the receiver decides, or else the format.
/// `None`: the bodies do not count.
fn dialect(format: Option<&str>, host: Option<&str>) -> Option<Dialect> {
    let format = format.unwrap_or_default();
    match host {
        Some("hooks.slack.com") => Some(SLACK),
        Some("discord.com" | "discordapp.com") => Some(DISCORD),
        _ if format.eq_ignore_ascii_case("slack") => Some(SLACK),
        _ if format.eq_ignore_ascii_case("discord") => Some(DISCORD),
        _ => None,
    }
}

/// Returns the URL to which messages are posted; `None`: an error was reported.
fn receiver_url(at: &mut Reader<'_>, text: &WrittenText, allow_http: bool) -> Option<Url> {
    let url = parse_url(at, "url", text, allow_http)?;
    warn_of_password(at, "url", text, &url);
    Some(url)
}

/// Warns if no format was written although the receiver is a chat that takes only messages of its own form.
fn warn_of_missing_format(at: &mut Reader<'_>, url: &Url) {
    let (service, format) = match (url.host_str(), url.path()) {
        (Some("hooks.slack.com"), _) => ("Slack", "slack"),
        (Some("discord.com" | "discordapp.com"), path) if path.starts_with("/api/webhooks/") => ("Discord", "discord"),
        _ => return,
    };
    let Some(origin) = at.origin("url").cloned().filter(|_| at.written_out("format").is_none()) else { return };
    let message = format!("`{}` is missing, and {service} takes only messages of its own form", at.name("format"));
    at.warn(&origin, message, &format!("write format = \"{format}\" (--format {format} beside --forward-to)"));
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
