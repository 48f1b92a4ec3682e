//! The command line: the flags that every command accepts, and the flags of `run`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser};

use super::commands::Command;
use crate::config::Overrides;
use crate::domain::Invocation;
use crate::secret::Secret;

/// Relays the SMS of JoltSMS numbers to servers, chats, mail, brokers, databases, programs, files.
///
/// Without a command the relay runs. Without a configuration file it takes the API key from JOLTSMS_API_KEY and writes each
/// message to stdout, one JSON object a line.
#[derive(Debug, Parser)]
#[command(name = "joltsms-relay", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Flags {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// Read this configuration file [default: $JOLTSMS_RELAY_CONFIG, then the usual places]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Keep the state in this directory [default: state.dir of the configuration, then the usual place]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,

    /// Log this level and above: error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,

    /// Log warnings and errors only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,

    /// Use no colours, not even on a terminal
    #[arg(long, global = true)]
    pub(super) no_color: bool,

    #[command(flatten)]
    pub(super) run: RunFlags,
}

const EXIT_CODES: &str = "\
Examples:
  JOLTSMS_API_KEY=jolt_sk_… joltsms-relay
  joltsms-relay --config relay.toml

Exit codes: 0 done or stopped, 1 failure, 2 usage, 65 state damaged or of a newer version, 75 temporary (state in use; \
once: work left undone), 77 no API key accepted (one-shot commands), 78 invalid configuration, \
124 wait timed out, 130/143 a one-shot command was interrupted.";

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "For run, once and check")]
pub(super) struct RunFlags {
    /// Post each message to this URL, instead of writing it to stdout
    #[arg(long, global = true, value_name = "URL")]
    pub(super) forward_to: Option<String>,

    /// Send this format: message, jolt-event, cloudevents, slack, discord, teams or text [default: message]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(super) format: Option<String>,

    /// Begin a first run here: now, beginning, an RFC 3339 time, or a duration back such as 24h [default: now]
    #[arg(long, global = true, value_name = "START")]
    pub(super) start: Option<String>,

    /// Accept a new API key or API address even if no stored message confirms that it is the same account
    #[arg(long, global = true)]
    pub(super) accept_account_change: bool,
}

impl RunFlags {
    /// Returns the first of these flags that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--forward-to", self.forward_to.is_some()),
            ("--format", self.format.is_some()),
            ("--start", self.start.is_some()),
            ("--accept-account-change", self.accept_account_change),
        ];
        all.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}

/// Returns the global flags that the help of a command shows. Most commands do not relay. So their help shows at most
/// `--config` and `--state-dir`.
fn shown_flags(command: &str) -> &'static [&'static str] {
    match command {
        "run" | "once" | "check" => &[
            "config",
            "state_dir",
            "log_level",
            "quiet",
            "no_color",
            "forward_to",
            "format",
            "start",
            "accept_account_change",
        ],
        "init" => &["config"],
        "schema" | "completions" | "man" | "help" => &[],
        _ => &["config", "state_dir"],
    }
}

/// Returns the command line of the program. The help of each command shows only the flags that have an effect on the
/// command.
pub(super) fn command_line() -> clap::Command {
    let mut program = Flags::command();
    // `build` copies the global flags to the subcommands, where they can be hidden.
    program.build();
    program.mut_subcommands(|command| {
        let shown = shown_flags(command.get_name());
        hide_others(command, shown)
    })
}

fn hide_others(command: clap::Command, shown: &[&str]) -> clap::Command {
    let command = command.mut_args(|flag| {
        let is_hidden = flag.is_global_set() && !shown.contains(&flag.get_id().as_str());
        if is_hidden { flag.hide(true) } else { flag }
    });
    command.mut_subcommands(|command| hide_others(command, shown))
}

impl Flags {
    pub(super) fn overrides(&self) -> Overrides {
        let run = &self.run;
        Overrides {
            config: self.config.clone(),
            state_dir: self.state_dir.clone(),
            log_level: self.log_level.clone(),
            quiet: self.quiet,
            forward_to: run.forward_to.as_deref().map(Secret::from),
            format: run.format.clone(),
            start: run.start.clone(),
        }
    }

    /// Returns the beginning of a command line for this configuration and state.
    pub(super) fn invocation(&self) -> Invocation {
        self.overrides().invocation()
    }

    /// Whether colours are allowed. `--no-color`, or a `$NO_COLOR` that is not empty, forbids them.
    pub(super) fn color(&self) -> bool {
        !self.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with each command, and the words that call the command.
    fn each_command(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&str, &clap::Command)) {
        visit(path, command);
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            each_command(command, &format!("{path} {}", command.get_name()), visit);
        }
    }

    #[test]
    fn an_empty_selector_is_refused_before_anything_is_done() {
        for arguments in [
            &["wait", "--to", ""][..],
            &["wait", "--from", " "],
            &["wait", "--code-regex", ""],
            &["replay", "--to", ""],
            &["replay", "--from="],
            &["replay", "--sink", ""],
            &["replay", "--id", ""],
            &["dead-letters", "list", "--sink", ""],
            &["dead-letters", "show", "--id", ""],
            &["dead-letters", "retry", "--sink", ""],
            &["dead-letters", "drop", "--id", ""],
        ] {
            let words = ["joltsms-relay"].into_iter().chain(arguments.iter().copied());
            let refused = command_line().try_get_matches_from(words).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{arguments:?}");
            assert!(refused.to_string().contains("it is empty: is the variable set?"), "{arguments:?}: {refused}");
        }
    }

    #[test]
    fn each_help_shows_the_flags_that_the_command_takes_and_an_example_that_works() {
        let mut commands = 0;
        each_command(&command_line(), "joltsms-relay", &mut |path, command| {
            commands += 1;
            let help = command.clone().render_long_help().to_string();
            let takes_run_flags = ["joltsms-relay", "joltsms-relay run", "joltsms-relay once", "joltsms-relay check"];
            for flag in ["--forward-to", "--format ", "--start ", "--accept-account-change", "--log-level", "--quiet"] {
                assert_eq!(help.contains(flag), takes_run_flags.contains(&path), "{path}: {flag}\n{help}");
            }
            let takes_no_state = ["init", "schema", "completions", "man"].map(|name| format!("joltsms-relay {name}"));
            let takes_state = !takes_no_state.iter().any(|command| command == path);
            assert_eq!(help.contains("--state-dir"), takes_state, "{path}");
            assert!(takes_state || !help.contains("For run, once and check"), "{path}: an empty heading\n{help}");
            let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("no example: {path}\n{help}"));
            let examples: Vec<&str> = examples.lines().filter(|line| line.contains("joltsms-relay")).collect();
            assert!(examples.iter().any(|line| line.contains(path)), "{path}: {examples:?}");
            for line in examples {
                let words = line.split_whitespace().skip_while(|word| *word != "joltsms-relay");
                let words = words.take_while(|word| ![">", "|"].contains(word));
                if let Err(wrong) = command_line().try_get_matches_from(words) {
                    panic!("{line}: {wrong}");
                }
            }
        });
        assert_eq!(commands, 29, "each command was looked at");
    }
}
