//! The documents that come from the declarations: config.example.toml and docs/configuration.md.

use super::declarations;
use crate::settings::{self, comment};

/// What stands above all sections of the example.
const HEAD: &str = "\
# joltsms-relay: every key of this version, with its default.
#
# Lines that begin with `# ` explain; lines such as `#interval = \"1s\"` are settings at their default: remove the `#` to
# change one. The relay runs without any file: set JOLTSMS_API_KEY, and messages go to standard output.
#
# The file: --config, $JOLTSMS_RELAY_CONFIG, $XDG_CONFIG_HOME/joltsms-relay/config.toml (~/.config/...), then
# /etc/joltsms-relay/config.toml. Never one from the current directory.
#
# Every key is also a variable: `poll.interval` is JOLTSMS_RELAY_POLL__INTERVAL, `sinks.crm.retry.max` is
# JOLTSMS_RELAY_SINKS__CRM__RETRY__MAX; with __FILE appended it names a file that holds the value. A sink named `my-crm`
# is MY_CRM there. Flags win over variables, variables over this file. JOLTSMS_API_KEY, JOLTSMS_API_KEY_FILE and
# JOLTSMS_API_URL are short names for `api.key` and `api.url`.
#
# Any text may stand elsewhere: { env = \"X\" }, { file = \"path\" } or { credential = \"name\" } (systemd). Relative paths count
# from this file. Durations: \"500ms\", \"15m\", \"1h30m\", \"7d\". docs/configuration.md has all keys in tables.
#
# What editors and shells leave around such a text does not count: a byte order mark and blank lines never; around keys,
# tokens and addresses also white space, quotes and `Bearer`, with a warning. A password, a user or an hmac-sha256 secret
# that begins or ends with white space, stands in quotes or has several lines is refused, since that may be meant.
";

/// The sink that there is without any.
const IMPLIED: &str = "
# Without any sink there is this one. There can be one of type \"stdout\".
#[sinks.stdout]
#type = \"stdout\"
#format = \"message\"
";

/// What stands above the keys of a sink.
const SINK: &str = "An HTTP receiver. Its name, here `crm`, has 1 to 64 characters of a-z, 0-9, `_` and `-`, and is the key \
                    of its state.";

/// What stands above the tables of docs/configuration.md.
const REFERENCE: &str = "\
# Configuration

Every key of the configuration file. The same text as comments of a file to begin with: `joltsms-relay init -`. For
editors: `joltsms-relay schema`. `joltsms-relay check` reads a configuration and says all that is wrong with it.

This file and the example are made from the declarations in the code; a test compares them.

- The file is the first of `--config`, `$JOLTSMS_RELAY_CONFIG`, `$XDG_CONFIG_HOME/joltsms-relay/config.toml` and
  `/etc/joltsms-relay/config.toml`. None is needed: the relay runs on defaults and the environment.
- A flag wins over a variable, a variable over the file, the file over the default.
- Any text may stand elsewhere: `{ env = \"X\" }`, `{ file = \"path\" }` or `{ credential = \"name\" }` (systemd). A *secret* is
  only ever written so in the file. A variable with `__FILE` appended names a file that holds the value.
- A *duration* is written like `\"500ms\"`, `\"15m\"`, `\"1h30m\"` or `\"7d\"`; a *size* like `\"500MB\"` or `\"64MiB\"`. A *start* is
  `\"now\"`, `\"beginning\"`, a time such as `\"2026-01-31T08:00:00Z\"`, or a duration back. Relative paths count from the file.
- What editors and shells leave around a text does not count: a byte order mark and blank lines never; around keys, tokens
  and addresses also white space, quotes and `Bearer`, with a warning. A password, a user or an hmac-sha256 secret that
  begins or ends with white space, stands in quotes or has several lines is refused, since that may be meant.
- In the variables of a sink, `NAME` is its name in capitals, with `_` for each `-`.
- `JOLTSMS_API_KEY`, `JOLTSMS_API_KEY_FILE` and `JOLTSMS_API_URL` are short names for `api.key` and `api.url`.
";

/// The text of config.example.toml.
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for section in &declarations().sections {
        text.push('\n');
        text += &settings::example(section, &format!("[{}]", section.name));
    }
    text += IMPLIED;
    text.push('\n');
    comment(SINK, &mut text);
    text + &settings::example(&declarations().sink, "#[sinks.crm]")
}

/// The text of docs/configuration.md.
pub fn reference() -> String {
    REFERENCE.to_owned() + &settings::reference(declarations())
}
