//! Which configurations are refused, and with which messages.

use proptest::prelude::*;

use super::{KEY, Machine};

#[test]
fn seven_errors_are_told_at_once_in_the_order_of_their_lines() {
    let machine = Machine::with_file(
        "# My relay\n\
         [api]\n\
         key = \"jolt_sk_0123456789abcdef0123456789abcdef\"\n\
         requests_per_minute = 0\n\
         \n\
         [pol]\n\
         interval = \"1s\"\n\
         \n\
         [sinks.crm]\n\
         type = \"http\"\n\
         timeout = \"20\" # seconds\n\
         ulr = \"https://ann:hunter2@crm.example.com/hooks?token=hunter2\"\n\
         signing = { secrets = [\"hunter2\"] }\n",
    );
    let expected = r#"config.toml:3: `api.key` is written out; secrets do not belong in the configuration file
  |
3 | key = "…"
  |       ^^^
  = write { env = "JOLTSMS_API_KEY" }, { file = "path" } or { credential = "name" }, and revoke this one

config.toml:4: `api.requests_per_minute` = 0 is not a whole number from 1 to 1000000
  |
4 | requests_per_minute = 0
  |                       ^

config.toml:6: unknown section `pol`; did you mean `poll`?
  |
6 | [pol]
  |  ^^^

config.toml:11: `sinks.crm.timeout` = "20" has no unit
   |
11 | timeout = "20"
   |           ^^^^
   = a duration is written like "500ms", "15m", "1h30m" or "7d"

config.toml:12: unknown key `sinks.crm.ulr`; did you mean `url`?
   |
12 | ulr = "…"
   | ^^^

config.toml:13: `sinks.crm.signing.scheme` is missing
   |
13 | signing = { secrets = ["…"] }
   |                       ^^^^^
   = it must be "standard-webhooks" or "hmac-sha256"

config.toml:13: `sinks.crm.signing.secrets` is written out; secrets do not belong in the configuration file
   |
13 | signing = { secrets = ["…"] }
   |                        ^^^
   = write { env = "NAME" }, { file = "path" } or { credential = "name" }, and revoke this one

7 errors in the configuration"#;
    assert_eq!(machine.refused(), expected);
}

#[test]
fn errors_of_file_environment_and_flags_come_in_this_order() {
    let mut machine = Machine::with_file("[log]\nlevel = \"loud\"\n")
        .set("JOLTSMS_RELAY_POLL__INTERVAL", "1ms")
        .set("JOLTSMS_RELAY_API__TIMEOUT", "soon");
    machine.flags.start = Some("yesterday".into());
    let refused = machine.refused();
    let firsts: Vec<_> = refused.split("\n\n").map(|block| block.lines().next().unwrap()).collect();
    assert_eq!(
        firsts,
        [
            "config.toml:2: `log.level` = \"loud\" is not \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
            "JOLTSMS_RELAY_API__TIMEOUT: `api.timeout` = \"soon\" is not a duration",
            "JOLTSMS_RELAY_POLL__INTERVAL: `poll.interval` = \"1ms\" is too short; the least is 100ms",
            "--start: `poll.start` = \"yesterday\" is not a start",
            "4 errors in the configuration",
        ]
    );
}

