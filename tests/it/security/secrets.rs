//! Tests with marked secrets in every place where a configuration can contain a secret. Whatever happens, the secrets
//! are in no output, in no log, in no file but their own, and not on the command line.

use joltsms_relay::delivery::log_sentences::SINK_FAILS;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use joltsms_simulator::{Effect, NewMessage, Rule};

use crate::support::cases::side_by_side;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::raw::RawServer;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_until;

/// The secrets, each named after its place. A new key of the configuration that may contain a secret gets a line here
/// and a line in [`configuration`], [`in_files`] or [`in_variables`].
mod planted {
    pub(super) const KEY_FROM_VARIABLE: &str = "5ec7e70000000000000000000000ab01";
    pub(super) const KEY_FROM_CREDENTIAL: &str = "5ec7e70000000000000000000000ab03";
    pub(super) const URL_USER: &str = "5ec7e7-url-user";
    pub(super) const URL_PASSWORD: &str = "5ec7e7-url-password";
    pub(super) const URL_PATH: &str = "5ec7e7-url-path";
    pub(super) const URL_QUERY: &str = "5ec7e7-url-query";
    pub(super) const URL_FROM_FILE: &str = "5ec7e7-url-from-file";
    pub(super) const URL_WRITTEN_OUT: &str = "5ec7e7-url-written-out";
    pub(super) const PROXY_USER: &str = "5ec7e7-proxy-user";
    pub(super) const PROXY_PASSWORD: &str = "5ec7e7-proxy-password";
    pub(super) const SINK_PROXY_USER: &str = "5ec7e7-sink-proxy-user";
    pub(super) const SINK_PROXY_PASSWORD: &str = "5ec7e7-sink-proxy-password";
    pub(super) const API_PROXY_USER: &str = "5ec7e7-api-proxy-user";
    pub(super) const API_PROXY_PASSWORD: &str = "5ec7e7-api-proxy-password";
    pub(super) const BASIC_USER: &str = "5ec7e7-basic-user";
    pub(super) const BASIC_PASSWORD: &str = "5ec7e7-basic-password";
    pub(super) const BEARER: &str = "5ec7e7-bearer";
    pub(super) const HEADER_AUTHORIZATION: &str = "5ec7e7-header-authorization";
    pub(super) const HEADER_COOKIE: &str = "5ec7e7-header-cookie";
    pub(super) const HEADER_OF_ITS_OWN: &str = "5ec7e7-header-of-its-own";
    pub(super) const SIGNING_KEY: &str = "5ec7e7SigningKey0000000000000000";
    pub(super) const OLD_SIGNING_KEY: &str = "5ec7e7OldSigningKey0000000000000";
    pub(super) const HMAC_SECRET: &str = "5ec7e7-hmac-secret";
    pub(super) const UNRELATED_VARIABLE: &str = "5ec7e7-unrelated";
    pub(super) const COMMENT: &str = "5ec7e7-comment";
    pub(super) const OTHER_SIDE: &str = "5ec7e7-said-by-the-other-side";
}
use planted::*;

/// The text that every planted secret contains.
const MARK: &str = "5ec7e7";

/// Returns the content of the configuration file, with its secrets in place.
fn configuration(address: &str) -> String {
    format!(
        "# {COMMENT}\n\
         [api]\n\
         key = [{{ env = \"JOLTSMS_API_KEY\" }}, {{ file = \"key\" }}, {{ credential = \"key\" }}]\n\
         proxy = {{ env = \"API_PROXY\" }}\n\
         [sinks.out]\ntype = \"stdout\"\n\
         [sinks.crm]\ntype = \"http\"\nurl = {{ env = \"CRM_URL\" }} # {COMMENT}\n\
         [sinks.file]\ntype = \"http\"\nurl = {{ file = \"url\" }}\n\
         [sinks.written]\ntype = \"http\"\nurl = \"http://{URL_WRITTEN_OUT}:{URL_WRITTEN_OUT}@{address}/{URL_WRITTEN_OUT}?{URL_WRITTEN_OUT}\"\n\
         [sinks.proxied]\ntype = \"http\"\nurl = \"http://{address}/proxied\"\nproxy = {{ env = \"SINK_PROXY\" }}\n\
         auth = {{ basic = {{ user = {{ env = \"BASIC_USER\" }}, password = {{ file = \"basic\" }} }} }}\n\
         [sinks.bearer]\ntype = \"http\"\nurl = \"http://{address}/bearer\"\nauth = {{ bearer = {{ env = \"BEARER\" }} }}\n\
         headers = {{ Cookie = {{ file = \"cookie\" }}, X-Api-Key = {{ env = \"HEADER\" }} }}\n\
         signing = {{ scheme = \"standard-webhooks\", secrets = [{{ env = \"SIGNING\" }}, {{ file = \"old-signing\" }}] }}\n\
         [sinks.headed]\ntype = \"http\"\nurl = \"http://{address}/headed\"\n\
         headers = {{ Authorization = {{ env = \"AUTHORIZATION\" }} }}\n\
         signing = {{ scheme = \"hmac-sha256\", secrets = {{ env = \"HMAC\" }} }}\n\
         [sinks.mtls]\ntype = \"http\"\nurl = \"https://127.0.0.1:9/mtls\"\n\
         tls = {{ ca_file = \"tls.pem\", cert_file = \"tls.pem\", key_file = \"tls.key\" }}\n"
    )
}

