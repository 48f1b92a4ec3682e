//! The names of every key, and of the sections that will come later.
//!
//! The file, the environment and the resolver all look names up here, so none of them can know a key that the others do
//! not. Sections of later versions are listed to be refused with the right words: what is silently accepted and does
//! nothing is worse than an error.

use super::nearest::nearest;

/// A table of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// `[api]`
    Api,
    /// `[poll]`
    Poll,
    /// `[state]`
    State,
    /// `[log]`
    Log,
    /// `[sinks.NAME]`
    Sink,
}

/// What a key below a section turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A key of this version, under its full name below the section.
    Key(&'static str),
    /// A table with keys of this version, such as `retry`.
    Group,
    /// No key, and the key that may have been meant, as written at this place.
    Unknown(Option<&'static str>),
}

/// The sections that are tables of their own.
pub(super) const SECTIONS: [(&str, Section); 4] =
    [("api", Section::Api), ("poll", Section::Poll), ("state", Section::State), ("log", Section::Log)];

/// The table of the sinks.
pub(super) const SINKS: &str = "sinks";

/// Sections of later versions.
pub(super) const LATER_SECTIONS: [&str; 2] = ["admin", "heartbeat"];

/// Keys whose value must not be written out in the file.
pub(super) const SECRETS: [(Section, &str); 5] = [
    (Section::Api, "key"),
    (Section::Sink, "auth.bearer"),
    (Section::Sink, "auth.basic.user"),
    (Section::Sink, "auth.basic.password"),
    (Section::Sink, "signing.secrets"),
];

/// Keys whose values are tables of the user's own names: HTTP headers.
pub(super) const MAPS: [(Section, &str); 1] = [(Section::Sink, "headers")];

/// Headers whose value must not be written out either.
pub(super) const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Keys that only an http sink has.
pub(super) const HTTP_ONLY: [&str; 23] = [
    "url",
    "method",
    "headers",
    "auth.bearer",
    "auth.basic.user",
    "auth.basic.password",
    "timeout",
    "connect_timeout",
    "allow_http",
    "proxy",
    "tls.ca_file",
    "tls.cert_file",
    "tls.key_file",
    "concurrency",
    "signing.scheme",
    "signing.secrets",
    "signing.header",
    "signing.encoding",
    "signing.prefix",
    "signing.signed",
    "requests_per_minute",
    "accept_status",
    "reject_status",
];

impl Section {
    /// Every section, in the order of the documentation.
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] = [Self::Api, Self::Poll, Self::State, Self::Log, Self::Sink];

    /// The keys of this version; a key in a table of its own has a dot.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Api => &[
                "url",
                "key",
                "requests_per_minute",
                "timeout",
                "account",
                "connect_timeout",
                "allow_http",
                "proxy",
                "tls.ca_file",
                "tls.cert_file",
                "tls.key_file",
            ],
            Self::Poll => &["interval", "start", "lookback", "sweep_interval"],
            Self::State => &["dir", "keep_delivered", "keep_dead", "max_size", "min_free"],
            Self::Log => &["level", "format", "dir", "keep_files"],
            Self::Sink => &[
                "type",
                "url",
                "format",
                "template",
                "template_file",
                "content_type",
                "method",
                "headers",
                "auth.bearer",
                "auth.basic.user",
                "auth.basic.password",
                "timeout",
                "connect_timeout",
                "allow_http",
                "proxy",
                "tls.ca_file",
                "tls.cert_file",
                "tls.key_file",
                "concurrency",
                "signing.scheme",
                "signing.secrets",
                "signing.header",
                "signing.encoding",
                "signing.prefix",
                "signing.signed",
                "requests_per_minute",
                "order",
                "max_age",
                "accept_status",
                "reject_status",
                "enabled",
                "start",
                "retry.initial",
                "retry.factor",
                "retry.max",
                "retry.give_up_after",
                "filter.to",
                "filter.from",
                "filter.body",
                "filter.has_code",
                "filter.service",
                "filter.tags",
                "filter.exclude.to",
                "filter.exclude.from",
                "filter.exclude.body",
                "filter.exclude.has_code",
                "filter.exclude.service",
                "filter.exclude.tags",
            ],
        }
    }

    /// Looks up `name` in the table `group` of the section; the section itself is the group "".
    pub(super) fn find(self, group: &str, name: &str) -> Found {
        let here = self.keys().iter().filter_map(|key| below(key, group).map(|rest| (*key, rest)));
        for (key, rest) in here.clone() {
            if rest == name {
                return Found::Key(key);
            }
            if rest.split_once('.').is_some_and(|(first, _)| first == name) {
                return Found::Group;
            }
        }
        Found::Unknown(nearest(name, here.map(|(_, rest)| rest.split('.').next().unwrap_or(rest))))
    }

    /// The names that may stand in `group`, for a message.
    pub(super) fn names_in(self, group: &str) -> Vec<&'static str> {
        let here = self.keys().iter().filter_map(|key| below(key, group));
        let mut names: Vec<_> = here.map(|rest| rest.split('.').next().unwrap_or(rest)).collect();
        names.dedup();
        names
    }
}