#[test]
fn what_is_not_toml_is_told_with_the_rest() {
    let machine = Machine::with_file(
        "[poll]\ninterval = 1s\nlookback = \"40d\"\n[api\nkey = \"hunter2\"\nurl = \"x\"\n[sinks.crm]\ntype = \"http\"\n",
    );
    let expected = r#"config.toml:2: a text must stand in quotes: "…"
  |
2 | interval = …
  |            ^

config.toml:3: `poll.lookback` is too long; the most is 30d
  |
3 | lookback = …
  |            ^

config.toml:4: unclosed table, expected `]`
  |
4 | [api
  |     ^

3 errors in the configuration"#;
    assert_eq!(machine.refused(), expected);
}

/// Each case: the file, the line of the mistake, and the beginning of the message that follows `config.toml:LINE: `.
#[test]
fn each_mistake_in_a_file_has_its_message() {
    let http = "[sinks.crm]\ntype = \"http\"\nurl = \"https://a.example\"\n";
    for (file, line, expected) in [
        // Names.
        ("[api]\nurk = 1", 2, "unknown key `api.urk`; did you mean `url`?"),
        ("[api]\ninterval = \"1s\"", 2, "unknown key `api.interval`; `interval` belongs in [poll]"),
        ("[poll]\nfrequency = 1", 2, "unknown key `poll.frequency`; the keys of [poll] are interval, start, lookback"),
        ("interval = \"1s\"", 1, "`interval` stands outside of any section; it belongs in [poll]"),
        ("[sink.crm]", 1, "unknown section `sink`; did you mean `sinks`?"),
        ("[receivers.crm]", 1, "unknown section `receivers`; there are [api]"),
        ("\"a\\u001b[31m\" = 1", 1, "unknown section `…`; there are [api]"),
        (&format!("{http}retry.maxx = 1"), 4, "unknown key `sinks.crm.retry.maxx`; did you mean `max`?"),
        (
            &format!("{http}[sinks.crm.retry]\nurl = 1"),
            5,
            "unknown key `sinks.crm.retry.url`; `url` belongs in [api] or",
        ),
        (
            &format!("{http}retry.give_up = \"1h\""),
            4,
            "unknown key `sinks.crm.retry.give_up`; did you mean `give_up_after`?",
        ),
        (&format!("{http}requests = 1"), 4, "unknown key `sinks.crm.requests`; did you mean `requests_per_minute`?"),
        (&format!("{http}tls.file = \"x\""), 4, "unknown key `sinks.crm.tls.file`; the keys of [sinks.crm.tls] are"),
        (&format!("{http}max = \"1s\""), 4, "unknown key `sinks.crm.max`; `max` belongs in [sinks.NAME.retry]"),
        ("[sinks.CRM]\ntype = \"stdout\"", 1, "`CRM` cannot be the name of a sink: the name of a sink has 1 to 64"),
        ("[codes]\npattern = '\\d*'", 2, "`codes.pattern` = \"\\\\d*\" matches an empty text, so it finds no code"),
        ("[events]\nlisten = \"x\"", 2, "unknown key `events.listen`"),
        ("[events]\nnumber_expiring = []", 2, "`events.number_expiring` is an empty array"),
        ("[events]\nnumber_expiring = [\"7d\", \"soon\"]", 2, "`events.number_expiring` = \"soon\""),
        (
            "[events]\nnumber_expiring = \"1m\"",
            2,
            "`events.number_expiring` = \"1m\" is not a duration from 1h to 365d",
        ),
        ("[state]\nmax_size = \"1MiB\"", 2, "`state.max_size` = \"1MiB\" is too small; the least is 16.0 MiB"),
        ("[state]\nmax_size = \"2000TiB\"", 2, "`state.max_size` = \"2000TiB\" is too large; the most is 1.0 PiB"),
        ("[state]\nmin_free = \"much\"", 2, "`state.min_free` = \"much\" is not a size"),
        ("[state]\nmin_free = 64", 2, "`state.min_free` must be a size in quotes, such as \"1GiB\", not a number"),
        ("[state]\nkeep_dead = \"never\"", 2, "`state.keep_dead` = \"never\" is not a duration"),
        // Types.
        ("api = 5", 1, "[api] must be a table, not an integer"),
        ("sinks = \"x\"", 1, "[sinks.NAME] must be a table, not a text"),
        ("[[sinks]]\ntype = \"http\"", 1, "[sinks.NAME] must be a table, not an array"),
        (&format!("{http}retry = 5"), 4, "[sinks.crm.retry] must be a table, not an integer"),
        ("[poll]\ninterval = 5", 2, "`poll.interval` must be a duration in quotes, such as \"5s\", not a number"),
        (
            "[poll]\ninterval = [\"5s\"]",
            2,
            "`poll.interval` must be a duration in quotes, such as \"5s\", not an array",
        ),
        ("[api]\nallow_http = \"true\"", 2, "`api.allow_http` must be true or false, without quotes"),
        ("[log]\nkeep_files = \"3\"", 2, "`log.keep_files` must be a whole number from 1 to 10000, without quotes"),
        ("[log]\nkeep_files = 1.5", 2, "`log.keep_files` must be a whole number"),
        // References.
        ("[api]\nurl = { evn = \"X\" }", 2, "unknown key `evn` in the value of `api.url`; did you mean `env`?"),
        ("[api]\nurl = {}", 2, "the value of `api.url` must name exactly one source"),
        ("[api]\nurl = { env = \"A\", file = \"b\" }", 2, "the value of `api.url` must name exactly one source"),
        ("[api]\nurl = { env = 5 }", 2, "`env` of `api.url` must be a text in quotes, not an integer"),
        ("[api]\nurl.env = \"UNSET\"", 2, "`api.url`: the environment variable `UNSET` is not set"),
        ("[api]\nkey = { env = \"EMPTY\" }", 2, "`api.key`: the environment variable `EMPTY` is empty"),
        ("[api]\nkey = { file = \"no\" }", 2, "`api.key`: the file `"),
        (
            "[api]\nkey = { credential = \"k\" }",
            2,
            "`api.key`: the credential `k` is not there: $CREDENTIALS_DIRECTORY",
        ),
        ("[log]\nkeep_files = { env = \"N\" }", 2, "`log.keep_files` must be a whole number"),
        // Keys of the API.
        ("[api]\nkey = 5", 2, "`api.key` is written out"),
        ("[api]\nkey = [{ env = \"JOLTSMS_API_KEY\" }, \"x\"]", 2, "`api.key` is written out"),
        ("[api]\nkey = []", 2, "`api.key` is an empty array"),
        ("[api]\nkey = [[]]", 2, "`api.key` must be a text in quotes, not an array"),
        (
            "[api]\nkey = { env = \"STRIPE\" }",
            2,
            "`api.key` does not begin with `jolt_sk_`, so it may be another secret",
        ),
        ("[api]\nkey = { env = \"ODD\" }", 2, "`api.key` holds a character that cannot be sent in a header"),
        // Values.
        ("[poll]\ninterval = \"99ms\"", 2, "`poll.interval` = \"99ms\" is too short; the least is 100ms"),
        ("[poll]\ninterval = \"0s\"", 2, "`poll.interval` = \"0s\" is too short"),
        ("[poll]\ninterval = \"-1s\"", 2, "`poll.interval` = \"-1s\" is negative"),
        ("[poll]\nlookback = \"1mo\"", 2, "`poll.lookback` = \"1mo\" has a unit other than w, d, h, m, s and ms"),
        ("[poll]\nlookback = \"31d\"", 2, "`poll.lookback` = \"31d\" is too long; the most is 30d"),
        ("[poll]\nstart = \"2026-01-31\"", 2, "`poll.start` = \"2026-01-31\" is not a start"),
        ("[poll]\nstart = 2026-01-31T08:00:00", 2, "`poll.start` = \"2026-01-31T08:00:00\" is not a start"),
        ("[poll]\nstart = \"6000w\"", 2, "`poll.start` = \"6000w\" is longer than 100 years"),
        (
            "[api]\nrequests_per_minute = 1000001",
            2,
            "`api.requests_per_minute` = 1000001 is not a whole number from 1 to",
        ),
        ("[api]\nrequests_per_minute = -1", 2, "`api.requests_per_minute` = -1 is not"),
        ("[log]\nkeep_files = 0", 2, "`log.keep_files` = 0 is not a whole number from 1 to 10000"),
        ("[log]\nlevel = \"inf\"", 2, "`log.level` = \"inf\" is not known; did you mean \"info\"?"),
        ("[log]\nformat = \"xml\"", 2, "`log.format` = \"xml\" is not \"text\" or \"json\""),
        ("[log]\ndir = \"~/log\"", 2, "`log.dir` = \"~/log\" begins with `~`"),
        ("[state]\ndir = \"\"", 2, "`state.dir` = \"\" is empty"),
        ("[state]\ndir = \"a\\u0000b\"", 2, "`state.dir` = \"a\\0b\" holds a control character"),
        ("[state]\nkeep_delivered = \"ever\"", 2, "`state.keep_delivered` = \"ever\" is not a duration"),
        (&format!("{http}concurrency = 257"), 4, "`sinks.crm.concurrency` = 257 is not a whole number from 1 to 256"),
        (&format!("{http}concurrency = 0"), 4, "`sinks.crm.concurrency` = 0 is not"),
        (&format!("{http}retry.factor = 0.5"), 4, "`sinks.crm.retry.factor` = 0.5 is not a number from 1 to 100"),
        (&format!("{http}retry.factor = nan"), 4, "`sinks.crm.retry.factor` = NaN is not"),
        (&format!("{http}retry.factor = inf"), 4, "`sinks.crm.retry.factor` = inf is not"),
        (
            &format!("{http}retry.max = \"1s\""),
            4,
            "`sinks.crm.retry.max` (1s) is less than `sinks.crm.retry.initial` (5s by",
        ),
        (
            &format!("{http}retry.initial = \"0s\""),
            4,
            "`sinks.crm.retry.initial` = \"0s\" is too short; the least is 10ms",
        ),
        (&format!("{http}timeout = \"11m\""), 4, "`sinks.crm.timeout` = \"11m\" is too long; the most is 10m"),
        // URLs.
        ("[api]\nurl = \"\"", 2, "`api.url` is empty"),
        ("[api]\nurl = \"https://a.example/v1\"", 2, "`api.url` must not end with /v1, which the relay appends itself"),
        ("[api]\nurl = \"https://a.example/?x=1\"", 2, "`api.url` must have no user"),
        ("[api]\nurl = \"https://u:p@a.example\"", 2, "`api.url` must have no user"),
        ("[api]\nurl = \"http://a.example\"", 2, "`api.url` goes to a.example in plain http, so everybody"),
        ("[api]\nurl = \"https://a.example/#x\"", 2, "`api.url` must have no part after `#`"),
        ("[api]\nurl = \"ftp://a.example\"", 2, "`api.url` must begin with https:// or http://"),
        ("[api]\nurl = \"localhost:8080\"", 2, "`api.url` must begin with https:// or http://"),
        ("[api]\nurl = \"a.example\"", 2, "`api.url` is not a URL: relative URL without a base"),
        ("[api]\nurl = \"https://a.ex\\tample\"", 2, "`api.url` holds white space"),
        // Sinks as a whole.
        ("[sinks.crm]\n", 1, "`sinks.crm.type` is missing"),
        ("[sinks.crm]\ntype = \"webhook\"", 2, "`sinks.crm.type` = \"webhook\" is not \"http\", \"stdout\", \"file\","),
        ("[sinks.crm]\ntype = \"http\"", 1, "`sinks.crm.url` is missing: an http sink needs it"),
        ("[sinks.crm]\ntype = \"htp\"", 2, "`sinks.crm.type` = \"htp\" is not known; did you mean \"http\"?"),
        (
            "[sinks.out]\ntype = \"stdout\"\nurl = \"https://a.example\"",
            3,
            "`sinks.out.url` belongs to sinks of type \"http\"",
        ),
        (
            "[sinks.a]\ntype = \"stdout\"\n[sinks.b]\ntype = \"stdout\"",
            4,
            "`sinks.b` is a second stdout sink, beside `sinks.a`",
        ),
        // TOML.
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"", 3, "this key or table is there twice"),
        ("[log\n", 1, "unclosed table"),
        ("[log]\nlevel = \"info\n", 2, "invalid basic string"),
        ("level", 1, "key with no value, expected `=`"),
    ] {
        let machine =
            Machine::with_file(file).set("EMPTY", "").set("STRIPE", "sk_live_hunter2").set("ODD", "jolt_sk_ä");
        let machine = if file.contains("key = ") {
            machine.unset("JOLTSMS_API_KEY").set("JOLTSMS_API_KEY", KEY)
        } else {
            machine
        };
        // Otherwise the variable JOLTSMS_API_KEY would override the key of the file.
        let named = file.contains("JOLTSMS_API_KEY");
        let machine = if file.contains("key = ") && !named { machine.unset("JOLTSMS_API_KEY") } else { machine };
        let refused = machine.refused();
        assert!(refused.starts_with(&format!("config.toml:{line}: {expected}")), "{file}\n{refused}");
        assert!(refused.ends_with("\n1 error in the configuration"), "{file}\n{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn beside_a_misspelt_type_only_errors_that_are_certain_are_told() {
    for (file, lines) in [
        ("[sinks.crm]\ntype = \"htp\"\nurl = \"https://a.example\"\ntimeout = \"soon\"\n", &[2_usize, 4] as &[usize]),
        ("[sinks.crm]\ntype = \"htp\"\nurl = \"ftp://a.example\"\nconcurrency = 0\n", &[2, 3, 4]),
        ("[sinks.crm]\ntype = \"teleram\"\ntoken = 5\n", &[2, 3]),
        ("[sinks.crm]\ntype = \"pigeon\"\nurl = \"coop://a.example\"\nconcurrency = 0\n", &[2, 4]),
        ("[sinks.crm]\ntype = \"Slack\"\nurl = \"https://a.example\"\n", &[2]),
        ("[sinks.crm]\nurl = \"coop://a.example\"\n", &[1]),
    ] {
        let refused = Machine::with_file(file).refused();
        assert_eq!(refused.contains("format = \"slack\""), file.contains("Slack"), "{refused}");
        let told: Vec<usize> = refused
            .lines()
            .filter_map(|line| line.strip_prefix("config.toml:")?.split(':').next()?.parse().ok())
            .collect();
        assert_eq!(told, lines, "{file}\n{refused}");
    }
}

#[test]
fn a_file_that_is_not_there_says_how_to_make_one() {
    let mut machine = Machine::new();
    machine.flags.config = Some("/no/relay.toml".into());
    let refused = machine.refused();
    assert!(refused.contains("--config: /no/relay.toml: cannot be read: No such file"), "{refused}");
    assert!(refused.contains("\n = `joltsms-relay init /no/relay.toml` writes one with comments\n"), "{refused}");
}

#[test]
fn events_that_go_nowhere_are_told() {
    let sink = |events: &str| format!("[sinks.crm]\ntype = \"http\"\nurl = \"https://a.example\"\n{events}");
    let events = "[events]\nnumber_expiring = \"7d\"\n";
    for (file, warning) in [
        (sink("") + events, "config.toml:5: `events.number_expiring` is set, and no sink has `events = true`, so"),
        (sink("events = true\n"), "config.toml:4: `sinks.crm.events` is true, and `events.number_expiring` is not set"),
        (sink("events = true\n") + events, ""),
        (sink("events = false\n"), ""),
    ] {
        let told: Vec<String> = Machine::with_file(&file).load().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), usize::from(!warning.is_empty()), "{file}\n{told:?}");
        assert!(told.iter().all(|told| told.contains(warning)), "{told:?}");
    }
}