/// Returns the files beside the configuration, with their secrets. The key that the API accepts is one of these
/// secrets. Only these files and the configuration may contain a secret.
fn in_files(address: &str, key: &str) -> [(&'static str, String); 6] {
    [
        ("key", format!("{key}\n")),
        ("credentials/key", format!("jolt_sk_{KEY_FROM_CREDENTIAL}\n")),
        ("url", format!("http://{URL_FROM_FILE}@{address}/{URL_FROM_FILE}?{URL_FROM_FILE}={URL_FROM_FILE}\n")),
        ("basic", format!("{BASIC_PASSWORD}\n")),
        ("cookie", format!("session={HEADER_COOKIE}\n")),
        ("old-signing", format!("whsec_{OLD_SIGNING_KEY}\n")),
    ]
}

/// The files of a certificate and its key. Each line of the key is a secret.
const TLS: [&str; 2] = ["tls.pem", "tls.key"];

/// Returns the variables with secrets. The proxy that the environment names is used for TLS only, and for no address of
/// this machine. The proxies that the settings name are the receivers themselves, which accept requests to a proxy as
/// well.
fn in_variables(address: &str, api: &str, dir: &Path) -> [(&'static str, String); 14] {
    let crm = format!("http://{URL_USER}:{URL_PASSWORD}@{address}/hooks/{URL_PATH}?token={URL_QUERY}&{URL_QUERY}");
    [
        ("JOLTSMS_API_KEY", format!("jolt_sk_{KEY_FROM_VARIABLE}")),
        ("CRM_URL", crm),
        ("HTTPS_PROXY", format!("http://{PROXY_USER}:{PROXY_PASSWORD}@127.0.0.1:9")),
        ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        ("CREDENTIALS_DIRECTORY", dir.join("credentials").display().to_string()),
        ("AWS_SECRET_ACCESS_KEY", UNRELATED_VARIABLE.to_owned()),
        ("SINK_PROXY", format!("http://{SINK_PROXY_USER}:{SINK_PROXY_PASSWORD}@{address}")),
        ("API_PROXY", format!("http://{API_PROXY_USER}:{API_PROXY_PASSWORD}@{api}")),
        ("BASIC_USER", BASIC_USER.to_owned()),
        ("BEARER", BEARER.to_owned()),
        ("HEADER", HEADER_OF_ITS_OWN.to_owned()),
        ("AUTHORIZATION", format!("Token {HEADER_AUTHORIZATION}")),
        ("SIGNING", format!("whsec_{SIGNING_KEY}")),
        ("HMAC", HMAC_SECRET.to_owned()),
    ]
}

/// The names of the sinks whose receivers the test chooses.
const WORKING: [&str; 6] = ["CRM", "FILE", "WRITTEN", "PROXIED", "BEARER", "HEADED"];

/// Plants every secret in a scene. Returns a relay that reads the secrets. `address` is the address of the receivers.
fn plant(scene: &Scene, address: &str) -> Setup {
    let dir = scene.dir();
    fs::create_dir(dir.join("credentials")).unwrap();
    for (name, text) in in_files(address, &scene.simulator().key()) {
        fs::write(dir.join(name), text).unwrap();
    }
    if !dir.join(TLS[1]).exists() {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.join(TLS[0]), cert.pem()).unwrap();
        fs::write(dir.join(TLS[1]), signing_key.serialize_pem()).unwrap();
    }
    let file = scene.file(&configuration(address));
    let setup = Setup::bare(dir)
        .env("JOLTSMS_RELAY_CONFIG", &file)
        .env("JOLTSMS_API_URL", &scene.simulator().url())
        .set("POLL__START", "beginning")
        .set("POLL__INTERVAL", "150ms")
        .set("API__REQUESTS_PER_MINUTE", "10000")
        .set("LOG__LEVEL", "trace");
    let setup = WORKING.iter().fold(setup, |setup, sink| {
        setup.set(&format!("SINKS__{sink}__RETRY__INITIAL"), "100ms").set(&format!("SINKS__{sink}__TIMEOUT"), "1s")
    });
    let api = scene.simulator().url().replace("http://", "");
    in_variables(address, &api, dir).iter().fold(setup, |setup, (name, value)| setup.env(name, value))
}

/// Whether a file may contain a secret, because it is the configuration or a file that the configuration names.
fn is_own(path: &Path, dir: &Path) -> bool {
    let name = path.strip_prefix(dir).unwrap().to_str().unwrap();
    name == "config.toml" || TLS.contains(&name) || in_files("", "").iter().any(|(own, _)| *own == name)
}

/// Returns every file below `dir`, with its content.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && !is_own(&entry.path(), dir) {
                found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    found
}