fn below<'a>(key: &'a str, group: &str) -> Option<&'a str> {
    if group.is_empty() { Some(key) } else { key.strip_prefix(group)?.strip_prefix('.') }
}

/// Whether a dotted key consists of names that this program knows. The name of a sink is
/// none of them: in a broken file it may be anything, the rest of a secret included.
pub(super) fn is_known(dotted: &str) -> bool {
    let names = SECTIONS.iter().map(|(name, _)| *name).chain(LATER_SECTIONS).chain([SINKS]);
    let sections = SECTIONS.iter().map(|(_, section)| *section).chain([Section::Sink]);
    let keys = sections.flat_map(|section| section.keys().iter().copied());
    let known: Vec<&str> = names.chain(keys.flat_map(|key| key.split('.'))).collect();
    dotted.split('.').all(|part| known.contains(&part.trim()))
}

/// Whether a line, closed or not, is the header of a table that this program knows.
pub(super) fn is_known_header(line: &str) -> bool {
    let Some(inside) = line.trim().strip_prefix('[') else { return false };
    let mut parts = inside.trim_matches(['[', ']']).split('.');
    let first = parts.next().unwrap_or_default().trim();
    let is_section = SECTIONS.iter().any(|(name, _)| *name == first) || LATER_SECTIONS.contains(&first);
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte));
    if first == SINKS { parts.all(plain) } else { is_section && parts.next().is_none() }
}

/// The other place where a key of this name belongs: "a key that is right, in the wrong table".
pub(super) fn elsewhere(name: &str) -> Option<String> {
    let mut places: Vec<String> = Vec::new();
    for (section, keys) in SECTIONS {
        if keys.keys().contains(&name) {
            places.push(format!("[{section}]"));
        }
    }
    if Section::Sink.names_in("").contains(&name) {
        places.push("[sinks.NAME]".to_owned());
    }
    for group in ["retry", "auth", "tls", "signing"] {
        if Section::Sink.names_in(group).contains(&name) {
            places.push(format!("[sinks.NAME.{group}]"));
        }
    }
    if places.is_empty() { None } else { Some(places.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_keys_and_groups() {
        assert_eq!(Section::Api.find("", "url"), Found::Key("url"));
        assert_eq!(Section::Sink.find("", "retry"), Found::Group);
        assert_eq!(Section::Sink.find("retry", "max"), Found::Key("retry.max"));
        assert_eq!(Section::Sink.find("retry", "url"), Found::Unknown(None));
        assert_eq!(Section::Sink.find("retry", "mex"), Found::Unknown(Some("max")));
        assert_eq!(Section::Sink.find("filter", "exclude"), Found::Group);
        assert_eq!(Section::Sink.find("auth", "basic"), Found::Group);
        assert_eq!(Section::Sink.find("auth.basic", "user"), Found::Key("auth.basic.user"));
        assert_eq!(Section::Sink.find("", "max"), Found::Unknown(None));
        assert_eq!(Section::Sink.find("", "rety"), Found::Unknown(Some("retry")));
    }

    #[test]
    fn what_only_http_sinks_have_are_keys_of_sinks() {
        assert!(HTTP_ONLY.iter().all(|key| Section::Sink.keys().contains(key)));
    }

    #[test]
    fn knows_where_a_misplaced_key_belongs() {
        assert_eq!(elsewhere("interval").as_deref(), Some("[poll]"));
        assert_eq!(elsewhere("start").as_deref(), Some("[poll] or [sinks.NAME]"));
        assert_eq!(elsewhere("timeout").as_deref(), Some("[api] or [sinks.NAME]"));
        assert_eq!(elsewhere("give_up_after").as_deref(), Some("[sinks.NAME.retry]"));
        assert_eq!(elsewhere("nonsense"), None);
    }

    #[test]
    fn a_dotted_key_is_known_as_a_whole() {
        for known in ["url", "retry.max", "api.key", "sinks", "admin"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["", "olt_sk_hunter2", "[olt_sk_hunter2\".url", "crm.url", "url.hunter2"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
