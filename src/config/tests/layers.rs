//! The layers: where values come from, and which of them counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{KEY, Machine, http_options, is_built, keys, needed_by, sections, type_with};
use crate::config::{Config, LogFormat, StateConfig, load_state};
use crate::domain::{Start, UnixMs};
use crate::settings::{DeclaredKey, KeyKind};
use crate::store::RetentionPeriod;

/// A value of this key other than its default: first as TOML, then as in a variable. `None` for keys that have an
/// effect only together with other keys. Other tests try these keys.
fn changes(section: &str, key: &DeclaredKey) -> Option<(String, String)> {
    let same = |text: &str| (text.to_owned(), text.to_owned());
    let quoted = |text: &str| (format!("\"{text}\""), text.to_owned());
    Some(match (section, key.name.as_str(), &key.kind) {
        ("api", "url", _) => quoted("https://a.example"),
        ("api", "key", _) => {
            ("[{ env = \"JOLTSMS_API_KEY\" }, { env = \"K\" }]".to_owned(), "jolt_sk_1,jolt_sk_2".to_owned())
        }
        ("api", "account", _) => quoted("other"),
        ("events", _, _) => quoted("9d"),
        ("codes", "pattern", _) => (r"'\d{6}'".to_owned(), r"\d{6}".to_owned()),
        (_, "proxy", _) => quoted("http://p.example"),
        ("admin", "listen", _) => quoted("127.0.0.1:1"),
        ("heartbeat", "url", _) => quoted("https://h.example"),
        ("admin" | "heartbeat", _, _) | ("state", "url" | "namespace", _) => return None,
        ("sinks", key, _) if needs_other_keys(key) => return None,
        ("api", key, _) if key.starts_with("tls.") => return None,
        (_, _, KeyKind::Secret { .. }) => ("{ env = \"K\" }".to_owned(), "jolt_sk_2".to_owned()),
        (_, "priority", _) => same("5"),
        (_, "qos", _) => same("2"),
        (_, "client_id" | "user" | "subject" | "exchange", _) => quoted("x"),
        (_, _, KeyKind::Integer(_)) => same("3"),
        (_, _, KeyKind::Number(_)) => same("1.5"),
        (_, _, KeyKind::Boolean) => same(if key.default.as_deref() == Some("true") { "false" } else { "true" }),
        (_, _, KeyKind::Duration { .. } | KeyKind::Start) => quoted("9s"),
        (_, _, KeyKind::Size(_)) => quoted("99MiB"),
        (_, _, KeyKind::Path) => quoted("/d"),
        (_, "mode", _) => quoted("0640"),
        (_, "reject_exit", _) => ("[66, 70]".to_owned(), "70, 66".to_owned()),
        (_, _, KeyKind::Statuses { .. }) => ("[425, 409]".to_owned(), "409, 425".to_owned()),
        (_, _, KeyKind::Texts { .. }) => quoted("[+]1800*"),
        (_, _, KeyKind::Words(words)) => {
            quoted(words.iter().rfind(|word| key.default != Some(format!("\"{word}\""))).unwrap())
        }
        (_, name, kind) => panic!("{section} {name} {kind:?}: a key without a test"),
    })
}

/// Whether this key of a sink has an effect only together with other keys.
fn needs_other_keys(key: &str) -> bool {
    let names = [
        "type",
        "url",
        "path",
        "command",
        "from",
        "to",
        "table",
        "env",
        "token",
        "topic",
        "routing_key",
        "brokers",
        "key",
        "properties",
        "credentials",
        "chat",
        "format",
        "fallback",
        "content_type",
        "headers",
        "auth.basic.password",
        "password",
    ];
    names.contains(&key) || ["tls.", "signing.", "template"].iter().any(|start| key.starts_with(start))
}

fn shown(machine: &Machine) -> String {
    let mut config = machine.load();
    config.file = None;
    let keys: Vec<_> = config.api.keys.iter().map(|key| key.expose().len()).collect();
    format!("{config:#?} {keys:?}").replace(&machine.root.path().display().to_string(), "")
}

