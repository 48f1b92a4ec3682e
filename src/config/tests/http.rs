//! The keys of HTTP requests: headers, authentication, signatures, proxies, certificates.

use super::{Machine, http_options};
use crate::config::Config;
use crate::http::Proxy;
use crate::sinks::http::Options;
use crate::sinks::signing::{Encoding, Key, Signed, Signing};

const HTTP: &str = "[sinks.crm]\ntype = \"http\"\nurl = \"https://a.example\"\n";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn options(config: &Config) -> &Options {
    http_options(&config.sinks[0])
}

fn header<'c>(config: &'c Config, name: &str) -> Option<&'c str> {
    Some(options(config).headers.get(name)?.to_str().unwrap())
}

#[test]
fn headers_come_from_the_file_from_references_and_from_variables() {
    let text = format!(
        "{HTTP}headers = {{ X-Team = \"ops\", x-key = {{ env = \"K\" }}, Cookie = {{ file = \"c\" }}, env = \"e\" }}\n"
    );
    let machine = Machine::with_file(&text).set("K", "hunter2").set("JOLTSMS_RELAY_SINKS__CRM__HEADERS__X_TEAM", "dev");
    machine.write("home/.config/joltsms-relay/c", "a=hunter2\n");
    let url = machine.write("u", "from a file\n");
    let machine = machine.set("JOLTSMS_RELAY_SINKS__CRM__HEADERS__URL__FILE", url.to_str().unwrap());
    let config = machine.load();
    for (name, value) in
        [("x-team", "dev"), ("x-key", "hunter2"), ("cookie", "a=hunter2"), ("env", "e"), ("url", "from a file")]
    {
        assert_eq!(header(&config, name), Some(value));
        // Only a value that stands in the file itself may be shown, unless it looks like a secret.
        assert_eq!(options(&config).headers[name].is_sensitive(), name != "env", "{name}");
    }
    assert_eq!(options(&config).headers.len(), 5);
    assert!(!format!("{config:?}").contains("hunter2") && config.warnings.is_empty(), "{config:?}");
    let table = Machine::with_file(&format!("{HTTP}[sinks.crm.headers]\nX-Team = \"ops\"\nX-Token = \"t\"\n")).load();
    assert_eq!(header(&table, "x-team"), Some("ops"));
    assert_eq!(["x-team", "x-token"].map(|name| options(&table).headers[name].is_sensitive()), [false, true]);
    let [warning] = table.warnings.as_slice() else { panic!("{:?}", table.warnings) };
    assert!(warning.to_string().contains("`sinks.crm.headers.x-token` looks like a secret"), "{warning}");
}

