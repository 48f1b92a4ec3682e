//! Compares two configurations: which sinks were added, changed and removed, which settings take effect while the relay
//! runs, and which need a restart. Pure.
//!
//! Invariant: if the address of the API has changed, no setting of `[api]` on which requests depend takes effect before
//! the restart. Otherwise a new key would be sent to the old address.

use std::collections::BTreeSet;

use crate::config::Fingerprints;
use crate::delivery::SinkChange;

/// The differences between the configuration in effect and a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigDiff {
    /// The names of new sinks.
    pub(super) added: BTreeSet<String>,
    /// The names of sinks that are gone.
    pub(super) removed: BTreeSet<String>,
    /// The changed keys whose new values take effect now. Keys of sinks that were added or removed are not among them.
    pub(super) changed: BTreeSet<String>,
    /// The changed keys whose new values take effect only at a restart.
    pub(super) needs_restart: BTreeSet<String>,
    sinks: Vec<(String, SinkChange)>,
}

/// When a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Now,
    AtStart,
}

/// The keys of a sink that do not identify its receiver. Every other key counts as identifying the receiver.
const NOT_OF_RECEIVER: [&str; 19] = [
    "filter",
    "format",
    "template",
    "template_file",
    "content_type",
    "concurrency",
    "requests_per_minute",
    "order",
    "max_age",
    "fallback",
    "mask_codes",
    "events",
    "retry",
    "timeout",
    "connect_timeout",
    "accept_status",
    "reject_status",
    "enabled",
    "start",
];

impl ConfigDiff {
    /// Compares the fingerprints of two configurations. `erasing_changes`: only one of the two configurations erases
    /// texts as soon as they are delivered.
    pub(super) fn between(before: &Fingerprints, after: &Fingerprints, erasing_changes: bool) -> Self {
        let keys = before.changed_keys(after);
        let holds_api_back = keys.contains("api.url");
        let (had, has) = (sinks_of(before), sinks_of(after));
        let mut diff = Self {
            added: has.difference(&had).cloned().collect(),
            removed: had.difference(&has).cloned().collect(),
            ..Self::default()
        };
        for key in &keys {
            match sink_of(key) {
                Some(sink) if had.contains(sink) && has.contains(sink) => drop(diff.changed.insert(key.clone())),
                Some(_) => {}
                None => match effect(key, holds_api_back, erasing_changes) {
                    Effect::Now => drop(diff.changed.insert(key.clone())),
                    Effect::AtStart => drop(diff.needs_restart.insert(key.clone())),
                },
            }
        }
        diff.sinks = has.iter().map(|sink| (sink.clone(), diff.change_of(sink))).collect();
        diff
    }

