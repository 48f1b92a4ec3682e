//! The command `man`: prints the manual page, in the format that `man` reads. All commands are on one page, so that the
//! page refers to no other page.

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, italic, roman};

use super::exit::Exit;
use super::global_flags::command_line;
use super::output::answer;
use super::relay::complain;

pub(super) fn man() -> Exit {
    match page(command_line()) {
        Ok(page) => answer(&page),
        Err(error) => complain(Exit::Failure, &format_args!("cannot make the manual page: {error}")),
    }
}

/// Makes the page for a program and all of its commands.
fn page(program: Command) -> std::io::Result<String> {
    let mut program = program.subcommand_value_name("command");
    let man = Man::new(program.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut commands = Roff::new();
    commands.control("SH", ["COMMANDS"]);
    describe_commands(&mut commands, &mut program);
    commands.to_writer(&mut page)?;
    let mut end = Roff::new();
    end.control("SH", ["EXAMPLES AND EXIT CODES"]);
    if let Some(text) = program.get_after_help() {
        paragraphs(&mut end, &text.to_string());
    }
    end.control("SH", ["FILES"]);
    for (file, what) in FILES {
        end.control("TP", []).text([italic(file)]).text([roman(what)]);
    }
    end.to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The files that the page names.
const FILES: [(&str, &str); 3] = [
    ("$XDG_CONFIG_HOME/joltsms-relay/config.toml", "The configuration of a user. `joltsms-relay init` writes it."),
    ("/etc/joltsms-relay/config.toml", "The configuration of the machine, if the user has none."),
    ("/var/lib/joltsms-relay", "The state, if the configuration is in /etc."),
];

/// Adds a part for each command below `parent`. A command that only groups others has no part of its own.
fn describe_commands(out: &mut Roff, parent: &mut Command) {
    for command in parent.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        if !command.has_subcommands() {
            describe(out, command);
        }
        describe_commands(out, command);
    }
}

/// Adds how the command is used, its description, its own flags and its examples. The flags that all commands accept
/// are on the page already.
fn describe(out: &mut Roff, command: &mut Command) {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
    out.control("SS", [usage.as_str()]);
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        paragraphs(out, &about.to_string());
    }
    for arg in command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set()) {
        if ["help", "version"].contains(&arg.get_id().as_str()) {
            continue;
        }
        let names = [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
        let names: Vec<String> = names.into_iter().flatten().collect();
        let values = arg.get_value_names().filter(|_| arg.get_action().takes_values()).unwrap_or_default();
        let values = values.iter().map(|value| format!("<{value}>")).collect::<Vec<_>>().join(" ");
        let space = if names.is_empty() || values.is_empty() { "" } else { " " };
        out.control("TP", []).text([bold(names.join(", ")), roman(space), italic(values)]);
        if let Some(help) = arg.get_help() {
            out.text([roman(help.to_string())]);
        }
        let words: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        if !words.is_empty() && arg.get_action().takes_values() {
            out.text([roman(format!("Possible values: {}.", words.join(", ")))]);
        }
    }
    if let Some(examples) = command.get_after_help() {
        paragraphs(out, &examples.to_string());
    }
}

/// Adds a text whose paragraphs are separated by empty lines. Indented lines keep their line breaks.
fn paragraphs(out: &mut Roff, text: &str) {
    out.control("PP", []);
    for line in text.lines() {
        match line.trim() {
            "" => out.control("PP", []),
            _ if line.starts_with(' ') => out.control("br", []).text([bold(line)]),
            plain => out.text([roman(plain)]),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_on_the_page() {
        let page = page(command_line()).unwrap();
        assert!(page.contains(".TH joltsms-relay 1"), "{page}");
        for part in ["run", "once", "status", "dead-letters retry", "sinks rename", "state export", "completions"] {
            assert!(
                page.lines().any(|line| line.starts_with(&format!(".SS \"joltsms-relay {part}"))),
                "{part}\n{page}"
            );
        }
        let flags = page.matches("--state-dir").count() + page.matches(r"\-\-state\-dir").count();
        assert!(flags <= 3, "a flag of all commands is described once: {flags}");
    }
}
