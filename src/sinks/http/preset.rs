//! The common parts of the types `telegram`, `ntfy` and `apprise`. Each of these types is an http sink that knows the
//! requests and the answers of one service.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;

use super::{HttpSink, Options};
use crate::http::settings::{TlsSettings, parse_url, proxy_to};
use crate::http::{Proxy, Transport};
use crate::settings::{Reader, WrittenText};
use crate::sinks::{Attempting, OnlineCheck, Outgoing, Preview, Sink, SinkBuildError, Target};
use crate::time::Clock;

/// Makes the request's body from the payload of a message.
pub(in crate::sinks) type Wrap = Arc<dyn Fn(Outgoing) -> Outgoing + Send + Sync>;

/// An http sink for one service. Its payload is text that the service shows to people.
#[derive(Clone)]
pub(in crate::sinks) struct Preset {
    /// The description for people, without any secret.
    pub(in crate::sinks) description: String,
    /// The http sink.
    pub(in crate::sinks) http: Options,
    /// Makes the request's body from the payload.
    pub(in crate::sinks) wrap: Wrap,
}

impl Target for Preset {
    fn takes_lines(&self) -> bool {
        false
    }

    fn shows_text(&self) -> bool {
        true
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.http.proxy()
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn preview(&self, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String> {
        self.http.preview((self.wrap)(outgoing), clock)
    }

    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        self.http.check_online(name, clock)
    }

    fn build(&self, clock: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        let http = HttpSink::new(&self.http, clock.clone())?;
        Ok(Arc::new(PresetSink { http, wrap: Arc::clone(&self.wrap) }))
    }
}

impl fmt::Debug for Preset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Preset")
            .field("description", &self.description)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

struct PresetSink {
    http: HttpSink,
    wrap: Wrap,
}

impl Sink for PresetSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        self.http.begin((self.wrap)(outgoing))
    }
}

/// Resolves the keys for the server of a preset, and returns its address and the transport. Without the key `url`, the
/// address is `default`. Errors are added to the report.
pub(in crate::sinks) fn resolve_server(
    at: &mut Reader<'_>,
    url: Option<WrittenText>,
    default: &str,
    allow_http: bool,
    proxy: Option<WrittenText>,
    tls: TlsSettings,
) -> (Option<Url>, Transport) {
    let url = match url {
        Some(text) => parse_url(at, "url", &text, allow_http),
        None => Url::parse(default).ok(),
    };
    let proxy = proxy_to(at, "proxy", proxy, url.as_ref());
    let transport = Transport { proxy, tls: tls.resolve(&mut at.inside("tls")) };
    (url, transport)
}

/// Cuts a text so that the sum of the sizes of its characters is at most `room`. `size` returns the size of a
/// character. A text that is cut ends with `…`.
pub(in crate::sinks) fn cut(text: &str, room: usize, size: fn(char) -> usize) -> String {
    const END: char = '…';
    if text.chars().map(size).sum::<usize>() <= room {
        return text.to_owned();
    }
    let mut used = size(END);
    let fits = |next: &char| {
        used += size(*next);
        used <= room
    };
    text.chars().take_while(fits).chain([END]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for (text, room, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 4, "abcd"),
            ("abcd", 3, "…"),
            ("abcde", 4, "a…"),
            ("äöü", 5, "ä…"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, room, char::len_utf8), expected);
        }
        assert_eq!(cut("😀😀", 3, char::len_utf16), "😀…");
    }
}
