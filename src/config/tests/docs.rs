//! docs/formats.md shows the program's own output.

use super::Machine;
use crate::config::ConfiguredSink;
use crate::formats::one_line;

const DOCS: &str = include_str!("../../../docs/formats.md");

/// The fenced blocks of the document: their languages and texts.
fn blocks() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = DOCS.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((language.to_owned(), text.join("\n")));
        }
    }
    found
}

/// The output of the only sink of a configuration for this message and number.
fn made(toml: &str, message: &str, number: &str) -> String {
    let machine = Machine::with_file(toml).set("RECEIVER_URL", "https://receiver.example/x").set("TOKEN", "t");
    machine.write("home/.config/joltsms-relay/sms.j2", "{{ message.body }}");
    let config = machine.load();
    let [ConfiguredSink { target, format, .. }] = config.sinks.as_slice() else { panic!("one sink: {toml}") };
    let payload = match target.takes_lines() {
        true => format.line(message.into(), Some(number)),
        false => format.payload(message.into(), Some(number)),
    };
    String::from_utf8(payload.unwrap().body).unwrap()
}

/// The first block is a message, the second its number's details. Each configuration is followed by its output for that
/// message.
#[test]
fn every_output_in_the_documentation_is_real() {
    let mut blocks = blocks().into_iter();
    let [message, number] = [(); 2].map(|()| one_line(&blocks.next().unwrap().1));
    let mut shown = 0;
    while let Some((language, toml)) = blocks.next() {
        assert_eq!(language, "toml", "{toml}");
        let (language, output) = blocks.next().unwrap_or_else(|| panic!("no output for\n{toml}"));
        let made = made(&toml, &message, &number);
        match language.as_str() {
            // The document indents JSON, so that people can read it.
            "json" => assert_eq!(one_line(&output), one_line(&made), "{toml}"),
            "text" => assert_eq!(output, made, "{toml}"),
            other => panic!("`{other}` after\n{toml}"),
        }
        shown += 1;
    }
    assert!(shown >= 8, "{shown}");
}