#[test]
fn every_key_counts_in_the_file_in_its_variable_and_in_a_file_that_a_variable_names() {
    for section in sections() {
        let name = if section.name == "sinks" { "sinks.my-crm" } else { section.name };
        for declared in keys(section) {
            let Some((toml, text)) = changes(section.name, declared) else { continue };
            let key = declared.name.as_str();
            // These keys allow an address that is not encrypted. Without them such an address is refused.
            let allows_plain = matches!(key, "allow_http" | "allow_plaintext");
            let scheme = if allows_plain { "http" } else { "https" };
            let api = if name == "api" && key != "url" {
                format!("url = \"{scheme}://api.example\"\n")
            } else {
                String::new()
            };
            if section.name == "sinks" && !is_built(type_with(declared)) {
                continue;
            }
            let (kind, own) = if section.name == "sinks" { (type_with(declared), key) } else { ("http", "") };
            let sink = format!("type = \"{kind}\"\n{}", needed_by(kind, own, !allows_plain));
            // Events need both `sinks.NAME.events` and `events.number_expiring`. If only one of them is set, there is a
            // warning, whose place would differ between the file and the variable.
            let (events, takes_events) = match (section.name, key) {
                ("sinks", "events") => ("[events]\nnumber_expiring = \"7d\"\n", ""),
                ("events", _) => ("", "events = true\n"),
                _ => ("", ""),
            };
            let sink = sink + takes_events;
            let base = match section.name {
                "sinks" => format!("{events}[{name}]\n{sink}"),
                _ => format!("[sinks.my-crm]\n{}[{name}]\n{api}", sink.replace("http:", "https:")),
            };
            let name = name.to_ascii_uppercase().replace(['.', '-'], "_").replace("SINKS_", "SINKS__");
            let name = format!("JOLTSMS_RELAY_{name}__{}", declared.variable());
            let machine = |text: &str| Machine::with_file(text).set("K", "jolt_sk_2");

            let in_file = shown(&machine(&format!("{base}{key} = {toml}\n")));
            if allows_plain {
                let refused = machine(&base).refused();
                assert!(refused.contains("so everybody on the way could read what is sent"), "{refused}");
            } else {
                assert_ne!(in_file, shown(&machine(&base)), "{key} has no effect");
            }
            let in_variable = shown(
                &machine(&base)
                    .set(&name, &text)
                    .unset("JOLTSMS_API_KEY")
                    .set("K", "x")
                    .set(if key == "key" { "K" } else { "JOLTSMS_API_KEY" }, KEY),
            );
            let by_file = machine(&base);
            let path = by_file.write("value", &format!("{text}\n"));
            let by_file = by_file.set(&format!("{name}__FILE"), path.to_str().unwrap());
            let by_file = shown(&if key == "key" { by_file.unset("JOLTSMS_API_KEY") } else { by_file });
            if key == "key" {
                assert!(in_variable.contains("[9, 9]") && by_file.contains("[9, 9]"), "{in_variable} {by_file}");
            } else {
                assert_eq!(in_variable, in_file, "{name}");
                assert_eq!(by_file, in_file, "{name}__FILE");
            }
        }
    }
}