#[test]
fn authentication_is_one_header() {
    for (toml, expected) in [
        ("auth = { bearer = { env = \"T\" } }", "Bearer hunter2"),
        ("auth = { basic = { user = { env = \"U\" }, password = { env = \"T\" } } }", "Basic YW5uOmh1bnRlcjI="),
        ("auth.basic.user.env = \"U\"", "Basic YW5uOg=="),
        ("[sinks.crm.auth.basic]\nuser = { env = \"U\" }\npassword = { env = \"T\" }", "Basic YW5uOmh1bnRlcjI="),
        ("headers = { authorization = { env = \"T\" } }", "hunter2"),
    ] {
        let config = Machine::with_file(&format!("{HTTP}{toml}\n")).set("T", "hunter2").set("U", "ann").load();
        assert_eq!(header(&config, "authorization"), Some(expected), "{toml}");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
    let by_variables = Machine::with_file(HTTP)
        .set("JOLTSMS_RELAY_SINKS__CRM__AUTH__BASIC__USER", "ann")
        .set("JOLTSMS_RELAY_SINKS__CRM__AUTH__BASIC__PASSWORD", "hunter2");
    assert_eq!(header(&by_variables.load(), "authorization"), Some("Basic YW5uOmh1bnRlcjI="));
}

#[test]
fn a_proxy_is_a_word_or_an_address() {
    let proxy = |toml: &str| {
        let machine = Machine::with_file(&format!("{HTTP}{toml}\n")).set("P", "http://u:hunter2@p.example:3128");
        let config = machine.load();
        assert!(!format!("{config:?}").contains("hunter2"));
        (options(&config).transport.proxy.clone(), config.warnings.len())
    };
    let shown = |toml: &str| {
        let (proxy, warnings) = proxy(toml);
        (proxy.to_string(), warnings)
    };
    for direct in ["", "proxy = \"env\"", "proxy = \"off\""] {
        assert_eq!(shown(direct), ("direct".to_owned(), 0), "{direct}");
    }
    let (Proxy { address: Some(url), variable: None }, 0) = proxy("proxy = { env = \"P\" }") else { panic!() };
    assert_eq!(url.as_str(), "http://u:hunter2@p.example:3128/");
    let in_the_file = shown("proxy = \"https://u:hunter2@p.example\"");
    assert_eq!(in_the_file, ("through https://…@p.example/".to_owned(), 1), "a password in the file");
    assert_eq!(shown("proxy = \"socks5h://p.example:1080\"").0, "through socks5h://p.example:1080/");
}

/// The API and the receiver each have a proxy of their own: an exception for one of them does not apply to the other.
#[test]
fn the_proxy_of_the_environment_is_chosen_when_the_configuration_is_read() {
    let ends = |machine: &Machine| {
        let config = machine.load();
        (config.api.transport.proxy.to_string(), options(&config).transport.proxy.to_string())
    };
    let machine = Machine::with_file(HTTP).set("HTTPS_PROXY", "http://u:hunter2@p.example:3128");
    let through = "through http://…@p.example:3128/ (HTTPS_PROXY)".to_owned();
    assert_eq!(ends(&machine), (through.clone(), through.clone()));
    let machine = machine.set("NO_PROXY", "joltsms.com");
    assert_eq!(ends(&machine), ("direct (NO_PROXY)".to_owned(), through));
    let machine = machine.set("NO_PROXY", "*");
    assert_eq!(ends(&machine), ("direct (NO_PROXY)".to_owned(), "direct (NO_PROXY)".to_owned()));
    let machine = Machine::with_file(&format!("[api]\nproxy = \"off\"\n{HTTP}")).set("all_proxy", "socks5h://p:1");
    assert_eq!(ends(&machine), ("direct".to_owned(), "through socks5h://p:1/ (all_proxy)".to_owned()));
}

#[test]
fn an_exception_from_the_proxy_that_never_matches_is_a_warning_once() {
    let machine = Machine::with_file(HTTP).set("HTTPS_PROXY", "http://p.example:3128");
    let machine = machine.set("NO_PROXY", "localhost,https://u:hunter2@crm.example/x,crm.example:99999");
    let said: Vec<_> = machine.load().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "NO_PROXY: `https://…@crm.example/x` never matches a host; write the host alone: crm.example",
            "NO_PROXY: `crm.example:99999` never matches a host; a port is a number from 1 to 65535; write crm.example for \
             all ports",
        ]
    );
}