    /// Whether no change takes effect now.
    pub(super) fn takes_no_effect(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Whether a changed setting of this section takes effect now.
    pub(super) fn changes(&self, section: &str) -> bool {
        self.changed.iter().any(|key| key.split_once('.').is_some_and(|(found, _)| found == section))
    }

    /// Whether a changed setting of this section takes effect only at a restart.
    pub(super) fn holds_back(&self, section: &str) -> bool {
        self.needs_restart.iter().any(|key| key.split_once('.').is_some_and(|(found, _)| found == section))
    }

    /// Whether any sink is added, changed or removed.
    pub(super) fn changes_sinks(&self) -> bool {
        let any = self.sinks.iter().any(|(_, change)| *change != SinkChange::Same);
        any || !self.added.is_empty() || !self.removed.is_empty()
    }

    /// Returns what has changed in a sink of the new configuration. For a sink that was added, returns
    /// [`SinkChange::Receiver`].
    pub(super) fn sink(&self, name: &str) -> SinkChange {
        self.sinks.iter().find(|(sink, _)| sink == name).map_or(SinkChange::Same, |(_, change)| *change)
    }

    fn change_of(&self, sink: &str) -> SinkChange {
        if self.added.contains(sink) {
            return SinkChange::Receiver;
        }
        let keys = self.changed.iter().filter(|key| sink_of(key) == Some(sink));
        let own: Vec<&str> = keys.filter_map(|key| key.splitn(3, '.').nth(2)).collect();
        if own.iter().any(|key| concerns_receiver(key)) {
            SinkChange::Receiver
        } else if !own.is_empty() || self.changed.contains("api.account") || self.changed.contains("codes.pattern") {
            // Formats show the name of the account, and sinks may mask codes. So both keys can change what a sink
            // sends.
            SinkChange::Settings
        } else {
            SinkChange::Same
        }
    }
}

fn effect(key: &str, holds_api_back: bool, erasing_changes: bool) -> Effect {
    match key.split_once('.') {
        // The name of the account is only shown by formats. Requests do not depend on this name.
        _ if key == "api.account" => Effect::Now,
        Some(("api", _)) if holds_api_back => Effect::AtStart,
        Some(("state", "dir" | "url" | "namespace")) => Effect::AtStart,
        Some(("state", "keep_delivered")) if erasing_changes => Effect::AtStart,
        Some(("api" | "poll" | "state" | "codes" | "events", _) | ("log", "level")) => Effect::Now,
        _ => Effect::AtStart,
    }
}

/// The names of the sinks of a configuration.
fn sinks_of(fingerprints: &Fingerprints) -> BTreeSet<String> {
    fingerprints.keys().filter_map(sink_of).map(str::to_owned).collect()
}

/// The name of the sink to which a key belongs.
fn sink_of(key: &str) -> Option<&str> {
    key.strip_prefix("sinks.").and_then(|rest| rest.split('.').next())
}

/// Whether a key of a sink identifies the receiver, or has credentials for the receiver.
fn concerns_receiver(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or(key);
    !NOT_OF_RECEIVER.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [(&str, &str); 9] = [
        ("api.url", "https://a"),
        ("api.key", "one"),
        ("poll.interval", "1s"),
        ("state.dir", "/a"),
        ("log.level", "info"),
        ("sinks.crm", ""),
        ("sinks.crm.url", "https://crm"),
        ("sinks.crm.concurrency", "8"),
        ("sinks.old", ""),
    ];

    fn diff(changes: &[(&'static str, &'static str)], erasing_changes: bool) -> ConfigDiff {
        let known = BEFORE.iter().filter(|(key, _)| changes.iter().all(|(changed, _)| changed != key));
        let after = known.chain(changes.iter().filter(|(_, value)| *value != "-")).copied();
        ConfigDiff::between(&Fingerprints::of_texts(BEFORE), &Fingerprints::of_texts(after), erasing_changes)
    }

    fn list(keys: &BTreeSet<String>) -> String {
        keys.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_takes_effect_and_what_needs_a_restart() {
        for (changes, changed, needs_restart) in [
            (&[] as &[_], "", ""),
            (&[("poll.interval", "2s")], "poll.interval", ""),
            (&[("poll.lookback", "2h"), ("poll.interval", "-")], "poll.interval poll.lookback", ""),
            (&[("api.key", "two"), ("api.requests_per_minute", "60")], "api.key api.requests_per_minute", ""),
            (&[("api.url", "https://b"), ("api.key", "two")], "", "api.key api.url"),
            (&[("api.account", "x"), ("api.url", "https://b")], "api.account", "api.url"),
            (&[("state.dir", "/b"), ("state.max_size", "1GiB")], "state.max_size", "state.dir"),
            (&[("state.keep_dead", "1d")], "state.keep_dead", ""),
            (&[("log.level", "debug"), ("log.format", "json")], "log.level", "log.format"),
            (&[("admin.listen", ":1"), ("heartbeat.url", "x")], "", "admin.listen heartbeat.url"),
            (&[("sinks.crm.url", "https://b")], "sinks.crm.url", ""),
        ] {
            let diff = diff(changes, false);
            assert_eq!(
                (list(&diff.changed), list(&diff.needs_restart)),
                (changed.to_owned(), needs_restart.to_owned())
            );
            assert_eq!(diff.takes_no_effect(), changed.is_empty());
            assert!(diff.added.is_empty() && diff.removed.is_empty());
        }
    }

    #[test]
    fn switching_erasing_at_once_on_or_off_needs_a_restart() {
        let change = [("state.keep_delivered", "0s")];
        assert_eq!(list(&diff(&change, true).needs_restart), "state.keep_delivered");
        assert_eq!(list(&diff(&change, false).changed), "state.keep_delivered");
    }

    #[test]
    fn which_sinks_were_added_changed_and_removed() {
        use SinkChange::{Receiver, Same, Settings};
        let sinks = |changes: &[(&'static str, &'static str)]| {
            let diff = diff(changes, false);
            (list(&diff.added), list(&diff.removed), diff.sink("crm"), diff.changes_sinks())
        };
        let (none, old) = (String::new, || "old".to_owned());
        assert_eq!(sinks(&[]), (none(), none(), Same, false));
        assert_eq!(sinks(&[("poll.interval", "2s")]), (none(), none(), Same, false));
        assert_eq!(sinks(&[("sinks.old", "-")]), (none(), old(), Same, true));
        assert_eq!(sinks(&[("sinks.new", ""), ("sinks.new.url", "x")]), ("new".to_owned(), none(), Same, true));
        assert_eq!(sinks(&[("sinks.crm.concurrency", "9")]), (none(), none(), Settings, true));
        assert_eq!(
            sinks(&[("sinks.crm.retry.max", "1h"), ("sinks.crm.filter.to", "+1")]),
            (none(), none(), Settings, true)
        );
        assert_eq!(sinks(&[("sinks.crm.timeout", "1s")]), (none(), none(), Settings, true));
        for key in ["api.account", "codes.pattern", "sinks.crm.fallback", "sinks.crm.mask_codes", "sinks.crm.events"] {
            assert_eq!(sinks(&[(key, "x")]), (none(), none(), Settings, true), "{key}");
        }
        for key in ["sinks.crm.url", "sinks.crm.auth.bearer", "sinks.crm.signing.secrets", "sinks.crm.tls.ca_file"] {
            assert_eq!(sinks(&[(key, "x"), ("sinks.crm.concurrency", "9")]), (none(), none(), Receiver, true), "{key}");
        }
    }

    #[test]
    fn a_change_concerns_only_its_own_section() {
        let diff = diff(&[("api.url", "x"), ("poll.interval", "2s"), ("state.dir", "/b")], false);
        assert!(diff.changes("poll") && !diff.changes("api") && !diff.changes("state"));
        assert!(diff.holds_back("api") && diff.holds_back("state") && !diff.holds_back("poll"));
        assert!(!diff.takes_no_effect());
    }
}
