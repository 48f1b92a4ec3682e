//! Writes the documents that come from the declarations: config.example.toml and docs/configuration.md.

use super::declarations;
use crate::settings::{self, comment};

/// The text above all sections of the example.
const HEAD: &str = include_str!("documentation/example_head.toml");

/// The lines for the sink that is used if no sink is configured.
const IMPLIED: &str = "
# The only sink if none is configured. There can be at most one sink of type \"stdout\".
#[sinks.stdout]
#type = \"stdout\"
#format = \"message\"
";

/// The text above the keys of a sink.
const SINK: &str = "A sink for an HTTP receiver, here with the name `crm`. The name of a sink has 1 to 64 characters of a-z, \
                    0-9, `_` and `-`. The state of a sink is stored under this name.";

/// The text above the tables of docs/configuration.md.
const REFERENCE: &str = include_str!("documentation/reference_head.md");

/// The text of config.example.toml.
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for section in &declarations().sections {
        text.push('\n');
        text += &settings::example(section, &format!("[{}]", section.name), None);
    }
    text += IMPLIED;
    text.push('\n');
    comment(SINK, &mut text);
    text + &settings::example(&declarations().sink, "#[sinks.crm]", Some("http"))
}

/// The text of docs/configuration.md.
pub fn reference() -> String {
    REFERENCE.to_owned() + &settings::reference(declarations())
}
