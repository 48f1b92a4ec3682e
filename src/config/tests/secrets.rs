//! No secret in any output, whatever is wrong.

use proptest::prelude::*;

use super::Machine;
use crate::config::{Config, Errors};

/// The secret that must not be seen.
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
        ("JOLTSMS_RELAY_NONSENSE", "hunter2"),
        ("JOLTSMS_RELAY_jolt_sk_hunter2", "1"),
    ] {
        let result = Machine::new().set(name, value).try_load();
        assert_hidden(&result);
        assert!(result.is_err(), "{name}={value}");
    }
}

/// A change to a text: at which part of its length, how much is cut out, and what is put in.
fn damage() -> impl Strategy<Value = (f64, usize, &'static str)> {
    let inserts =
        ["", "\n", "\"", "'", "=", "#", "[", "]", "{", "}", ",", ".", "\\", "\"\"\"", " ", "\n[", "\nx = ", "\r", "é"];
    (0.0..1.0, 0..6_usize, prop::sample::select(inserts.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Secrets stand in all places where people put them, and the file is damaged at random.
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
            // Beside a secret, not inside: half of one is not a secret any more.
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
