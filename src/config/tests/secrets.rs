//! No output shows a secret, whatever is wrong with the configuration.

use proptest::prelude::*;

use super::{Machine, http_options};
use crate::config::{Config, Errors};

/// The secret that no output may show.
const SECRET: &str = "hunter2";

fn assert_hidden(result: &Result<Config, Errors>) {
    let said = match result {
        Ok(config) => {
            let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
            format!("{config:?} {config:#?} {warnings:?}")
        }
        Err(errors) => format!("{errors} {errors:?} {:?}", errors.problems()),
    };
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn a_valid_configuration_shows_no_secret() {
    let machine = Machine::with_file(
        "[api]\nkey = [{ env = \"K\" }, { file = \"k\" }]\n\
         [sinks.a]\ntype = \"http\"\nurl = \"https://u:hunter2@a.example/x?t=hunter2\"\n\
         [sinks.b]\ntype = \"http\"\nurl = { env = \"U\" }\n",
    );
    let machine = machine.set("K", "jolt_sk_hunter2").set("U", "https://hunter2@b.example").unset("JOLTSMS_API_KEY");
    machine.write("home/.config/joltsms-relay/k", "jolt_sk_hunter2-2\n");
    let result = machine.try_load();
    assert_hidden(&result);
    assert_eq!(result.unwrap().warnings.len(), 3, "two odd keys and a password in the file");
    let mut machine = machine;
    machine.flags.forward_to = Some("https://hunter2".into());
    assert!(!format!("{:?} {:?}", machine.sources(), machine.flags).contains(SECRET));
}

#[test]
fn a_wrong_value_from_a_reference_is_never_repeated() {
    for (section, key) in [
        ("api", "url"),
        ("api", "key"),
        ("api", "timeout"),
        ("poll", "interval"),
        ("poll", "start"),
        ("state", "keep_delivered"),
        ("log", "level"),
        ("sinks.a", "type"),
        ("sinks.a", "url"),
        ("sinks.a", "format"),
        ("sinks.a", "retry.give_up_after"),
    ] {
        let base = if section == "sinks.a" && key != "type" { "type = \"http\"\n" } else { "" };
        for value in [
            "hunter2",
            "https://hunter2 x",
            "http://hunter2.example/",
            "ftp://hunter2",
            "hunter2:x",
            "https://x/#hunter2",
        ] {
            for source in ["{ env = \"X\" }", "{ file = \"x\" }", "{ credential = \"x\" }"] {
                let machine = Machine::with_file(&format!("[{section}]\n{base}{key} = {source}\n")).set("X", value);
                let path = machine.write("home/.config/joltsms-relay/x", value);
                let machine = machine.set("CREDENTIALS_DIRECTORY", path.parent().unwrap().to_str().unwrap());
                let machine = if key == "key" { machine.unset("JOLTSMS_API_KEY") } else { machine };
                let result = machine.try_load();
                assert_hidden(&result);
                assert!(result.is_err(), "{key} = {value}");
            }
        }
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for file in [
        "[api]\nkey = \"jolt_sk_hunter2\"",
        "[api]\nkey = 'jolt_sk_hunter2'",
        "[api]\nkey = jolt_sk_hunter2",
        "[api]\nkey = { env = \"jolt_sk_hunter2\" }",
        "[api]\nkey = { file = \"jolt_sk_hunter2\" }",
        "[api]\nkey = { env = \"hunter2-$\" }",
        "[api]\nkye = \"hunter2\"",
        "[api]\nkey = \"\"\"\nhunter2\"\"\"",
        "[api]\nkey = \"\"\"\nhunter2 \\q\n\"\"\"",
        "[api]\nkey = \"\"\"\nhunter2 \\q = hunter2\n",
        "[api]\nkey = \"hunter2",
        "[api]\nkey \"hunter2\"",
        "[api]\nkey = [\"hunter2\", \"hunter2\"]",
        "[api]\nkey = [\n\"hunter2\",\nhunter2\n]",
        "[sinks.a]\nauth = { bearer = \"hunter2\" }",
        "[sinks.a]\nheaders = { Cookie = \"hunter2\" }; auth = \"hunter2\"",
        "[sinks.a]\ntype = \"stdout\"\nurl = \"https://hunter2@a.example\"",
        "[sinks.a]\nurl = \"https://hunter2@a.example\" # hunter2",
        "[sinks.a]\ntype = 5 # hunter2",
        "sinks.a = { url = \"https://hunter2@a.example\", timeout = \"5\" }",
        "sinks.a = { url = \"https://hunter2@a.example\", timeout = \"5\" ",
        "[poll]\ninterval = \"jolt_sk_hunter2\"",
        "jolt_sk_hunter2 = 1",
        "[api]\nkey = \"\"\"\n\"\"\"\"\nhunter2 = 1\n\"\"\"",
        "[sinks.\"hunter2\"\ntype = 1",
        "[hunter2\ntype = 1",
        "[sinks.a]\nurl = { \"https://u:hunter2@a.example\" = 1 }",
        "[sinks.a]\nurl ={ 'https://u:hunter2@a.example'\nauth = 1\n}",
        "[sinks.a]\n\"hunter2 and more\" = 1",
        "[sinks.\"https://hunter2\"]\ntype = \"htp\"",
        "[sinks.a]\nauth = { basic = \"\"\"hunter2\", 'hunter2'] }\nheaders = { X = \"\"\"\nhunter2\n\"\"\" }",
        "[sinks.a]\ntimeout = \"\"\"5\nurl = \"https://u:hunter2@a.example\"\n\"\"\"",
        "[sinks.a]\ntimeout = \"\"\"5\nurl = \"https://u:hunter2@a.example\"\n",
    ] {
        let result = Machine::with_file(file).unset("JOLTSMS_API_KEY").try_load();
        assert_hidden(&result);
        assert!(result.is_err(), "{file}");
    }
}

#[test]
fn variables_that_hold_secrets_are_not_repeated() {
    for (name, value) in [
        ("JOLTSMS_API_KEY", "hunter2"),
        ("JOLTSMS_API_KEY", "jolt_sk_hunter2\u{1}"),
        ("JOLTSMS_RELAY_API__KEY", "hunter2"),
        ("JOLTSMS_API_URL", "https://hunter2 x"),
        ("JOLTSMS_API_URL", "http://hunter2@10.0.0.1"),
        ("JOLTSMS_API_URL", "https://hunter2@a.example/v1"),
        ("JOLTSMS_API_URL", "hunter2"),
        ("JOLTSMS_RELAY_SINKS__A__URL", "https://hunter2@[::"),
        ("JOLTSMS_RELAY_SINKS__A__AUTH__BEARER", "hunter2"),
        ("JOLTSMS_RELAY_API_NONSENSE", "hunter2"),
        ("JOLTSMS_RELAY_jolt_sk_hunter2", "1"),
    ] {
        let result = Machine::new().set(name, value).try_load();
        assert_hidden(&result);
        assert!(result.is_err(), "{name}={value}");
    }
}

/// Keys that hold a secret. For each: its name, the lines of the sink, with `SOURCE` in the place of the secret, and
/// whether the secret is one word.
const SECRET_KEYS: [(&str, &str, bool); 8] = [
    ("auth.bearer", "auth = { bearer = SOURCE }", true),
    ("auth.basic.user", "auth = { basic = { user = SOURCE } }", false),
    ("auth.basic.password", "auth = { basic = { user = { env = \"U\" }, password = SOURCE } }", false),
    ("signing.secrets", "signing = { scheme = \"hmac-sha256\", secrets = SOURCE }", false),
    ("signing.secrets", "signing = { scheme = \"standard-webhooks\", secrets = [SOURCE] }", true),
    ("headers.authorization", "headers = { Authorization = SOURCE }", true),
    ("url", "url = SOURCE", true),
    ("proxy", "proxy = SOURCE", true),
];

/// Loads a configuration with a sink that has these lines. The secret is in a variable, a file and a credential, and
/// `source` refers to one of the three.
fn with_secret(lines: &str, source: &str, content: &[u8]) -> Result<Config, Errors> {
    let url = if lines.starts_with("url") { "" } else { "url = \"https://a.example\"\n" };
    let lines = lines.replace("SOURCE", source);
    let machine = Machine::with_file(&format!("[sinks.a]\ntype = \"http\"\n{url}{lines}\n")).set("U", "u");
    let path = machine.path("home/.config/joltsms-relay/s");
    std::fs::write(&path, content).unwrap();
    let variable = String::from_utf8_lossy(content);
    machine.set("S", &variable).set("CREDENTIALS_DIRECTORY", path.parent().unwrap().to_str().unwrap()).try_load()
}

/// The headers, the signature, the URL and the proxy of a request.
fn sent(config: &Config) -> String {
    let options = http_options(&config.sinks[0]);
    let headers: Vec<_> =
        options.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let signature = options.signing.as_ref().map(|signing| signing.headers("m1", crate::domain::UnixMs(0), b"{}"));
    format!("{headers:?} {signature:?} {} {:?}", options.url, options.transport.proxy.address)
}

const SOURCES: [&str; 3] = ["{ env = \"S\" }", "{ file = \"s\" }", "{ credential = \"s\" }"];

#[test]
fn secrets_are_used_without_what_editors_and_shells_add() {
    for (key, lines, is_word) in SECRET_KEYS {
        let value = match key {
            "url" => "https://u:hunter2@b.example/x",
            "proxy" => "http://u:hunter2@p.example:3128",
            _ if lines.contains("standard") => "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==",
            _ => "hunter2",
        };
        let plain = sent(&with_secret(lines, SOURCES[0], value.as_bytes()).unwrap());
        let utf16: Vec<u8> = format!("\u{feff}{value}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for source in SOURCES {
            let for_all = ["\u{feff}VALUE", "VALUE\n", "\u{feff}VALUE\r\n", "VALUE\n\n", "VALUE\r\n \r\n", "\nVALUE\r"];
            let for_words = [" VALUE", "VALUE \n", "\u{a0}VALUE\t\n", "\u{feff} VALUE \r\n\r\n"];
            let in_quotes = ["\"VALUE\"", " 'VALUE'\n"];
            let mut texts = for_all.to_vec();
            texts.extend(for_words.iter().filter(|_| is_word));
            texts.extend(in_quotes.iter().filter(|_| is_word && key != "headers.authorization"));
            texts.extend((key == "auth.bearer").then_some("Bearer VALUE\n"));
            for text in texts {
                let result = with_secret(lines, source, text.replace("VALUE", value).as_bytes());
                assert_hidden(&result);
                let config = result.unwrap_or_else(|errors| panic!("{key} {source} {text:?}: {errors}"));
                assert_eq!(sent(&config), plain, "{key} {source} {text:?}");
            }
            if !source.contains("env") {
                assert_eq!(sent(&with_secret(lines, source, &utf16).unwrap()), plain, "{key} {source} UTF-16");
            }
        }
    }
}

#[test]
fn a_secret_with_doubtful_characters_is_refused_and_its_source_is_named() {
    for (key, lines, is_word) in SECRET_KEYS {
        for (at, source) in SOURCES.iter().enumerate() {
            let named = ["the environment variable `S`", "the file `", "the credential `s`"][at];
            let for_all = [("hunter2\u{200b}", "holds an invisible character (U+200B)")];
            let for_texts = [
                (" hunter2", "begins or ends with white space, which may be meant or not"),
                ("hunter2 \n", "begins or ends with white space, which may be meant or not"),
                ("\"hunter2\"", "is in quotes, which may be meant or not"),
                ("hunter2\nhunter2", "has more than one line"),
            ];
            let for_tokens = [("hun ter2", "holds white space")];
            let mut cases: Vec<_> = for_all.iter().filter(|_| !matches!(key, "url" | "proxy")).collect();
            cases.extend(for_texts.iter().filter(|_| !is_word));
            cases.extend(for_tokens.iter().filter(|_| key == "auth.bearer" || lines.contains("standard")));
            for (content, reason) in cases {
                let result = with_secret(lines, source, content.as_bytes());
                assert_hidden(&result);
                let refused = result.expect_err(content).to_string();
                assert!(refused.contains(&format!("`sinks.a.{key}`: {named}")), "{key} {content:?}: {refused}");
                assert!(refused.contains(reason), "{key} {content:?}: {refused}");
            }
            if at > 0 {
                let refused = with_secret(lines, source, b"h\0u\0").unwrap_err().to_string();
                assert!(
                    refused.contains(named) && refused.contains("holds NUL characters, as UTF-16 does"),
                    "{refused}"
                );
            }
        }
    }
    for url in ["https://hunter2\u{200b}.example", "http://a.example/\u{feff}hunter2"] {
        let result = with_secret("url = SOURCE", SOURCES[0], url.as_bytes());
        assert_hidden(&result);
        assert!(result.unwrap_err().to_string().contains("`sinks.a.url` holds an invisible character"));
    }
}

#[test]
fn keys_of_the_api_are_used_without_what_editors_and_shells_add() {
    const KEY: &str = "jolt_sk_0123456789abcdef0123456789abcdef";
    for text in ["\u{feff}KEY\r\n", "KEY\n\n", " KEY", "\"KEY\"", "Bearer KEY\n", "'Bearer KEY'"] {
        let text = text.replace("KEY", KEY);
        let by_variable = Machine::new().set("JOLTSMS_API_KEY", &text);
        let by_file = Machine::new().unset("JOLTSMS_API_KEY");
        let path = by_file.write("key", &text);
        let by_file = by_file.set("JOLTSMS_API_KEY_FILE", path.to_str().unwrap());
        let in_an_array =
            Machine::with_file("[api]\nkey = [{ env = \"K\" }]\n").unset("JOLTSMS_API_KEY").set("K", &text);
        for machine in [by_variable, by_file, in_an_array] {
            let config = machine.load();
            let [key] = config.api.keys.as_slice() else { panic!("{text:?}") };
            assert_eq!(key.expose(), KEY, "{text:?}");
        }
    }
}

#[test]
fn a_line_of_an_environment_file_is_no_key() {
    for text in ["NAME=KEY\n", "NAME='KEY'", "NAME=KEY,KEY"] {
        let machine = Machine::new().unset("JOLTSMS_API_KEY");
        let path = machine.write("key", &text.replace("KEY", "jolt_sk_0123456789abcdef0123456789abcdef"));
        let refused = machine.set("JOLTSMS_API_KEY_FILE", path.to_str().unwrap()).refused();
        let hint = "it has `NAME=` before the key: leave only the key, without the name of a variable";
        assert!(refused.contains(hint) && !refused.contains("0123"), "{refused}");
    }
}

/// A random change to a text: where it is (as a share of the length), how many characters are removed, and which text
/// is inserted.
fn damage() -> impl Strategy<Value = (f64, usize, &'static str)> {
    let inserts =
        ["", "\n", "\"", "'", "=", "#", "[", "]", "{", "}", ",", ".", "\\", "\"\"\"", " ", "\n[", "\nx = ", "\r", "é"];
    (0.0..1.0, 0..6_usize, prop::sample::select(inserts.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The file has secrets in all places where people put them, and is damaged at random.
    #[test]
    fn a_damaged_file_shows_no_secret(damages in prop::collection::vec(damage(), 0..6)) {
        let mut text = "[api]\nkey = \"jolt_sk_hunter2\"\nurl = \"https://hunter2:hunter2@api.example/\" # hunter2\n\
                        [poll]\ninterval = 5\n\
                        [sinks.crm]\ntype = \"http\"\nurl = 'https://u:hunter2@crm.example/?t=hunter2'\n\
                        auth = { bearer = \"hunter2\", basic = [\"hunter2\", 'hunter2'] }\n\
                        headers = { Cookie = \"\"\"\nhunter2\n\"\"\", X = \"hunter2\" }\ntimeout = \"5\"\n".to_owned();
        for (place, cut, insert) in damages {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place")]
            let mut at = (text.len() as f64 * place) as usize;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let mut end = (at + cut).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            // Secrets are not cut in two: the test could not find the halves in an error text.
            let inside = |place: usize| {
                text.match_indices(SECRET).any(|(start, _)| start < place && place < start + SECRET.len())
            };
            if !inside(at) && !inside(end) {
                text.replace_range(at..end, insert);
            }
        }
        let result = Machine::with_file(&text).try_load();
        assert_hidden(&result);
    }
}
