//! `format`, and the keys of templates.

use super::Machine;
use crate::config::{Config, Format};
use crate::domain::NumberUse;
use crate::formats::FormatContext;

const HTTP: &str = "[sinks.crm]\ntype = \"http\"\nurl = \"https://a.example\"\n";

fn format(config: &Config) -> &Format {
    &config.sinks[0].format
}

#[test]
fn formats_have_their_names_and_the_name_of_the_account() {
    for name in ["message", "jolt-event", "cloudevents", "slack", "discord"] {
        let context = FormatContext { account: "shop-1".into(), ..FormatContext::default() };
        let expected = Format::named(name, context).unwrap();
        let config = Machine::with_file(&format!("{HTTP}format = \"{name}\"\n[api]\naccount = \"shop-1\"\n")).load();
        assert_eq!(format(&config), &expected);
        assert_eq!(&*config.account, "shop-1");
        let by_variable = Machine::with_file(HTTP)
            .set("JOLTSMS_RELAY_SINKS__CRM__FORMAT", name)
            .set("JOLTSMS_RELAY_API__ACCOUNT", "shop-1");
        assert_eq!(format(&by_variable.load()), &expected);
    }
    assert_eq!(&*Machine::new().load().account, "main");
}

#[test]
fn a_template_may_be_in_the_file_in_a_file_beside_it_or_in_a_variable() {
    let machine = |text: &str| Machine::with_file(&format!("{HTTP}format = \"template\"\n{text}"));
    let inline = machine("content_type = \"text/plain\"\ntemplate = \"{{ message.body }}\"\n").load();
    let beside = machine("content_type = \"text/plain\"\ntemplate_file = \"t/sms.j2\"\n");
    beside.write("home/.config/joltsms-relay/t/sms.j2", "{{ message.body }}\n");
    let variable = machine("")
        .set("JOLTSMS_RELAY_SINKS__CRM__TEMPLATE", "{{ message.body }}")
        .set("JOLTSMS_RELAY_SINKS__CRM__CONTENT_TYPE", "text/plain");
    let Format::Template(template) = format(&inline) else { panic!() };
    assert_eq!(template.content_type(), "text/plain");
    for other in [beside.load(), variable.load()] {
        assert_eq!(format(&other), format(&inline));
    }
}

#[test]
fn messages_wait_for_details_of_the_number_where_a_template_shows_them() {
    for (keys, expected) in [
        ("", NumberUse::Ignored),
        ("format = \"jolt-event\"", NumberUse::Ignored),
        ("format = \"discord\"", NumberUse::Shown),
        ("format = \"template\"\ntemplate = '{{ number.id | tojson }}'", NumberUse::Ignored),
        ("format = \"template\"\ntemplate = '{{ number.tags | tojson }}'", NumberUse::Needed),
    ] {
        let selection = &Machine::with_file(&format!("{HTTP}{keys}\n")).load().sinks[0].selection;
        assert_eq!(
            (selection.number_use, selection.needs_numbers()),
            (expected, expected != NumberUse::Ignored),
            "{keys}"
        );
    }
}

#[test]
fn without_a_media_type_a_receiver_gets_json_and_a_stream_text() {
    for (sink, expected) in
        [(HTTP, "application/json"), ("[sinks.out]\ntype = \"stdout\"\n", "text/plain; charset=utf-8")]
    {
        let config =
            Machine::with_file(&format!("{sink}format = \"template\"\ntemplate = '\"{{{{ message.id }}}}\"'")).load();
        let Format::Template(template) = format(&config) else { panic!() };
        assert_eq!(template.content_type(), expected);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let template = format!("{HTTP}format = \"template\"\n");
    for (file, line, expected) in [
        (format!("{HTTP}format = \"slak\""), 4, "`sinks.crm.format` = \"slak\" is not known; did you mean \"slack\"?"),
        (format!("{HTTP}template = \"x\""), 4, "`sinks.crm.template` belongs to format = \"template\""),
        (
            format!("{HTTP}format = \"slack\"\ncontent_type = \"x/y\""),
            5,
            "`sinks.crm.content_type` belongs to format = ",
        ),
        (template.clone(), 1, "`sinks.crm.template` is missing: format = \"template\" needs it"),
        (format!("{template}templat = \"x\""), 5, "unknown key `sinks.crm.templat`; did you mean `template`?"),
        (
            format!("{template}template = \"x\"\ntemplate_file = \"x\""),
            6,
            "`sinks.crm.template` and `sinks.crm.template_file` are both",
        ),
        (format!("{template}template = 5"), 5, "`sinks.crm.template` must be a text in quotes, not a number"),
        (
            format!("{template}template_file = \"no.j2\""),
            5,
            "`sinks.crm.template_file`: the file `/home/.config/joltsms-relay/no.j2` cannot be read",
        ),
        (
            format!("{template}template_file = \"bad.j2\""),
            5,
            "`sinks.crm.template_file`: line 2: undefined value: `mesage` is undefined",
        ),
        (
            format!("{template}template = '''\n{{\n \"a\": \"{{{{ message.body }}\"\n}}'''"),
            5,
            "`sinks.crm.template`: line 2: syntax error: ",
        ),
        (format!("{template}template = \"hunter2\""), 5, "`sinks.crm.template`: makes no valid JSON"),
        (
            format!("{template}template = \"x\"\ncontent_type = \"text\""),
            6,
            "`sinks.crm.content_type` = \"text\" is not a media type",
        ),
        (
            format!("{template}template = \"x\"\ncontent_type = \"text/plain\\n\""),
            6,
            "`sinks.crm.content_type` is not a media type",
        ),
        ("[api]\naccount = \"a b\"".to_owned(), 2, "`api.account` = \"a b\" cannot name an account"),
        ("[api]\naccount = \"\"".to_owned(), 2, "`api.account` = \"\" cannot name an account"),
    ] {
        let machine = Machine::with_file(&file);
        machine.write("home/.config/joltsms-relay/bad.j2", "x\n{{ mesage.body }}");
        let refused =
            machine.try_load().expect_err(&file).to_string().replace(&machine.root.path().display().to_string(), "");
        let start = format!("/home/.config/joltsms-relay/config.toml:{line}: {expected}");
        assert!(refused.starts_with(&start), "{file}\n{refused}");
        assert!(refused.ends_with("\n1 error in the configuration"), "{file}\n{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