#[test]
fn without_anything_but_a_key_it_relays_to_stdout() {
    let machine = Machine::new();
    let config = machine.load();
    assert_eq!(config.file, None);
    assert_eq!(config.api.keys[0].expose(), KEY);
    assert_eq!(config.api.url.as_str(), "https://api.joltsms.com/");
    assert_eq!(config.state.dir, machine.path("home/.local/state/joltsms-relay"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(config.sinks_implied);
    let [sink] = config.sinks.as_slice() else { panic!("{:?}", config.sinks) };
    assert_eq!((sink.name.as_str(), sink.format.name(), sink.delivery.concurrency), ("stdout", "message", 8));
    assert!(sink.target.is_stdout());
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let mut machine =
        Machine::with_file("[log]\nlevel = \"error\"\n[poll]\nstart = \"1h\"\n[state]\ndir = \"/file\"\n");
    let seen = |machine: &Machine| {
        let Config { log, poll, state, .. } = machine.load();
        (log.level, poll.start, state.dir)
    };
    let hours = |hours: u64| Start::Back(Duration::from_secs(hours * 3600));
    assert_eq!(seen(&machine), (tracing::Level::ERROR, hours(1), "/file".into()));
    for (name, value) in [("LOG__LEVEL", "warn"), ("POLL__START", "2h"), ("STATE__DIR", "/variable")] {
        machine = machine.set(&format!("JOLTSMS_RELAY_{name}"), value);
    }
    assert_eq!(seen(&machine), (tracing::Level::WARN, hours(2), "/variable".into()));
    machine.flags.log_level = Some("trace".into());
    machine.flags.start = Some("3h".into());
    machine.flags.state_dir = Some("/flag".into());
    assert_eq!(seen(&machine), (tracing::Level::TRACE, hours(3), "/flag".into()));
    machine.flags.log_level = None;
    machine.flags.quiet = true;
    assert_eq!(seen(&machine).0, tracing::Level::WARN);
}

#[test]
fn the_first_file_that_is_there_counts() {
    let level = |machine: &Machine| machine.load().log.level.to_string();
    let mut machine = Machine::new();
    assert_eq!(level(&machine), "INFO");
    machine.write("etc/joltsms-relay/config.toml", "log.level = \"error\"");
    assert_eq!(level(&machine), "ERROR");
    machine.write("home/.config/joltsms-relay/config.toml", "log.level = \"warn\"");
    assert_eq!(level(&machine), "WARN");
    // By the XDG rules a relative path does not count.
    machine = machine.set("XDG_CONFIG_HOME", "relative");
    assert_eq!(level(&machine), "WARN");
    machine.write("xdg/joltsms-relay/config.toml", "log.level = \"info\"\nlog.keep_files = 1");
    let xdg = machine.path("xdg").display().to_string();
    machine = machine.set("XDG_CONFIG_HOME", &xdg);
    assert_eq!((level(&machine).as_str(), machine.load().log.keep_files), ("INFO", 1));
    let named = machine.write("variable.toml", "log.level = \"debug\"").display().to_string();
    machine = machine.set("JOLTSMS_RELAY_CONFIG", &named);
    assert_eq!(level(&machine), "DEBUG");
    machine.flags.config = Some(machine.write("flag.toml", "log.level = \"trace\""));
    assert_eq!(level(&machine), "TRACE");
    assert_eq!(machine.load().file, machine.flags.config);
}

#[test]
fn a_named_file_must_be_there() {
    let machine = Machine::new().set("JOLTSMS_RELAY_CONFIG", "/nowhere.toml").unset("JOLTSMS_API_KEY");
    let refused = machine.refused();
    assert!(refused.starts_with("JOLTSMS_RELAY_CONFIG: /nowhere.toml: cannot be read: No such file"), "{refused}");
    assert!(refused.ends_with("\n1 error in the configuration"), "the key may stand in that file: {refused}");
    let mut machine = Machine::with_file("");
    machine.flags.config = Some("/nowhere.toml".into());
    assert!(machine.refused().starts_with("--config: /nowhere.toml: cannot be read: No such file"));
    machine.flags.config = Some(machine.root.path().into());
    assert!(machine.refused().contains("Is a directory"));
    assert!(Machine::new().set("JOLTSMS_RELAY_CONFIG", "").refused().starts_with("JOLTSMS_RELAY_CONFIG: is empty"));
}

#[test]
fn a_found_file_that_cannot_be_used_is_not_passed_over() {
    let machine = Machine::new();
    machine.write("etc/joltsms-relay/config.toml", "");
    fs::create_dir_all(machine.path("home/.config/joltsms-relay/config.toml")).unwrap();
    assert!(machine.refused().starts_with("config.toml: cannot be read: Is a directory"), "{}", machine.refused());
    let machine = Machine::with_file("");
    let path = machine.path("home/.config/joltsms-relay/config.toml");
    fs::remove_file(&path).unwrap();
    // Nothing is ever written to the pipe, so reading it would never end.
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let refused = machine.refused();
    assert!(refused.starts_with("config.toml: cannot be read: it is a pipe or a device"), "{refused}");
    let machine = Machine::with_file("");
    fs::write(machine.path("home/.config/joltsms-relay/config.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    assert!(machine.refused().starts_with("config.toml: line 2 is not UTF-8"), "{}", machine.refused());
    let machine = Machine::with_file(&"#".repeat(1024 * 1024 + 1));
    assert!(machine.refused().starts_with("config.toml: is longer than 1 MiB"), "{}", machine.refused());
}

#[test]
fn a_place_of_the_system_that_cannot_be_looked_at_is_not_passed_over() {
    // A link to itself cannot be opened by anybody. A directory without permissions would prove nothing, because root
    // can open it.
    let around = |machine: &Machine, place: &str| {
        fs::create_dir_all(machine.path(place).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("joltsms-relay", machine.path(place)).unwrap();
    };
    let machine = Machine::new();
    around(&machine, "home/.config/joltsms-relay");
    assert_eq!(machine.load().file, None, "a home may be closed to a service");
    around(&machine, "etc/joltsms-relay");
    assert!(machine.refused().contains("joltsms-relay/config.toml: cannot be read: "), "{}", machine.refused());
}

#[test]
fn the_state_directory_follows_the_file() {
    let dir = |machine: &Machine| machine.load().state.dir;
    let machine = Machine::new();
    machine.write("etc/joltsms-relay/config.toml", "");
    assert_eq!(dir(&machine), Path::new("/var/lib/joltsms-relay"));
    for (file, expected) in [
        ("etc/joltsms-relay/shop.toml", "/var/lib/joltsms-relay-shop"),
        ("etc/joltsms-relay/my-shop.toml", "/var/lib/joltsms-relay-my-shop"),
        ("etc/joltsms-relay/config.toml", "/var/lib/joltsms-relay"),
        ("etc/elsewhere/shop.toml", "/var/lib/joltsms-relay"),
    ] {
        let mut instance = Machine::new();
        instance.flags.config = Some(instance.write(file, ""));
        assert_eq!(dir(&instance), Path::new(expected), "{file}");
        let instance = instance.set("STATE_DIRECTORY", "/var/lib/one");
        assert_eq!(dir(&instance), Path::new("/var/lib/one"), "{file}: what systemd says goes first");
    }
    let machine = machine.set("STATE_DIRECTORY", "/var/lib/one:/var/lib/two");
    assert_eq!(dir(&machine), Path::new("/var/lib/one"));
    let machine = Machine::with_file("");
    assert_eq!(dir(&machine), machine.path("home/.local/state/joltsms-relay"), "not that of the system");
    let machine = Machine::with_file("state.dir = \"data\"");
    assert_eq!(dir(&machine), machine.path("home/.config/joltsms-relay/data"), "counts from the file");
    let here = std::path::absolute("data").unwrap();
    assert_eq!(dir(&Machine::new().set("JOLTSMS_RELAY_STATE__DIR", "data")), here, "counts from the present directory");
    assert_eq!(dir(&Machine::new().set("XDG_STATE_HOME", "/xdg")), Path::new("/xdg/joltsms-relay"));
    let refused = Machine::new().unset("HOME").refused();
    assert!(refused.starts_with("there is no state directory"), "{refused}");
    assert_eq!(Machine::new().set("LOGS_DIRECTORY", "/logs:/x").load().log.dir, Some(PathBuf::from("/logs")));
    assert_eq!(Machine::new().load().log.dir, None);
}

#[test]
fn the_systems_file_that_is_not_read_is_known() {
    let passed_over = |machine: &Machine| machine.load().source.passed_over;
    let mut machine = Machine::with_file("");
    assert_eq!(passed_over(&machine), None, "the system has no file");
    let system = machine.write("etc/joltsms-relay/config.toml", "");
    assert_eq!(passed_over(&machine), Some(system.clone()));
    machine.flags.config = Some(machine.path("home/.config/joltsms-relay/config.toml"));
    assert_eq!(passed_over(&machine), None, "somebody chose the file");
    machine.flags.config = None;
    fs::remove_file(machine.path("home/.config/joltsms-relay/config.toml")).unwrap();
    assert_eq!((machine.load().file, passed_over(&machine)), (Some(system), None));
}

#[test]
fn short_names_win_over_the_file_unless_it_names_them() {
    let other = "jolt_sk_ffffffffffffffffffffffffffffffff";
    let keys =
        |machine: &Machine| machine.load().api.keys.iter().map(|key| key.expose().to_owned()).collect::<Vec<_>>();
    let machine =
        Machine::with_file("[api]\nurl = \"https://file.example\"\nkey = { env = \"OTHER\" }").set("OTHER", other);
    assert_eq!(keys(&machine), [KEY]);
    let warnings = |machine: &Machine| machine.load().warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let told = "JOLTSMS_API_KEY: overrides `api.key` of the configuration file; unset the variable, or take the key out \
                of the file";
    assert_eq!(warnings(&machine), [told]);
    assert_eq!(machine.set("JOLTSMS_API_URL", "https://v.example").load().api.url.as_str(), "https://v.example/");
    let rotation = "api.key = [{ env = \"OTHER\" }, { env = \"JOLTSMS_API_KEY\" }]";
    let machine = Machine::with_file(rotation).set("OTHER", other);
    assert_eq!((keys(&machine), warnings(&machine).len()), (vec![other.to_owned(), KEY.to_owned()], 0));
    let machine = Machine::new().unset("JOLTSMS_API_KEY");
    let path = machine.write("key", &format!("{KEY}\n")).display().to_string();
    assert_eq!(keys(&machine.set("JOLTSMS_API_KEY_FILE", &path)), [KEY]);
}

#[test]
fn variables_find_the_sink_of_the_file() {
    let file = "[sinks.my-crm]\ntype = \"http\"\nurl = \"https://a.example\"\n";
    let machine = Machine::with_file(file).set("JOLTSMS_RELAY_SINKS__MY_CRM__CONCURRENCY", "2");
    let sinks = machine.load().sinks;
    assert_eq!(sinks.iter().map(|sink| sink.delivery.concurrency).collect::<Vec<_>>(), [2]);
    // The sink with the exact name wins over a sink whose name is only similar.
    let both = format!("{file}{}", file.replace("my-crm", "my_crm"));
    let sinks = Machine::with_file(&both).set("JOLTSMS_RELAY_SINKS__MY_CRM__CONCURRENCY", "2").load().sinks;
    assert_eq!(sinks.iter().map(|sink| sink.delivery.concurrency).collect::<Vec<_>>(), [8, 2]);
    let both = format!("{}{}", file.replace("my-crm", "a-b_c"), file.replace("my-crm", "a_b-c"));
    let refused = Machine::with_file(&both).set("JOLTSMS_RELAY_SINKS__A_B_C__CONCURRENCY", "2").refused();
    assert!(refused.contains("may mean the sink `a-b_c` or `a_b-c`"), "{refused}");
}

#[test]
fn variables_alone_make_a_sink() {
    // The name of the sink contains `__`, and its second part could be the name of a key.
    let machine = Machine::new()
        .set("JOLTSMS_RELAY_SINKS__MY__TLS__TYPE", "http")
        .set("JOLTSMS_RELAY_SINKS__MY__TLS__URL", "https://u:hunter2@a.example/x")
        .set("JOLTSMS_RELAY_SINKS__MY__TLS__RETRY__GIVE_UP_AFTER", "never")
        .set("JOLTSMS_RELAY_SINKS__MY__TLS__FORMAT", "message");
    let config = machine.load();
    assert!(!config.sinks_implied);
    let [sink] = config.sinks.as_slice() else { panic!("{:?}", config.sinks) };
    assert_eq!((sink.name.as_str(), sink.delivery.retry.give_up_after), ("my__tls", None));
    assert_eq!(http_options(sink).url.password(), Some("hunter2"));
}

#[test]
fn variables_of_kubernetes_are_none_of_ours() {
    let machine = Machine::new().set("JOLTSMS_RELAY_SERVICE_HOST", "10.0.0.1").set("JOLTSMS_RELAY_PORT_80_TCP", "x");
    assert!(machine.load().sinks_implied);
}

#[test]
fn forward_to_makes_the_only_sink() {
    let mut machine = Machine::new();
    machine.flags.forward_to = Some("http://127.0.0.1:9/x".into());
    machine.flags.format = Some("message".into());
    let config = machine.load();
    let [sink] = config.sinks.as_slice() else { panic!("{:?}", config.sinks) };
    assert_eq!((sink.name.as_str(), sink.delivery.concurrency), ("forward", 8));
    assert!(http_options(sink).url.as_str() == "http://127.0.0.1:9/x");
    assert!(!config.sinks_implied);
    machine.flags.forward_to = Some("http://u:hunter2@10.0.0.1/".into());
    let refused = machine.refused();
    assert!(refused.starts_with("--forward-to: `sinks.forward.url` goes to 10.0.0.1 in plain http"), "{refused}");
}

#[test]
fn flags_for_use_without_sinks_are_refused_with_them() {
    for (set, flag) in [(true, "--forward-to"), (false, "--format")] {
        let mut machine = Machine::with_file("[sinks.out]\ntype = \"stdout\"\n");
        machine.flags.forward_to = set.then(|| "https://a.example".into());
        machine.flags.format = (!set).then(|| "message".into());
        let refused = machine.refused();
        assert!(refused.starts_with(&format!("{flag}: cannot be combined with configured sinks (`out`)")), "{refused}");
        assert!(refused.ends_with("\n1 error in the configuration"), "{refused}");
    }
}

#[test]
fn values_have_several_forms() {
    let poll = |start: &str| Machine::with_file(&format!("poll.start = {start}")).load().poll.start;
    assert_eq!(poll("\"now\""), Start::Now);
    assert_eq!(poll("\"beginning\""), Start::Beginning);
    assert_eq!(poll("\"24h\""), Start::Back(Duration::from_secs(86_400)));
    assert_eq!(poll("\"1970-01-01T00:00:01Z\""), Start::At(UnixMs(1000)));
    assert_eq!(poll("1970-01-01T01:00:01+01:00"), Start::At(UnixMs(1000)), "TOML's own times");
    let keep = |keep: &str| Machine::with_file(&format!("state.keep_delivered = {keep}")).load().state.keep_delivered;
    assert_eq!(keep("\"forever\""), RetentionPeriod::Forever);
    assert_eq!(keep("\"0s\""), RetentionPeriod::For(Duration::ZERO));
    let url = |url: &str| Machine::new().set("JOLTSMS_API_URL", url).load().api.url.to_string();
    assert_eq!(url("http://localhost:8080"), "http://localhost:8080/");
    assert_eq!(url("https://proxy.example/joltsms"), "https://proxy.example/joltsms/");
    let machine =
        Machine::with_file("\u{feff}[log]\r\nformat = \"json\"\r\n[sinks.\"a\"]\r\ntype='stdout'\r\nretry.factor = 2");
    let config = machine.load();
    assert_eq!((config.log.format, config.sinks[0].delivery.retry.factor), (LogFormat::Json, 2.0));
}

#[test]
fn commands_on_state_need_no_secrets() {
    let machine =
        Machine::with_file("[state]\ndir = \"/s\"\n[sinks.crm]\ntype = \"http\"\nurl = { env = \"UNSET\" }\n");
    let machine = machine.unset("JOLTSMS_API_KEY");
    assert!(machine.refused().ends_with("\n2 errors in the configuration"));
    let StateConfig { file, options, without_events } = load_state(&machine.sources()).unwrap();
    assert_eq!((file, options.dir), (Some(machine.path("home/.config/joltsms-relay/config.toml")), "/s".into()));
    assert_eq!(without_events, ["crm".parse().unwrap()]);
    let events = machine.set("JOLTSMS_RELAY_SINKS__CRM__EVENTS", "true");
    assert_eq!(load_state(&events.sources()).unwrap().without_events, []);
    assert!(load_state(&Machine::with_file("state.dri = \"/s\"").sources()).is_err(), "names are checked");
}