/// Checks that a text contains no secret, no key, and no form that secrets take on the wire.
fn holds_no_secret(scene: &Scene, name: &str, bytes: &[u8]) {
    let key = scene.simulator().key();
    let encoded = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let basic = [
        encoded(format!("{URL_USER}:{URL_PASSWORD}")),
        encoded(format!("{PROXY_USER}:{PROXY_PASSWORD}")),
        encoded(format!("{URL_FROM_FILE}:")),
        encoded(format!("{URL_WRITTEN_OUT}:{URL_WRITTEN_OUT}")),
        encoded(format!("{SINK_PROXY_USER}:{SINK_PROXY_PASSWORD}")),
        encoded(format!("{API_PROXY_USER}:{API_PROXY_PASSWORD}")),
        encoded(format!("{BASIC_USER}:{BASIC_PASSWORD}")),
    ];
    // These are the lines of the key between the first and the last.
    let tls_key = fs::read_to_string(scene.dir().join(TLS[1])).unwrap_or_default();
    let tls_key = tls_key.lines().filter(|line| !line.is_empty() && !line.starts_with("-----"));
    let texts = basic.iter().map(String::as_str).chain(tls_key);
    for mark in texts.chain([MARK, key.trim_start_matches("jolt_sk_")]) {
        let found = bytes.windows(mark.len()).position(|part| part.eq_ignore_ascii_case(mark.as_bytes()));
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 100)];
            panic!("{name} holds a secret: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Looks for secrets in the log, the command line and all files of a running relay.
fn holds_none_while_it_runs(scene: &Scene, relay: &Relay) {
    holds_no_secret(scene, "the log", relay.log().as_bytes());
    let files = files(scene.dir());
    assert!(files.iter().any(|(name, bytes)| name.ends_with("state.db-wal") && !bytes.is_empty()), "no journal");
    for (name, bytes) in files {
        holds_no_secret(scene, &name, &bytes);
    }
    if let Ok(command_line) = fs::read(format!("/proc/{}/cmdline", relay.id())) {
        holds_no_secret(scene, "the command line", &command_line);
    }
}

/// Returns a `Location` for the answer of a receiver. The answer may contain what the relay sent, and anything else.
fn location(address: &str) -> String {
    format!("http://{URL_USER}:{URL_PASSWORD}@{address}/hooks/{URL_PATH}?{OTHER_SIDE}#{OTHER_SIDE}")
}

#[test]
fn a_relay_that_works_and_one_that_fails_show_no_secret() {
    let cases = [("text", ("text", false)), ("json", ("json", false)), ("into files", ("text", true))];
    side_by_side(&cases, |(format, into_files)| {
        let scene = &Scene::with(|switches| switches.key_cache = Duration::ZERO);
        scene.add_past(25);
        let receiver = Receiver::in_background();
        let address = receiver.address().to_string();
        let (redirect, refusal) = (location(&address), format!("Basic realm=\"{OTHER_SIDE}\""));
        receiver.reply(move |place| match place {
            0..3 => Reply::status(302).header("location", &redirect),
            3..6 => Reply::status(401).header("www-authenticate", &refusal),
            6..9 => Reply { body: OTHER_SIDE.into(), ..Reply::status(500).header("x-request-id", OTHER_SIDE) },
            _ => Reply::status(200),
        });
        let header = Effect::Header { name: "location".to_owned(), value: Some(location(&address)) };
        scene.handle().add_faults([
            Rule::once(Effect::status(500)).cursor(false).from_nth(2),
            Rule::once(Effect::html(302)).cursor(true).and(header),
            Rule::once(Effect::reset()).cursor(false).from_nth(3),
        ]);
        let log = scene.dir().join("log").display().to_string();
        let socket = UnixDatagram::bind(scene.dir().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        let setup = plant(scene, &address).set("LOG__FORMAT", format);
        let setup = setup.env("NOTIFY_SOCKET", scene.dir().join("notify").to_str().unwrap());
        let mut setup = if *into_files { setup.set("LOG__DIR", &log) } else { setup };
        let mut relay = setup.start();
        let delivered = || {
            let read = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
            scene.dir().join("state/state.db").exists() && read() == 7 * 25
        };
        wait_until("all messages", delivered, || relay.log());
        holds_none_while_it_runs(scene, &relay);
        assert!(scene.handle().revoke_key(&scene.simulator().key()));
        let refused = || {
            let lines: Vec<u8> = files(scene.dir()).into_iter().flat_map(|(_, bytes)| bytes).collect();
            relay.log().contains("accepts no key") || String::from_utf8_lossy(&lines).contains("accepts no key")
        };
        wait_until("the keys to be refused", refused, || relay.log());
        holds_none_while_it_runs(scene, &relay);
        relay.signal("TERM");
        assert!(relay.wait().success());
        holds_no_secret(scene, "the log", relay.log().as_bytes());
        holds_no_secret(scene, "stdout", relay.rest().join("\n").as_bytes());
        let mut told = Vec::new();
        let mut datagram = [0; 4096];
        while let Ok(length) = socket.recv(&mut datagram) {
            told.extend_from_slice(&datagram[..length]);
        }
        assert!(String::from_utf8_lossy(&told).contains("STATUS="));
        holds_no_secret(scene, "what systemd is told", &told);
        for (name, bytes) in files(scene.dir()) {
            holds_no_secret(scene, &name, &bytes);
        }
        say_no_secret(scene, &WITH_STATE);
        let id = &scene.ids()[0];
        say_no_secret(scene, &[&["trace", id], &["trace", id, "--json"]]);
        let sent = receiver.received();
        let authorized = sent.iter().filter(|request| request.headers.contains_key("authorization")).count();
        assert_eq!(authorized, sent.len(), "they are used where they belong");
        let ours = ["proxy-authorization", "cookie", "x-api-key", "webhook-signature", "x-signature"];
        for name in ours {
            assert!(sent.iter().filter(|request| request.headers.contains_key(name)).count() >= 25, "{name}");
        }
    });
}

#[test]
fn an_address_that_nobody_answers_is_not_told() {
    let garbage = RawServer::in_background(|mut conversation| async move {
        conversation.say(b"HTTP/1.1 400 No\r\n\r\n").await;
        conversation.hang().await;
    });
    let garbage = garbage.address().to_string();
    let secret = |rest: &str| format!("{URL_USER}:{URL_PASSWORD}@{rest}/hooks/{URL_PATH}?token={URL_QUERY}");
    let cases = [
        ("refused", format!("http://{}", secret("127.0.0.1:9"))),
        ("not tls", format!("https://{}", secret(&garbage))),
        ("no such host", format!("http://{}", secret("nowhere.invalid"))),
        ("a proxy that is not there", format!("https://{}", secret("crm.example.com"))),
    ];
    side_by_side(&cases, |url| {
        let scene = &Scene::new();
        scene.add_past(3);
        let setup = plant(scene, "127.0.0.1:9").set("SINKS__CRM__ALLOW_HTTP", "true");
        let mut relay = setup.env("CRM_URL", url).start();
        let said = format!("WARN {SINK_FAILS} sink.name=\"crm\"");
        relay.wait_for_log(&said);
        relay.wait_for_log("sink.name=\"file\" reason=\"connection refused\"");
        holds_none_while_it_runs(scene, &relay);
        relay.kill();
        for (name, bytes) in files(scene.dir()) {
            holds_no_secret(scene, &name, &bytes);
        }
    });
}

/// Commands that need no state.
const WITHOUT_STATE: [&[&str]; 6] =
    [&["check"], &["check", "--log-level", "trace"], &["schema"], &["init", "-"], &["--help"], &["--version"]];

/// Commands that look at the state.
const WITH_STATE: [&[&str]; 9] = [
    &["sinks", "list"],
    &["sinks", "list", "--json"],
    &["dead-letters", "list"],
    &["dead-letters", "list", "--json"],
    &["status"],
    &["status", "--json"],
    &["state", "export"],
    &["replay", "--since", "24h", "--dry-run"],
    &["replay", "--failed"],
];

/// Runs commands with every secret planted, and checks their output.
fn say_no_secret(scene: &Scene, commands: &[&[&str]]) {
    for arguments in commands {
        fs::remove_dir_all(scene.dir().join("credentials")).ok();
        let (code, stdout, stderr) = plant(scene, "127.0.0.1:9").args(arguments).output();
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        holds_no_secret(scene, &format!("stdout of {arguments:?}"), stdout.as_bytes());
        holds_no_secret(scene, &format!("stderr of {arguments:?}"), stderr.as_bytes());
    }
}

#[test]
fn no_command_shows_a_secret() {
    say_no_secret(&Scene::new(), &WITHOUT_STATE);
}

#[test]
fn no_complaint_shows_a_secret() {
    // A mistake in the configuration: a change of the file, or a variable.
    type Case = (&'static str, fn(&str) -> String, Option<(&'static str, &'static str)>);
    let cases: [Case; 17] = [
        ("not toml", |file| file.replace("[sinks.file]", "[sinks.file"), None),
        ("an open quote", |file| file.replace("type = \"stdout\"", "type = \"stdout"), None),
        ("an open text", |file| format!("x = \"\"\"\n{file}"), None),
        ("an unknown key", |file| file.replace("[sinks.out]", "[sinks.out]\ntokken = 1"), None),
        ("another type", |file| file.replace("type = \"stdout\"", "type = 5"), None),
        (
            "a key written out",
            |file| file.replace("{ env = \"JOLTSMS_API_KEY\" }", &format!("\"jolt_sk_{KEY_FROM_CREDENTIAL}\"")),
            None,
        ),
        (
            "a key in the place of a name",
            |file| file.replace("file = \"key\"", &format!("env = \"jolt_sk_{KEY_FROM_CREDENTIAL}\"")),
            None,
        ),
        ("a url without a host", str::to_owned, Some(("CRM_URL", "https://5ec7e7:5ec7e7@/5ec7e7"))),
        ("a url that is none", str::to_owned, Some(("CRM_URL", "5ec7e7"))),
        ("a key that is none", str::to_owned, Some(("JOLTSMS_API_KEY", "5ec7e7"))),
        ("a bearer written out", |file| file.replace("{ env = \"BEARER\" }", "\"5ec7e7\""), None),
        ("an authorization written out", |file| file.replace("{ env = \"AUTHORIZATION\" }", "\"5ec7e7\""), None),
        ("a signing secret written out", |file| file.replace("{ env = \"SIGNING\" }", "\"whsec_5ec7e7\""), None),
        ("a signing secret that is none", str::to_owned, Some(("SIGNING", "whsec_5ec7e7!"))),
        ("a header that is two", str::to_owned, Some(("HEADER", "5ec7e7\r\nX-Other: 5ec7e7"))),
        ("a proxy that is none", str::to_owned, Some(("SINK_PROXY", "http://5ec7e7:5ec7e7@127.0.0.1:9/5ec7e7"))),
        ("a TLS key that is none", |file| file.replace("key_file = \"tls.key\"", "key_file = \"old-signing\""), None),
    ];
    for (name, change, variable) in cases {
        let scene = &Scene::new();
        let mut setup = plant(scene, "127.0.0.1:9");
        scene.file(&change(&configuration("127.0.0.1:9")));
        if let Some((name, value)) = variable {
            setup = setup.env(name, value);
        }
        let (code, stdout, stderr) = setup.output();
        assert_eq!((code, stdout.as_str()), (78, ""), "{name}: {stderr}");
        assert!(!stderr.is_empty(), "{name}");
        holds_no_secret(scene, name, stderr.as_bytes());
    }
}

#[test]
fn a_state_that_cannot_be_used_shows_no_secret() {
    let scene = &Scene::new();
    let mut setup = plant(scene, "127.0.0.1:9");
    fs::create_dir(setup.state()).unwrap();
    fs::write(setup.state().join("state.db"), "no database").unwrap();
    let (code, _, stderr) = setup.output();
    assert_eq!(code, 65, "{stderr}");
    holds_no_secret(scene, "the log", stderr.as_bytes());
}

#[test]
fn what_a_message_says_is_on_no_line_of_the_log() {
    let scene = &Scene::new();
    scene.handle().add(NewMessage::new().body(MARK).from(MARK).code(MARK));
    let mut relay = scene.setup_from_beginning().set("LOG__LEVEL", "debug").start();
    assert!(relay.line().contains(MARK));
    assert!(relay.stop().success());
    holds_no_secret(scene, "the log", relay.log().as_bytes());
}
