//! Writes the declarations as a first configuration file for an operator: every key with its default, commented out.
//!
//! Lines that begin with `# ` explain. Lines that begin with `#` and another character are settings.

use super::declarations::Section;
use super::key::DeclaredKey;

/// The greatest width of a comment, in characters.
const WIDTH: usize = 120;

/// One section under its `header`, such as `[poll]` or `#[sinks.crm]`. `kind` is the type of the sink that is shown;
/// keys of other types are shown in explanations only.
pub fn example(section: &Section, header: &str, kind: Option<&str>) -> String {
    let path = header.trim_matches(['#', '[', ']']);
    let mut text = format!("{header}\n");
    let (mut own, mut tables) = (String::new(), String::new());
    for key in section.children("") {
        if key.is_table() && key.lines.is_empty() {
            tables.push('\n');
            comment(&key.doc, &mut tables);
            tables += &format!("#[{path}.{}]\n", key.name);
            section.children(&key.name).for_each(|key| setting(key, true, &mut tables));
        } else {
            let is_shown = kind.is_none_or(|kind| key.types.is_empty() || key.types.contains(&kind));
            setting(key, is_shown, &mut own);
        }
    }
    text += &own;
    text + &tables
}

/// Writes a key. `is_setting`: the type of sink that is shown has the key; otherwise all lines are explanations.
fn setting(key: &DeclaredKey, is_setting: bool, text: &mut String) {
    let types = if is_setting { String::new() } else { key.types_that_have_it() + " " };
    comment(&format!("{types}{}", key.explained()), text);
    if let Some(value) = key.default.as_deref().or(key.example) {
        *text += &format!("{}{} = {value}\n", if is_setting { "#" } else { "# " }, key.last());
    }
    for line in key.lines {
        *text += &format!("# {line}\n");
    }
}

/// Wraps a text into lines that begin with `# `.
pub fn comment(doc: &str, text: &mut String) {
    let mut width = 0;
    for word in doc.split(' ').filter(|word| !word.is_empty()) {
        let needs = word.chars().count() + 1;
        if width > 0 && width + needs <= WIDTH {
            text.push(' ');
        } else {
            if width > 0 {
                text.push('\n');
            }
            text.push_str("# ");
            width = 1;
        }
        text.push_str(word);
        width += needs;
    }
    text.push('\n');
}
