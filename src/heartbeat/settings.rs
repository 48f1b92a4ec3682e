//! The keys of `[heartbeat]`, and the checks of their values.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use crate::http::settings::{self as http, parse_url, proxy_to};
use crate::http::{RedactedUrl, Tls, Transport};
use crate::settings::{self, Reader, WrittenText, settings};

/// The time between two requests, unless the configuration sets another one.
const INTERVAL: Duration = Duration::from_secs(60);

settings! {
    /// `[heartbeat]`, as written.
    pub struct Settings {
        /// The URL of a monitoring service such as healthchecks.io; without it nothing is sent. The relay requests the
        /// URL (GET) every interval, but only while the API is polled and every sink makes progress. So the service
        /// raises the alarm if the requests stay away. Such a URL is a secret, so a reference is best. A change takes
        /// effect at the next start.
        url: Option<WrittenText> = http::url().lines(&["url = { env = \"HEALTHCHECK_URL\" }"]),
        /// The time between two requests.
        interval: Duration = settings::duration(
            INTERVAL,
            Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60),
        ),
    }
}

/// The settings of the heartbeat.
#[derive(Clone)]
pub struct Options {
    /// The URL that is requested.
    pub url: Url,
    /// The time between two requests.
    pub interval: Duration,
    /// How the requests reach the URL.
    pub transport: Transport,
}

impl Settings {
    /// Returns the settings; `None` if there is no URL, or if the URL is wrong. Errors are added to the report.
    pub fn resolve(self, at: &mut Reader<'_>) -> Option<Options> {
        let Some(text) = self.url else {
            if let Some(origin) = at.origin("interval").filter(|_| self.interval != INTERVAL).cloned() {
                let message = format!("`{}` does nothing without `{}`", at.name("interval"), at.name("url"));
                at.warn(&origin, message, "");
            }
            return None;
        };
        // The requests hold neither messages nor keys, so plain http is allowed to every machine.
        let url = parse_url(at, "url", &text, true)?;
        let proxy = proxy_to(at, "url", None, Some(&url));
        Some(Options { url, interval: self.interval, transport: Transport { proxy, tls: Tls::default() } })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, interval, transport } = self;
        out.debug_struct("Options")
            .field("url", &RedactedUrl(url))
            .field("interval", interval)
            .field("transport", transport)
            .finish()
    }
}
