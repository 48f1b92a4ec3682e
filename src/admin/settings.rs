//! The keys of `[admin]`, and the checks of their values.

use std::net::{IpAddr, SocketAddr};

use crate::secret::Secret;
use crate::secret::trimming::SecretKind;
use crate::settings::{self, Reader, Texts, WrittenText, settings};

/// The shortest recommended length of the token, in characters. A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 16;

settings! {
    /// `[admin]`, as written.
    pub struct Settings {
        /// The address and the port at which the admin endpoint listens; it is off unless this is set. /healthz,
        /// /readyz and /metrics need no token. An address that other machines can reach needs admin.token to be set.
        /// Port 0 takes a free port, which the log names. A change takes effect at the next start.
        listen: Option<WrittenText> = settings::text("address and port", "an address and a port in quotes", Some("^[0-9.]+:[0-9]+$|^\\[[0-9A-Fa-f:.%]+\\]:[0-9]+$"))
            .lines(&["listen = \"127.0.0.1:9465\""]),
        /// The token that requests to all other paths must show, as `Authorization: Bearer TOKEN`. The login and the
        /// files of the status page (styles, script, icon) need no token. Without a token all these paths do not exist.
        /// At least 16 characters are recommended, for example from `openssl rand -hex 32`.
        token: Option<WrittenText> = settings::secret("JOLTSMS_ADMIN_TOKEN").lines(&["token = { file = \"admin-token\" }"]),
        /// Further names under which the endpoint is reached, such as ["relay.example.com"]. localhost and the address
        /// at which the endpoint listens are always allowed. A request under another name is refused with 421, so that
        /// no web page can read the endpoint by way of another name. A Prometheus that scrapes `relay:9465` needs
        /// ["relay"].
        hosts: Option<Texts> = settings::texts(true).lines(&["hosts = [\"relay.example.com\"]"]),
        /// The path under which a proxy shows the endpoint, such as "/relay". The links of the status page begin with
        /// this path. The endpoint answers requests with and without the path, so the proxy may remove it or keep it.
        base_path: Option<WrittenText> = settings::text("path", "a path in quotes", Some("^(/[A-Za-z0-9._~-]+)+/?$"))
            .lines(&["base_path = \"/relay\""]),
        /// true: the status page has no buttons, and every request that would change something is refused with 403.
        /// Logging in and out still works.
        read_only: bool = settings::boolean(false),
    }
}

/// The settings of the admin endpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address at which the endpoint listens.
    pub listen: SocketAddr,
    /// The token of requests to paths that are not for everybody.
    pub token: Option<Secret>,
    /// Further names of the endpoint, in lower case: host names and addresses without a port.
    pub hosts: Vec<String>,
    /// The path under which a proxy shows the endpoint, without a slash at its end; empty if there is none.
    pub base_path: String,
    /// Whether every request that would change something is refused.
    pub read_only: bool,
}

impl Settings {
    /// Returns the settings; `None` if the endpoint is off, or if a value is wrong. Errors are added to the report.
    pub fn resolve(self, at: &mut Reader<'_>) -> Option<Options> {
        let has_token = at.written("token").is_some();
        let token = self.token.and_then(|text| token(at, &text));
        let hosts = self.hosts.map(|written| hosts(at, &written)).unwrap_or_default();
        let base_path = self.base_path.map(|written| base_path(at, &written)).unwrap_or_default();
        let read_only = self.read_only;
        let Some(written) = self.listen else {
            // A written `read_only = false` is no mistake: config.example.toml shows this default.
            let read_only = at.origin("read_only").filter(|_| read_only);
            let alone = ["token", "hosts", "base_path"].into_iter().find_map(|key| at.origin(key)).or(read_only);
            if let Some(origin) = alone.cloned() {
                let message = format!("[{}] does nothing without `{}`", at.name(""), at.name("listen"));
                at.warn(&origin, message, "set it, for example to \"127.0.0.1:9465\"");
            }
            return None;
        };
        let listen = listen(at, &written)?;
        if !listen.ip().is_loopback() && !has_token {
            let wrong = format!("can be reached from other machines, so it needs `{}`", at.name("token"));
            let help = "set a token, or listen at 127.0.0.1 only";
            at.refuse("listen", &written, &wrong, help);
            return None;
        }
        Some(Options { listen, token, hosts, base_path, read_only })
    }
}

fn listen(at: &mut Reader<'_>, written: &WrittenText) -> Option<SocketAddr> {
    let parsed = written.bare().parse().ok();
    if parsed.is_none() {
        let help = "write an address with a port, such as \"127.0.0.1:9465\" or \"[::1]:9465\"";
        at.refuse("listen", written, "is not an address and a port", help);
    }
    parsed
}

fn token(at: &mut Reader<'_>, written: &WrittenText) -> Option<Secret> {
    let text = at.tidy("token", written, SecretKind::Token)?;
    let token = text.as_str();
    if token.is_empty() {
        at.wrong(
            "token",
            &text.origin,
            "is empty",
            "put a long random text in, for example from `openssl rand -hex 32`",
        );
        return None;
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        at.wrong("token", &text.origin, "holds a character that cannot be sent in a header", "");
        return None;
    }
    if token.len() < SHORTEST_TOKEN {
        let message =
            format!("`{}` has only {} characters; it could be found by trying", at.name("token"), token.len());
        at.warn(&text.origin, message, "take a longer one, for example from `openssl rand -hex 32`");
    }
    Some(Secret::from(token))
}

fn base_path(at: &mut Reader<'_>, written: &WrittenText) -> String {
    let path = written.bare().trim_end_matches('/');
    let is_part = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(part, "" | "." | "..") && part.bytes().all(is_plain)
    };
    // A "/" alone counts as no path.
    let is_path = path.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_part));
    if !is_path && written.bare() != "/" {
        at.refuse("base_path", written, "is not a path", "write a path such as \"/relay\"");
    }
    path.to_owned()
}

fn hosts(at: &mut Reader<'_>, written: &Texts) -> Vec<String> {
    if written.is_empty_array {
        at.wrong("hosts", &written.origin, "is an empty array", "leave it out");
    }
    let mut hosts = Vec::new();
    for text in &written.texts {
        let name = text.bare().trim_matches(['[', ']']).to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.parse::<IpAddr>().is_ok() || (!name.is_empty() && name.bytes().all(is_name)) {
            hosts.push(name);
        } else {
            let help = "write a name or an address without scheme, port and path, such as \"relay.example.com\"";
            at.refuse("hosts", text, "is not the name of a host", help);
        }
    }
    hosts
}
