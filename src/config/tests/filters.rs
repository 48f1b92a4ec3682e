//! `[sinks.NAME.filter]`: which filters are accepted, and which are refused with which message.

use super::Machine;
use crate::domain::filter::{Details, Facts, FilterVerdict};

const MESSAGE: &str =
    r#"{"id":"m","from":"+18005559876","to":"+16505551234","body":"Your code is 1","parsedCode":"1"}"#;

fn sink(lines: &str) -> String {
    format!("[sinks.crm]\ntype = \"http\"\nurl = \"https://crm.example.com\"\n{lines}\n")
}

fn decide(machine: &Machine) -> FilterVerdict {
    let config = machine.load();
    let filter = config.sinks[0].selection.filter.as_ref().unwrap();
    filter.decide(&Facts::read(MESSAGE, Details::Unknown))
}

#[test]
fn what_is_written_is_what_is_asked() {
    use FilterVerdict::{Unknown, Unwanted, Wanted};
    let table = [
        ("filter = { to = \"+1650*\" }", Wanted),
        ("filter = { to = [\"nobody\", \"+1650*\"], has_code = true }", Wanted),
        ("filter.from = \"+1900*\"", Unwanted("from")),
        ("[sinks.crm.filter]\nbody = \"(?i)CODE\"\nexclude = { from = \"+1800*\" }", Unwanted("exclude")),
        ("[sinks.crm.filter]\nbody = \"(?i)CODE\"\n[sinks.crm.filter.exclude]\nhas_code = false", Wanted),
        ("filter.service = \"PayPal\"", Unknown("service")),
        ("filter = [{ has_code = false }, { from = \"+1800*\" }]", Wanted),
        ("[[sinks.crm.filter]]\nhas_code = false\n[[sinks.crm.filter]]\ntags = [\"prod\"]", Unknown("tags")),
    ];
    for (lines, expected) in table {
        assert_eq!(decide(&Machine::with_file(&sink(lines))), expected, "{lines}");
    }
    assert!(Machine::with_file(&sink("")).load().sinks[0].selection.filter.is_none());
}

#[test]
fn variables_hold_one_pattern_or_several_with_commas() {
    let machine = || Machine::with_file(&sink("")).set("JOLTSMS_RELAY_SINKS__CRM__FILTER__FROM", "+1900*, +1800*");
    assert_eq!(decide(&machine()), FilterVerdict::Wanted);
    let array = machine().set("JOLTSMS_RELAY_SINKS__CRM__FILTER__FROM", r#"["+1900*", "+1800*"]"#);
    assert_eq!(decide(&array), FilterVerdict::Wanted, "an array as in the file");
    let class = machine().set("JOLTSMS_RELAY_SINKS__CRM__FILTER__FROM", "[+]18*");
    assert_eq!(decide(&class), FilterVerdict::Wanted, "a pattern that begins with a bracket is no array");
    let other = machine().set("JOLTSMS_RELAY_SINKS__CRM__FILTER__BODY", "a,b");
    assert_eq!(decide(&other), FilterVerdict::Unwanted("body"), "an expression is not split");
    let exclude = machine().set("JOLTSMS_RELAY_SINKS__CRM__FILTER__EXCLUDE__HAS_CODE", "true");
    assert_eq!(decide(&exclude), FilterVerdict::Unwanted("exclude"));
    let both = Machine::with_file(&sink("filter = [{ has_code = true }]"))
        .set("JOLTSMS_RELAY_SINKS__CRM__FILTER__FROM", "+1800*");
    assert!(both.refused().contains("cannot be set by a variable: the file has an array of filters"));
}

#[test]
fn what_is_no_filter_is_refused_with_its_place() {
    for (lines, expected) in [
        ("filter.body = \"(\"", "config.toml:4: `sinks.crm.filter.body` = \"(\" is no pattern: unclosed group"),
        (
            "filter.from = [\"a\", \"[\"]",
            "config.toml:4: `sinks.crm.filter.from` = \"[\" is no pattern: unclosed character class",
        ),
        ("filter.to = []", "config.toml:4: `sinks.crm.filter.to` is an empty list: it would match nothing"),
        (
            "filter.to = 16505551234",
            "config.toml:4: `sinks.crm.filter.to` must be a text in quotes, or a list of them, not a number",
        ),
        (
            "filter.has_code = \"yes\"",
            "config.toml:4: `sinks.crm.filter.has_code` must be true or false, without quotes",
        ),
        ("filter = \"+1800*\"", "config.toml:4: [sinks.crm.filter] must be a table, not a text"),
        ("filter = [{}]", "config.toml:4: `sinks.crm.filter` has no keys: it would take every message"),
        ("filter = [\"+1800*\"]", "config.toml:4: an element of `sinks.crm.filter` must be a table, not a text"),
        ("filter.sender = \"a\"", "config.toml:4: unknown key `sinks.crm.filter.sender`"),
        (
            "filter.exclude.form = \"a\"",
            "config.toml:4: unknown key `sinks.crm.filter.exclude.form`; did you mean `from`?",
        ),
        (
            "[[sinks.crm.filter]]\nbdy = \"a\"",
            "config.toml:5: unknown key `sinks.crm.filter.bdy`; did you mean `body`?",
        ),
        ("retry = [{ max = \"1h\" }]", "config.toml:4: [sinks.crm.retry] must be a table, not an array"),
    ] {
        let refused = Machine::with_file(&sink(lines)).refused();
        assert!(refused.contains(expected), "{lines}:\n{refused}");
    }
}

#[test]
fn a_number_without_its_plus_is_a_warning() {
    let warnings = |lines: &str| -> Vec<String> {
        let machine = Machine::with_file(&sink(lines)).set("TO", "16505551234");
        machine.load().warnings.iter().map(ToString::to_string).collect()
    };
    for (lines, expected) in [
        ("filter.to = \"16505551234\"", &["`sinks.crm.filter.to` = \"16505551234\" matches no number"][..]),
        ("filter.to = [\"+1650*\", \"*5551234\", \"[+]1650*\", \"12345\"]", &[]),
        ("filter.to = \"1650*\"", &["`sinks.crm.filter.to` = \"1650*\" matches no number"]),
        ("filter.exclude.to = \"16505551234\"", &["`sinks.crm.filter.exclude.to` = \"16505551234\" matches no number"]),
        ("filter.to = { env = \"TO\" }", &["`sinks.crm.filter.to` matches no number, since each begins with `+`"]),
        ("filter.from = \"16505551234\"", &[]),
    ] {
        let found = warnings(lines);
        assert_eq!(found.len(), expected.len(), "{lines}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains("config.toml:4: ") && found.contains(expected), "{lines}: {found}");
        }
    }
}

#[test]
fn a_pattern_from_elsewhere_is_not_shown() {
    let machine = Machine::with_file(&sink("filter.body = { env = \"PATTERN\" }")).set("PATTERN", "hunter2(");
    let refused = machine.refused();
    assert!(refused.contains("`sinks.crm.filter.body` is no pattern: unclosed group"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
}

#[test]
#[cfg(feature = "sink-exec")]
fn a_variable_holds_a_program_with_its_arguments() {
    let exec = || Machine::new().set("JOLTSMS_RELAY_SINKS__CRM__TYPE", "exec");
    let command = "JOLTSMS_RELAY_SINKS__CRM__COMMAND";
    exec().set(command, r#"["/bin/sh", "-c", "cat, or not"]"#).load();
    let refused = exec().set(command, "/bin/sh -c cat").refused();
    assert!(
        refused.contains(r#"each argument is a text of its own: ["/path/of/the/program", "argument"]"#),
        "{refused}"
    );
}
