//! Which names the declarations know, and which they propose.

use super::{Machine, keys, needed_by, sections};
use crate::config::declarations;
use crate::settings::{DeclaredKey, Section};
use crate::sinks::KNOWN_TYPES;

fn sink() -> &'static Section {
    &declarations().sink
}

/// The result of looking a name up: a key, a table, or a suggestion.
fn found(section: &Section, group: &str, name: &str) -> String {
    match section.find(group, name) {
        Ok(key) if key.is_table() => format!("table {}", key.name),
        Ok(key) => format!("key {}", key.name),
        Err(meant) => format!("unknown {}", meant.unwrap_or_default()),
    }
}

#[test]
fn finds_keys_and_groups() {
    assert_eq!(found(declarations().section("api").unwrap(), "", "url"), "key url");
    for (group, name, expected) in [
        ("", "retry", "table retry"),
        ("retry", "max", "key retry.max"),
        ("retry", "url", "unknown "),
        ("retry", "mex", "unknown max"),
        ("filter", "exclude", "table filter.exclude"),
        ("auth", "basic", "table auth.basic"),
        ("auth.basic", "user", "key auth.basic.user"),
        ("", "max", "unknown "),
        ("", "rety", "unknown retry"),
    ] {
        assert_eq!(found(sink(), group, name), expected, "{group} {name}");
    }
}

#[test]
fn each_type_of_sink_has_its_own_keys() {
    let of_http: Vec<_> = keys(sink()).filter(|key| key.types.contains(&"http")).map(|key| key.name.as_str()).collect();
    for key in [
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
    ] {
        assert!(of_http.contains(&key), "{key}: {of_http:?}");
    }
    assert!(sink().keys.iter().all(|key| !key.types.contains(&"stdout")), "stdout has no keys of its own");
    let own = |kind| keys(sink()).filter(|key| key.types == [kind]).map(|key| key.name.as_str()).collect::<Vec<_>>();
    assert_eq!(own("file"), ["path", "mode"]);
    assert_eq!(own("exec"), ["command", "env", "reject_exit"]);
    assert_eq!(own("telegram"), ["chat", "silent"]);
    assert_eq!(own("ntfy"), ["priority"]);
    assert_eq!(own("smtp"), ["from", "to"]);
    assert_eq!(own("postgres"), ["table"]);
    assert_eq!(own("mqtt"), ["qos", "retain", "client_id", "home_assistant"]);
    assert_eq!(own("nats"), ["credentials"]);
    assert_eq!(own("amqp"), ["exchange", "routing_key"]);
    assert_eq!(own("kafka"), ["brokers", "key", "properties"]);
}

#[test]
fn a_type_that_this_build_lacks_is_refused_by_the_name_of_its_feature() {
    for known in KNOWN_TYPES {
        let Some(feature) = known.lacking else { continue };
        let (kind, keys) = (known.name(), needed_by(known.name(), "", true));
        let refused = Machine::with_file(&format!("[sinks.crm]\ntype = \"{kind}\"\n{keys}no_such_key = 1\n")).refused();
        assert!(
            refused.contains(&format!("`sinks.crm.type` = \"{kind}\": this build of the relay lacks it")),
            "{refused}"
        );
        assert!(refused.contains(&format!("use a build with the cargo feature `{feature}`")), "{refused}");
        assert!(refused.contains("no_such_key"), "its keys are read all the same: {refused}");
    }
}

#[test]
fn knows_where_a_misplaced_key_belongs() {
    let elsewhere = |name| declarations().elsewhere(name);
    assert_eq!(elsewhere("interval").as_deref(), Some("[poll] or [heartbeat]"));
    assert_eq!(elsewhere("start").as_deref(), Some("[poll] or [sinks.NAME]"));
    assert_eq!(elsewhere("timeout").as_deref(), Some("[api] or [sinks.NAME]"));
    assert_eq!(elsewhere("give_up_after").as_deref(), Some("[sinks.NAME.retry]"));
    assert_eq!(elsewhere("nonsense"), None);
}

#[test]
fn a_dotted_key_is_known_as_a_whole() {
    for known in ["url", "retry.max", "api.key", "sinks", "admin"] {
        assert!(declarations().is_known(known), "{known}");
    }
    for unknown in ["", "olt_sk_hunter2", "[olt_sk_hunter2\".url", "crm.url", "url.hunter2"] {
        assert!(!declarations().is_known(unknown), "{unknown}");
    }
}

/// A key whose table is not declared, or that is declared twice, could not be found.
#[test]
fn every_key_is_declared_once_and_explained() {
    for section in sections() {
        for key in &section.keys {
            let same = section.keys.iter().filter(|other| other.name == key.name).count();
            let table = key.group().is_empty() || section.key(key.group()).is_some_and(DeclaredKey::is_table);
            assert!(same == 1 && table, "{}: `{}`", section.name, key.name);
            assert!(key.doc.ends_with(['.', ')']), "{}: `{}` has no sentences", section.name, key.name);
        }
    }
}