#[test]
fn each_mistake_in_the_environment_has_its_message() {
    let file = "[sinks.my-crm]\ntype = \"http\"\nurl = \"https://a.example\"\n";
    for (name, value, expected) in [
        ("JOLTSMS_RELAY_POLL_INTERVAL", "1s", "unknown variable; did you mean JOLTSMS_RELAY_POLL__INTERVAL?"),
        ("JOLTSMS_RELAY_POL__INTERVAL", "1s", "unknown variable; did you mean JOLTSMS_RELAY_POLL__INTERVAL?"),
        ("JOLTSMS_RELAY_CONFG", "1s", "unknown variable; did you mean JOLTSMS_RELAY_CONFIG?"),
        ("JOLTSMS_RELAY_API_NONSENSE", "1s", "unknown variable; the names are JOLTSMS_RELAY_<SECTION>__<KEY>"),
        ("JOLTSMS_RELAY_ADMIN_TOKEN", "x", "unknown variable; did you mean JOLTSMS_RELAY_ADMIN__TOKEN?"),
        ("JOLTSMS_RELAY_SINK_CRM_URL", "x", "unknown variable; did you mean JOLTSMS_RELAY_SINKS__CRM__URL?"),
        ("JOLTSMS_RELAY_SINK__SHOP__URL", "x", "unknown variable; did you mean JOLTSMS_RELAY_SINKS__SHOP__URL?"),
        ("JOLTSMS_RELAY_SINKS__MY_SHOP__ULR", "x", "unknown variable; did you mean JOLTSMS_RELAY_SINKS__MY_SHOP__URL?"),
        (
            "JOLTSMS_RELAY_SINKS__OPS__RETRY_MAX",
            "x",
            "unknown variable; did you mean JOLTSMS_RELAY_SINKS__OPS__RETRY__MAX?",
        ),
        ("JOLTSMS_RELAY_SINKS__MY_CRM__ULR", "x", "unknown variable; did you mean JOLTSMS_RELAY_SINKS__MY_CRM__URL?"),
        ("JOLTSMS_RELAY_SINKS__URL", "x", "unknown variable"),
        ("JOLTSMS_RELAY_SINKS____URL", "x", "unknown variable; the names are"),
        ("JOLTSMS_RELAY_SINKS__my_crm__URL", "x", "unknown variable; it must be in capitals"),
        ("JOLTSMS_RELAY_SINKS__MY_CMR__URL", "https://a.example", "`sinks.my_cmr.type` is missing"),
        ("JOLTSMS_RELAY_EVENTS__LISTEN", "x", "unknown variable"),
        ("JOLTSMS_RELAY_API__TLS__CA_FILE", "/no", "`api.tls.ca_file`: /no cannot be read: No such file"),
        (
            "JOLTSMS_RELAY_SINKS__MY_CRM__SIGNING__SCHEME",
            "x",
            "`sinks.my-crm.signing.scheme` = \"x\" is not \"standard-webhooks\" or \"hmac-sha256\"",
        ),
        (
            "JOLTSMS_RELAY_SINKS__MY_CRM__HEADERS",
            "X-Team: ops",
            "`sinks.my-crm.headers` cannot be set as a whole by a variable",
        ),
        ("JOLTSMS_RELAY_SINKS__MY_CRM__HEADERS__HOST", "x", "`sinks.my-crm.headers`: host cannot be set"),
        (
            "JOLTSMS_RELAY_SINKS__MY_CRM__AUTH__BEARER",
            "hunter2\n3",
            "`sinks.my-crm.auth.bearer` holds a character that cannot be sent in a header",
        ),
        (
            "JOLTSMS_RELAY_API__REQUESTS_PER_MINUTE",
            "many",
            "`api.requests_per_minute` = \"many\" is not a whole number",
        ),
        ("JOLTSMS_RELAY_API__REQUESTS_PER_MINUTE", "", "`api.requests_per_minute` = \"\" is not a whole number"),
        ("JOLTSMS_RELAY_API__ALLOW_HTTP", "yes", "`api.allow_http` = \"yes\" is not true or false"),
        ("JOLTSMS_RELAY_SINKS__MY_CRM__RETRY__FACTOR", "NaN", "`sinks.my-crm.retry.factor` = \"NaN\" is not a number"),
        ("JOLTSMS_RELAY_POLL__INTERVAL__FILE", "/no", "`poll.interval`: the file `/no` cannot be read"),
        ("JOLTSMS_RELAY_POLL__INTERVAL__FILE", "", "is set but empty"),
        ("JOLTSMS_RELAY_API__KEY", KEY, "`JOLTSMS_API_KEY` sets the same key"),
        ("JOLTSMS_API_KEY_FILE", "/no", "`JOLTSMS_API_KEY` sets the same key"),
        ("JOLTSMS_API_KEY", "", "`api.key` is empty"),
        ("JOLTSMS_API_KEY", " , ", "`api.key` is empty"),
        ("JOLTSMS_API_KEY", "\"jolt_sk_1", "`api.key` does not begin with `jolt_sk_`"),
        ("JOLTSMS_API_KEY", "jolt_sk_1 hunter2", "`api.key` holds white space"),
        ("JOLTSMS_API_KEY", "jolt_sk_\u{200b}hunter2", "`api.key` holds an invisible character (U+200B)"),
        ("JOLTSMS_RELAY_STATE__DIR", "\"/var/lib/x\"", "`state.dir` = \"\\\"/var/lib/x\\\"\" is in quotes"),
        ("JOLTSMS_API_URL", "http://u:hunter2@10.0.0.1?x=hunter2", "`api.url` goes to 10.0.0.1 in plain http"),
    ] {
        let machine = Machine::with_file(file).set(name, value);
        let refused = machine.refused();
        let place = if refused.starts_with("JOLTSMS_RELAY_API__KEY") { "JOLTSMS_RELAY_API__KEY" } else { name };
        assert!(refused.starts_with(&format!("{place}: {expected}")), "{name}={value}\n{refused}");
        assert!(refused.ends_with("\n1 error in the configuration"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn a_missing_key_says_how_to_give_one() {
    let refused = Machine::new().unset("JOLTSMS_API_KEY").refused();
    assert_eq!(
        refused,
        "there is no API key: JOLTSMS_API_KEY is not set\n \
         = make one in the JoltSMS dashboard, and set JOLTSMS_API_KEY or JOLTSMS_API_KEY_FILE; no configuration file was \
         found, and --config names one\n\n\
         1 error in the configuration"
    );
    let with_file = Machine::with_file("").unset("JOLTSMS_API_KEY").refused();
    assert!(with_file.contains("or JOLTSMS_API_KEY_FILE\n\n1 error"), "{with_file}");
}

#[test]
fn a_version_in_the_address_is_told_with_the_right_address() {
    let refused = Machine::new().set("JOLTSMS_API_URL", "https://proxy.example/sms/v1/").refused();
    assert!(refused.contains("\n = write \"https://proxy.example/sms\"\n"), "{refused}");
    let refused = Machine::new().set("JOLTSMS_API_URL", "https://u:hunter2@proxy.example/v1").refused();
    assert!(refused.contains("\n = leave it out\n"), "{refused}");
}

#[test]
fn odd_keys_are_used_with_a_warning() {
    for (value, warnings) in [
        (KEY.to_owned(), vec![]),
        (format!("{KEY},"), vec![]),
        (format!("{KEY}, jolt_sk_{}", "F".repeat(32)), vec![]),
        (format!(" {KEY}\n"), vec!["JOLTSMS_API_KEY: `api.key` has white space around it, which is left out"]),
        (format!("\"{KEY}\""), vec!["JOLTSMS_API_KEY: `api.key` has quotes around it, which is left out"]),
        (format!("Bearer {KEY}"), vec!["JOLTSMS_API_KEY: `api.key` has `Bearer` before it, which is left out"]),
        (format!("\u{feff}{KEY}\r\n\r\n"), vec![]),
        (format!("\"{KEY},{KEY}\""), vec!["JOLTSMS_API_KEY: `api.key`: the same key is there twice"]),
        ("jolt_sk_short".to_owned(), vec!["JOLTSMS_API_KEY: `api.key` is not jolt_sk_ and 32 hexadecimal characters"]),
        (format!("jolt_sk_{}", "g".repeat(32)), vec!["JOLTSMS_API_KEY: `api.key` is not jolt_sk_ and 32"]),
        (format!("{KEY},{KEY}"), vec!["JOLTSMS_API_KEY: `api.key`: the same key is there twice"]),
    ] {
        let config = Machine::new().set("JOLTSMS_API_KEY", &value).load();
        assert!(config.api.keys.iter().all(|key| value.contains(key.expose()) && key.expose().trim() == key.expose()));
        let said: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), warnings.len(), "{said:?}");
        assert!(said.iter().zip(&warnings).all(|(said, expected)| said.starts_with(expected)), "{said:?}");
    }
}

#[test]
fn a_password_in_the_file_is_used_with_a_warning() {
    let config = Machine::with_file("[sinks.a]\ntype = \"http\"\nurl = \"https://u:hunter2@a.example\"").load();
    let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    let said = warning.to_string();
    assert!(said.contains("config.toml:3: `sinks.a.url` holds a password") && !said.contains("hunter2"), "{said}");
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let padding = "# ".to_owned() + &"x".repeat(300);
    let file = format!("sinks = {{ b = {{ type = \"stdout\", odd_key_name = 1 }} }} {padding}");
    let long_key = "k".repeat(500);
    for (file, caret) in [(file, "odd_key_name"), (format!("poll = {{ {long_key} = 1, intervall = 2 }}"), "intervall")]
    {
        let refused = Machine::with_file(&file).refused();
        let block = refused
            .split("\n\n")
            .find(|block| block.lines().next().is_some_and(|first| first.contains(&format!("{caret}`"))))
            .unwrap();
        let lines: Vec<_> = block.lines().collect();
        assert!(lines[2].chars().count() <= 130, "{block}");
        let at = lines[3].chars().position(|next| next == '^').unwrap();
        let under: String = lines[2].chars().skip(at).take(lines[3].matches('^').count()).collect();
        assert_eq!(under, caret, "{block}");
    }
}

#[test]
fn what_a_broken_line_makes_doubtful_is_not_told() {
    for (file, expected) in [
        ("[poll]\ninterval = soon\n", &["config.toml:2"][..]),
        ("[poll]\ninterval = \"soon\n", &["config.toml:2"]),
        ("[poll\nfrequency = 5\n[log]\nlevel = 5\n", &["config.toml:1", "config.toml:4"]),
        ("[sinks.crm]\ntype = http\nurl = x\n", &["config.toml:2", "config.toml:3"]),
        // The missing `url` is not reported, because it may stand on the broken line.
        ("[sinks.crm]\ntype = \"http\"\nurl \"https://a.example\"\n", &["config.toml:3"]),
    ] {
        let refused = Machine::with_file(file).refused();
        let places: Vec<_> = refused.split("\n\n").filter_map(|block| Some(block.split_once(": ")?.0)).collect();
        assert_eq!(places, expected, "{refused}");
    }
}

#[test]
fn carets_stand_under_what_is_wrong() {
    for (file, line, caret) in [
        ("[log]\r\nlevel = \"loud\"\r\n", "level = \"loud\"", "\"loud\""),
        ("\t[log]\n\tlevel\t=\t'loud' # words", " level = 'loud'", "'loud'"),
        (
            "\u{feff}log = { format = \"ä\", level = \"löud\" }",
            "log = { format = \"…\", level = \"löud\" }",
            "\"löud\"",
        ),
        ("log = { level = \"#\" } # words", "log = { level = \"#\" }", "\"#\""),
        ("log.level.env = \"UNSET\"", "log.level.env = \"…\"", "level"),
        ("[log]\nlevel = [\n  \"a\",\n]", "level = [", "["),
        ("[sinks]\n[sinks.a]", "[sinks.a]", "a"),
    ] {
        let refused = Machine::with_file(file).refused();
        let blocks: Vec<_> = refused.split("\n\n").collect();
        let block = blocks.iter().find(|block| block.contains(line)).unwrap_or(&blocks[0]);
        let lines: Vec<_> = block.lines().collect();
        assert_eq!(lines[2].split_once(" | ").unwrap().1, line, "{refused}");
        let at = lines[3].chars().position(|next| next == '^').unwrap();
        let under: String = lines[2].chars().skip(at).take(lines[3].matches('^').count()).collect();
        assert_eq!(under, caret, "{refused}");
    }
}

#[test]
fn a_garbage_file_does_not_flood_the_terminal() {
    let refused = Machine::with_file(&"x\n".repeat(5000)).refused();
    assert!(refused.ends_with("... and 4900 more\n5000 errors in the configuration"), "{}", refused.len());
}

proptest! {
    #[test]
    fn any_text_and_any_environment_is_loaded_or_refused(
        text in "(\\PC|[\\[\\]{}=\"'#.\n\r\t\\\\]|sinks|api|key|env|[0-9]){0,80}",
        name in "(API|POLL|STATE|LOG|SINKS|_|__|CRM|URL|KEY|RETRY|MAX|FILE|\\PC){0,8}",
        value in "\\PC{0,12}",
    ) {
        let machine = Machine::with_file(&text);
        if !name.contains('\0') {
            let mut machine = machine.set(&format!("JOLTSMS_RELAY_{name}"), &value).set("JOLTSMS_API_URL", &value);
            machine.flags.start = Some(value.clone());
            machine.flags.forward_to = Some(value.as_str().into());
            match machine.try_load() {
                Ok(config) => prop_assert!(!config.sinks.is_empty() && !config.api.keys.is_empty()),
                Err(errors) => prop_assert!(!errors.problems().is_empty() && !errors.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn variables_of_others_are_passed_over_with_a_warning() {
    for name in ["JOLTSMS_RELAY_VERSION", "JOLTSMS_RELAY_NONSENSE", "JOLTSMS_RELAY_", "JOLTSMS_RELAY_IMAGE__TAG"] {
        let config = Machine::new().set(name, "hunter2").load();
        let [warning] = config.warnings.as_slice() else { panic!("{name}: {:?}", config.warnings) };
        let said = warning.to_string();
        assert!(said.starts_with(&format!("{name}: no key of the configuration, so it is passed over")), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn variables_in_small_letters_are_not_read_and_have_a_warning() {
    for (name, capitals) in [
        ("joltsms_relay_poll__interval", "JOLTSMS_RELAY_POLL__INTERVAL"),
        ("Joltsms_Relay_Poll__Interval", "JOLTSMS_RELAY_POLL__INTERVAL"),
        ("joltsms_relay__poll__interval", "JOLTSMS_RELAY__POLL__INTERVAL"),
        ("joltsms_api_url", "JOLTSMS_API_URL"),
        ("joltsms_relay_config", "JOLTSMS_RELAY_CONFIG"),
    ] {
        let config = Machine::new().set(name, "hunter2").load();
        let [warning] = config.warnings.as_slice() else { panic!("{name}: {:?}", config.warnings) };
        let expected = format!("{name}: is not read, since it is not in capitals; did you mean {capitals}?");
        assert_eq!(warning.to_string(), expected);
    }
}

#[test]
fn words_and_values_of_variables_may_stand_in_quotes_and_capitals() {
    let file = "[sinks.crm]\ntype = \"HTTP\"\nurl = \"https://a.example\"\nmethod = \"put\"\n[log]\nlevel = \"WARN\"\n";
    for (name, written, bare) in [
        ("JOLTSMS_API_URL", "\"https://b.example\"", "https://b.example"),
        ("JOLTSMS_RELAY_SINKS__CRM__URL", "'https://b.example/x'", "https://b.example/x"),
        ("JOLTSMS_RELAY_SINKS__CRM__TYPE", "\"Http\"", "http"),
        ("JOLTSMS_RELAY_LOG__LEVEL", "\"DEBUG\"", "debug"),
        ("JOLTSMS_RELAY_LOG__FORMAT", " JSON\r\n", "json"),
        ("JOLTSMS_RELAY_POLL__INTERVAL", "\"9s\"", "9s"),
        ("JOLTSMS_RELAY_POLL__START", "Beginning", "beginning"),
        ("JOLTSMS_RELAY_STATE__KEEP_DEAD", "\"Forever\"", "forever"),
        ("JOLTSMS_RELAY_STATE__MAX_SIZE", "'99MiB'", "99MiB"),
        ("JOLTSMS_RELAY_SINKS__CRM__ALLOW_HTTP", "True", "true"),
        ("JOLTSMS_RELAY_SINKS__CRM__ENABLED", "\"FALSE\"", "false"),
        ("JOLTSMS_RELAY_SINKS__CRM__CONCURRENCY", "\"3\"", "3"),
        ("JOLTSMS_RELAY_SINKS__CRM__ORDER", "Number", "number"),
        ("JOLTSMS_RELAY_SINKS__CRM__PROXY", "\"OFF\"", "off"),
        ("JOLTSMS_RELAY_SINKS__CRM__RETRY__GIVE_UP_AFTER", "NEVER", "never"),
    ] {
        let both = [written, bare].map(|value| {
            let mut config = Machine::with_file(file).set(name, value).load();
            (config.file, config.state.dir) = (None, std::path::PathBuf::new());
            format!("{config:?}")
        });
        assert_eq!(both[0], both[1], "{name}");
    }
}

#[test]
fn an_empty_variable_that_is_refused_says_so() {
    for name in [
        "JOLTSMS_API_KEY",
        "JOLTSMS_RELAY_LOG__LEVEL",
        "JOLTSMS_RELAY_POLL__INTERVAL",
        "JOLTSMS_API_URL",
        "JOLTSMS_RELAY_API__TIMEOUT",
    ] {
        let refused = Machine::new().set(name, "").refused();
        assert!(
            refused
                .contains("the variable is set but empty: unset it; if its value comes from another variable (`${…}`)"),
            "{refused}"
        );
        assert!(
            refused.starts_with(&format!("{name}: ")) && refused.ends_with("\n1 error in the configuration"),
            "{refused}"
        );
    }
}

/// A hint must be right: if the user follows it, the configuration is valid.
#[test]
fn the_hint_for_plain_http_works_where_it_is_followed() {
    let mut by_flag = Machine::new();
    by_flag.flags.forward_to = Some("http://crm.example/x".into());
    let by_variable = Machine::new()
        .set("JOLTSMS_RELAY_SINKS__CRM__TYPE", "http")
        .set("JOLTSMS_RELAY_SINKS__CRM__URL", "http://crm.example/x");
    let api = Machine::new().set("JOLTSMS_API_URL", "http://api.example");
    let named = Machine::with_file("[sinks.my-crm]\ntype = \"http\"\nurl = \"https://a.example\"\n")
        .set("JOLTSMS_RELAY_SINKS__MY_CRM__URL", "http://crm.example/x");
    for machine in [by_flag, by_variable, api, named] {
        let refused = machine.refused();
        assert!(refused.ends_with("\n1 error in the configuration"), "{refused}");
        let (_, hint) = refused.split_once("or set ").unwrap();
        let (name, rest) = hint.split_once('=').unwrap();
        let value = rest.split(' ').next().unwrap();
        let config = machine.set(name, value).load();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
    let file = Machine::with_file("[sinks.crm]\ntype = \"http\"\nurl = \"http://crm.example/x\"\n").refused();
    assert!(file.contains("= use https, or set `sinks.crm.allow_http` = true if"), "{file}");
    let reference = "[sinks.crm]\ntype = \"http\"\nurl = { env = \"CRM_URL\" }\n";
    let refused = Machine::with_file(reference).set("CRM_URL", "http://crm.example/x").refused();
    let help = "= use https in the environment variable `CRM_URL`, or set `sinks.crm.allow_http` = true if";
    assert!(refused.contains(help), "{refused}");
}

#[test]
fn variables_may_add_keys_to_the_sink_of_forward_to_but_not_its_url() {
    let mut machine = Machine::new().set("JOLTSMS_RELAY_SINKS__FORWARD__TIMEOUT", "9s");
    machine.flags.forward_to = Some("https://crm.example/x".into());
    assert_eq!(machine.load().sinks.len(), 1);
    let machine = machine.set("JOLTSMS_RELAY_SINKS__FORWARD__URL", "https://other.example");
    assert!(machine.refused().contains("--forward-to: cannot be combined with configured sinks (`forward`)"));
}