#[test]
fn a_proxy_variable_that_cannot_be_used_is_named_once() {
    for (name, value, expected) in [
        ("HTTPS_PROXY", "\"http://u:hunter2@p:9\"", "HTTPS_PROXY: cannot be used to choose a proxy: it is in quotes"),
        ("https_proxy", "http://p:9\r", "https_proxy: cannot be used to choose a proxy: it holds white space"),
        ("ALL_PROXY", "socks://hunter2:9/", "ALL_PROXY: cannot be used to choose a proxy: it begins with socks://"),
        ("all_proxy", "::::", "all_proxy: cannot be used to choose a proxy: it is not the URL of a proxy"),
        ("all_proxy", "http://p/hunter2", "all_proxy: cannot be used to choose a proxy: it must be the bare address"),
    ] {
        let machine = Machine::with_file(HTTP).set(name, value);
        let refused = machine.refused();
        assert!(refused.starts_with(expected) && refused.ends_with("\n1 error in the configuration"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
        // The hint of the error proposes these variables.
        let off = machine.set("JOLTSMS_RELAY_API__PROXY", "off").set("JOLTSMS_RELAY_SINKS__CRM__PROXY", "off").load();
        assert_eq!(off.api.transport.proxy.to_string(), "direct");
    }
    let machine = Machine::with_file(HTTP).set("HTTPS_PROXY", "http://p").set("NO_PROXY", "'hunter2'");
    assert!(machine.refused().starts_with("NO_PROXY: cannot be used to choose a proxy: it is in quotes"));
}

#[test]
fn signatures_in_their_variants() {
    let signing = |toml: &str| {
        let machine = Machine::with_file(&format!("{HTTP}{toml}\n"));
        let machine = machine.set("A", SECRET).set("B", OTHER).set("BOTH", &format!("{SECRET}, {OTHER}"));
        let config = machine.set("RAW", "a,b").load();
        assert!(config.warnings.is_empty() && !format!("{config:?}").contains("whsec"), "{config:?}");
        options(&config).signing.clone()
    };
    assert_eq!(signing(""), None);
    let both = Signing::StandardWebhooks(vec![Key::standard(SECRET).unwrap(), Key::standard(OTHER).unwrap()]);
    for secrets in ["[{ env = \"A\" }, { env = \"B\" }]", "{ env = \"BOTH\" }", "[{ env = \"BOTH\" }]"] {
        let toml = format!("signing = {{ scheme = \"standard-webhooks\", secrets = {secrets} }}");
        assert_eq!(signing(&toml), Some(both.clone()), "{toml}");
    }
    let hmac = |header: &'static str, encoding, prefix: &str, signed| Signing::HmacSha256 {
        key: Key::raw("a,b"),
        header: reqwest::header::HeaderName::from_static(header),
        encoding,
        prefix: prefix.to_owned(),
        signed,
    };
    for (toml, expected) in [
        ("", hmac("x-signature", Encoding::Hex, "", Signed::Body)),
        (
            "header = \"X-Hub-Signature-256\"\nprefix = \"sha256=\"\nsigned = \"body\"",
            hmac("x-hub-signature-256", Encoding::Hex, "sha256=", Signed::Body),
        ),
        (
            "encoding = \"base64\"\nsigned = \"timestamp.body\"",
            hmac("x-signature", Encoding::Base64, "", Signed::TimestampAndBody),
        ),
    ] {
        let toml = format!("[sinks.crm.signing]\nscheme = \"hmac-sha256\"\nsecrets = [{{ env = \"RAW\" }}]\n{toml}");
        assert_eq!(signing(&toml), Some(expected), "{toml}");
    }
    let by_variables = Machine::with_file(HTTP)
        .set("JOLTSMS_RELAY_SINKS__CRM__SIGNING__SCHEME", "standard-webhooks")
        .set("JOLTSMS_RELAY_SINKS__CRM__SIGNING__SECRETS", &format!("{SECRET},{OTHER}"));
    assert_eq!(options(&by_variables.load()).signing, Some(both));
    let short = Machine::with_file(HTTP)
        .set("JOLTSMS_RELAY_SINKS__CRM__SIGNING__SCHEME", "standard-webhooks")
        .set("JOLTSMS_RELAY_SINKS__CRM__SIGNING__SECRETS", "whsec_YWJjZA==")
        .load();
    assert!(short.warnings[0].to_string().contains("a secret has 4 bytes; Standard Webhooks asks for 24 to 64"));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let standard = "signing = { scheme = \"standard-webhooks\", ";
    let hmac = "signing = { scheme = \"hmac-sha256\", secrets = { env = \"T\" }, ";
    for (toml, expected) in [
        // Headers.
        ("headers = { Webhook-Id = \"x\" }".to_owned(), "`sinks.crm.headers`: webhook-id cannot be set"),
        ("headers = { Content-Length = \"5\" }".to_owned(), "`sinks.crm.headers`: content-length cannot be set"),
        ("headers = { Content-Type = \"x\" }".to_owned(), "`sinks.crm.headers`: content-type cannot be set"),
        ("headers = { Host = \"x\" }".to_owned(), "`sinks.crm.headers`: host cannot be set"),
        ("headers = { \"a b\" = \"x\" }".to_owned(), "`sinks.crm.headers` holds a name that no header can have"),
        ("headers = { X = \"a\\nb\" }".to_owned(), "`sinks.crm.headers.x` holds a character that cannot be sent"),
        ("headers = { X = 5 }".to_owned(), "`sinks.crm.headers.x` must be a text in quotes, not a number"),
        ("headers = { X = { evn = \"T\" } }".to_owned(), "unknown key `evn` in the value of `sinks.crm.headers.X`"),
        ("headers = { X = \"a\", x = \"b\" }".to_owned(), "`sinks.crm.headers.x` is there twice"),
        ("headers = { Authorization = \"hunter2\" }".to_owned(), "`sinks.crm.headers.Authorization` is written out"),
        ("headers = { COOKIE = \"hunter2\" }".to_owned(), "`sinks.crm.headers.COOKIE` is written out"),
        ("headers = \"X: y\"".to_owned(), "`sinks.crm.headers` must be a table, not a text"),
        ("method = \"GET\"".to_owned(), "`sinks.crm.method` = \"GET\" is not \"POST\", \"PUT\" or \"PATCH\""),
        // Authentication.
        ("auth = { bearer = \"hunter2\" }".to_owned(), "`sinks.crm.auth.bearer` is written out"),
        ("auth = { basic = { user = \"ann\" } }".to_owned(), "`sinks.crm.auth.basic.user` is written out"),
        ("auth = { basic = { password = { env = \"T\" } } }".to_owned(), "`sinks.crm.auth.basic.user` is missing"),
        (
            "auth = { baerer = { env = \"T\" } }".to_owned(),
            "unknown key `sinks.crm.auth.baerer`; did you mean `bearer`?",
        ),
        ("auth = \"hunter2\"".to_owned(), "[sinks.crm.auth] must be a table, not a text"),
        (
            "auth = { bearer = { env = \"T\" }, basic = { user = { env = \"T\" } } }".to_owned(),
            "`sinks.crm.auth` has `bearer` and `basic`",
        ),
        (
            "auth = { bearer = { env = \"T\" } }\nheaders = { Authorization = { env = \"T\" } }".to_owned(),
            "`sinks.crm.headers` has an Authorization, too; a request has one",
        ),
        (
            "auth = { bearer = { env = \"UNSET\" } }".to_owned(),
            "`sinks.crm.auth.bearer`: the environment variable `UNSET`",
        ),
        // Proxies.
        ("proxy = \"on\"".to_owned(), "`sinks.crm.proxy` is not \"env\", \"off\" or a URL"),
        (
            "proxy = \"socks4://hunter2\"".to_owned(),
            "`sinks.crm.proxy` must begin with http://, https://, socks5:// or",
        ),
        ("proxy = \"http://p.example/hunter2\"".to_owned(), "`sinks.crm.proxy` must be the bare address of a proxy"),
        // Certificates.
        (
            "tls = { ca_file = \"no.pem\" }".to_owned(),
            "`sinks.crm.tls.ca_file`: /home/.config/joltsms-relay/no.pem cannot be",
        ),
        (
            "tls = { ca_file = \"text\" }".to_owned(),
            "`sinks.crm.tls.ca_file`: /home/.config/joltsms-relay/text holds no certificate",
        ),
        ("tls = { cert_file = \"text\" }".to_owned(), "`sinks.crm.tls` needs both cert_file and key_file"),
        ("tls = { key_file = \"text\" }".to_owned(), "`sinks.crm.tls` needs both cert_file and key_file"),
        (
            "tls = { cert_file = \"text\", key_file = \"text\" }".to_owned(),
            "`sinks.crm.tls.cert_file`: /home/.config/joltsms-relay/text holds no",
        ),
        // Signatures.
        (format!("{standard} secrets = [\"hunter2\"] }}"), "`sinks.crm.signing.secrets` is written out"),
        (format!("{standard} secrets = [] }}"), "`sinks.crm.signing.secrets` is an empty array"),
        (format!("{standard} secrets = {{ env = \"T\" }} }}"), "`sinks.crm.signing.secrets`: a secret is not base64"),
        (
            format!("{standard} secrets = [{{ env = \"COMMA\" }}, {{ env = \"A\" }}] }}"),
            "`sinks.crm.signing.secrets` is empty",
        ),
        (
            format!("{standard} secrets = [{{ env = \"A\" }}, {{ env = \"COMMA\" }}] }}"),
            "`sinks.crm.signing.secrets` is empty",
        ),
        (
            format!("{standard} secrets = {{ env = \"A\" }}, prefix = \"x\" }}"),
            "`sinks.crm.signing.prefix` belongs to scheme = ",
        ),
        ("signing = { scheme = \"standard-webhooks\" }".to_owned(), "`sinks.crm.signing.secrets` is missing"),
        ("signing = { secrets = { env = \"A\" } }".to_owned(), "`sinks.crm.signing.scheme` is missing"),
        (
            "signing = { scheme = \"hmac-sha256\", secrets = [{ env = \"A\" }, { env = \"T\" }] }".to_owned(),
            "`sinks.crm.signing.secrets` has 2 secrets",
        ),
        (format!("{hmac} header = \"content-type\" }}"), "`sinks.crm.signing.header`: content-type cannot be set"),
        (format!("{hmac} header = \"X Y\" }}"), "`sinks.crm.signing.header` holds a name that no header can have"),
        (
            format!("{hmac} header = \"x-a\" }}\nheaders = {{ X-A = \"b\" }}"),
            "`sinks.crm.signing.header`: x-a is set already",
        ),
        (
            format!("{hmac} encoding = \"base46\" }}"),
            "`sinks.crm.signing.encoding` = \"base46\" is not known; did you mean \"base64\"?",
        ),
        (
            format!("{hmac} signed = \"url\" }}"),
            "`sinks.crm.signing.signed` = \"url\" is not \"body\" or \"timestamp.body\"",
        ),
    ] {
        let machine = Machine::with_file(&format!("{HTTP}{toml}\n")).set("T", "hunter2!").set("A", SECRET);
        let machine = machine.set("COMMA", " , ");
        machine.write("home/.config/joltsms-relay/text", "hunter2");
        let refused =
            machine.try_load().expect_err(&toml).to_string().replace(&machine.root.path().display().to_string(), "");
        let (place, rest) = refused.split_once(": ").unwrap();
        assert!(place.starts_with("/home/.config/joltsms-relay/config.toml:"), "{refused}");
        assert!(rest.starts_with(expected), "{toml}\n{refused}");
        assert!(refused.ends_with("\n1 error in the configuration"), "{toml}\n{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn what_belongs_to_requests_is_refused_for_a_stream() {
    for toml in [
        "method = \"PUT\"",
        "headers = { X-Team = \"ops\" }",
        "auth = { bearer = { env = \"T\" } }",
        "proxy = \"off\"",
        "tls = { ca_file = \"x\" }",
        "signing = { scheme = \"standard-webhooks\" }",
    ] {
        let file = format!("[sinks.out]\ntype = \"stdout\"\n{toml}\n");
        let refused = Machine::with_file(&file).set("T", "t").refused();
        assert!(refused.contains("belongs to sinks of type \"http\""), "{refused}");
        assert!(refused.contains("; this one is of type \"stdout\""), "{refused}");
        assert!(refused.ends_with("\n1 error in the configuration"), "{refused}");
    }
    let url = format!("{}auth = {{ bearer = {{ env = \"T\" }} }}\n", HTTP.replace("https://", "https://u@"));
    let refused = Machine::with_file(&url).set("T", "t").refused();
    assert!(refused.contains("`sinks.crm.url` holds a user or password, too; a request has one"), "{refused}");
}

#[test]
fn a_chat_without_its_format_is_a_warning() {
    let warnings = |url: &str, more: &str| {
        let config = Machine::with_file(&format!("[sinks.crm]\ntype = \"http\"\nurl = \"{url}\"\n{more}")).load();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (url, format) in
        [("https://hooks.slack.com/services/x", "slack"), ("https://discord.com/api/webhooks/1/x", "discord")]
    {
        let [warning] = &warnings(url, "")[..] else { panic!("{:?}", warnings(url, "")) };
        assert!(warning.contains("`sinks.crm.format` is missing") && warning.contains(format), "{warning}");
        assert_eq!(warnings(url, &format!("format = \"{format}\"")), [""; 0]);
    }
    assert_eq!(warnings("https://discord.com/hook", ""), [""; 0]);
}
