//! Writes the documents that come from the declarations: config.example.toml and docs/configuration.md.

use super::declarations;
use crate::settings::{self, comment};

/// The text above all sections of the example.
const HEAD: &str = "\
# joltsms-relay: every key of this version, with its default.
#
# Lines that begin with `# ` are explanations. Lines such as `#interval = \"1s\"` are settings with their default: remove
# the `#` to change one. The relay also runs without a file: set JOLTSMS_API_KEY, and messages go to standard output.
#
# To begin, add a sink at the end of this file, and leave everything else as it is. One of these three is enough:
#
#   [sinks.crm]
#   type = \"http\"
#   url = \"https://crm.example.com/hooks/sms\"
#
#   [sinks.chat]
#   type = \"http\"
#   url = { env = \"SLACK_WEBHOOK_URL\" }
#   format = \"slack\"
#
#   [sinks.archive]
#   type = \"file\"
#   path = \"/var/lib/joltsms-relay/sms-%Y-%m.jsonl\"
#
# Then `joltsms-relay check` shows what the file comes to. The relay needs the API key, too: see [api] below.
#
# The relay reads the first of these files: --config, $JOLTSMS_RELAY_CONFIG,
# $XDG_CONFIG_HOME/joltsms-relay/config.toml (~/.config/...), /etc/joltsms-relay/config.toml. It never looks in the
# current directory.
#
# Every key is also a variable: `poll.interval` is JOLTSMS_RELAY_POLL__INTERVAL, `sinks.crm.retry.max` is
# JOLTSMS_RELAY_SINKS__CRM__RETRY__MAX, and a sink named `my-crm` is MY_CRM. A variable with __FILE at its end names a file
# that holds the value. Flags win over variables, and variables win over this file. JOLTSMS_API_KEY, JOLTSMS_API_KEY_FILE
# and JOLTSMS_API_URL are short names for the variables of `api.key` and `api.url`.
#
# Wherever a text is expected, a reference may stand: { env = \"X\" }, { file = \"path\" } or { credential = \"name\" } (systemd).
# Relative paths count from the directory of this file. Durations are written like \"500ms\", \"15m\", \"1h30m\" or \"7d\".
# docs/configuration.md has all keys in tables.
#
# Editors and shells often leave something around a value. A byte order mark and blank lines are always removed. Around
# keys, tokens and addresses, white space, quotes and `Bearer` are removed too, with a warning. A password, a user or an
# hmac-sha256 secret is refused if it has white space or quotes around it, or several lines, because these may belong to
# it. If they do, put two pairs of quotes around the value: \"\" secret \"\".
";

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
const REFERENCE: &str = "\
# Configuration

Every key of the configuration file. `joltsms-relay init` writes the same text as a commented file to begin with,
`joltsms-relay schema` prints a JSON Schema for editors, and `joltsms-relay check` shows all errors of a configuration at
once.

This document and config.example.toml are generated from the declarations in the code, and a test compares them.

- **File.** The relay reads the first of these: `--config`, `$JOLTSMS_RELAY_CONFIG`,
  `$XDG_CONFIG_HOME/joltsms-relay/config.toml`, `/etc/joltsms-relay/config.toml`. No file is needed: without one the relay
  runs on defaults and the environment.
- **Precedence.** A flag wins over a variable, a variable over the file, the file over the default.
- **References.** Wherever a text is expected, a reference may stand: `{ env = \"X\" }`, `{ file = \"path\" }` or
  `{ credential = \"name\" }` (systemd). In the file a *secret* must be a reference. A variable with `__FILE` at its end
  names a file that holds the value.
- **Values.** A *duration* is written like `\"500ms\"`, `\"15m\"`, `\"1h30m\"` or `\"7d\"`, and a *size* like `\"500MB\"` or
  `\"64MiB\"`. A *start* is `\"now\"`, `\"beginning\"`, a time such as `\"2026-01-31T08:00:00Z\"`, or a duration back. Relative
  paths count from the directory of the file.
- **Leftovers.** Editors and shells often leave something around a value. A byte order mark and blank lines are always
  removed. Around keys, tokens and addresses, white space, quotes and `Bearer` are removed too, with a warning. A password,
  a user or an hmac-sha256 secret is refused if it has white space or quotes around it, or several lines, because these may
  belong to it. If they do, put two pairs of quotes around the value: `\"\" secret \"\"`.
- **Variables of a sink.** `NAME` is the name of the sink in capitals, with `_` for each `-`.
- **Short variables.** `JOLTSMS_API_KEY`, `JOLTSMS_API_KEY_FILE` and `JOLTSMS_API_URL` stand for `api.key` and `api.url`.
";

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
