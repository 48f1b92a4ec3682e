//! The keys of `[sinks.NAME]` with `type = "exec"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{ExecTarget, MESSAGE_VARIABLES, program};
use crate::http::settings as http;
use crate::settings::{self, FileUsage, Member, Reader, Texts, settings};
use crate::sinks::{ReadContext, require};

/// The exit statuses that `reject_exit` may contain: all except 0, which means success.
const REJECTABLE: RangeInclusive<u16> = 1..=255;

/// The only variables of the relay's own environment that the program gets. Other variables may hold secrets.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

settings! {
    /// The keys that only an exec sink has, as written.
    pub(super) struct Settings {
        /// The program that is run for each message, with its arguments; required. No shell is involved. A program
        /// without a `/` in its name is looked for in the directories of PATH.
        command: Option<Texts> =
            settings::texts(false).such_as("[\"/bin/sh\", \"/etc/joltsms-relay/on-sms.sh\"]"),
        /// Additional variables for the program, such as { TEAM = "ops", TOKEN = { env = "CRM_TOKEN" } }. The program
        /// gets none of the relay's own variables except PATH, HOME, USER, LOGNAME, LANG, LC_ALL, TZ and TMPDIR.
        env: Vec<Member> = settings::map(&[]),
        /// The longest time for one run of the program. After this time the program is killed with its process group.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
        /// Exit statuses that make a dead letter ("rejected") at once.
        reject_exit: Vec<u16> = settings::exit_statuses(&[65], REJECTABLE),
    }
}

impl Settings {
    /// Returns the program; `None` if a required key is missing or wrong. Errors are added to the report.
    pub(super) fn resolve(self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<ExecTarget> {
        let own = variables(at, self.env);
        if context.is_meant {
            require(at, "an exec", &["command"]);
        }
        let (program, arguments) = command(at, self.command?)?;
        let inherited = INHERITED.iter().map(OsStr::new).filter_map(|name| at.environment().get_key_value(name));
        let inherited = inherited.map(|(name, value)| (name.clone(), value.clone()));
        let environment = inherited.chain(own).collect();
        let (timeout, reject, codes) = (self.timeout, self.reject_exit, context.codes.clone());
        Some(ExecTarget { program, arguments, environment, timeout, reject, codes })
    }
}

/// Returns the path of the program and its arguments; `None`: an error was reported.
fn command(at: &mut Reader<'_>, texts: Texts) -> Option<(PathBuf, Vec<String>)> {
    let Texts { origin, texts, whole, .. } = texts;
    if !whole {
        return None;
    }
    if texts.iter().any(|text| text.as_str().contains('\0')) {
        at.wrong("command", &origin, "holds a NUL character", "");
        return None;
    }
    let Some((first, arguments)) = texts.split_first().filter(|(first, _)| !first.as_str().is_empty()) else {
        at.wrong("command", &origin, "names no program", "write it as [\"/path/of/the/program\", \"argument\"]");
        return None;
    };
    let found = if first.as_str().contains('/') {
        let path = at.beside_file(first);
        program::check(&path).map(|()| path)
    } else {
        program::find(first.as_str(), at.environment().get(OsStr::new("PATH")).map(OsString::as_os_str))
    };
    match found {
        Ok(program) => {
            at.note_file("command", &origin, &program, FileUsage::Execute);
            Some((program, arguments.iter().map(|text| text.as_str().to_owned()).collect()))
        }
        Err(wrong) => {
            let is_beside_file = !first.as_str().contains('/') && program::check(&at.beside_file(first)).is_ok();
            let help = if is_beside_file {
                &format!("write ./{} for the program beside the configuration file", first.as_str())
            } else if first.as_str().contains(' ') {
                "each argument is a text of its own: [\"/path/of/the/program\", \"argument\"]"
            } else {
                "the relay's user must be allowed to run it"
            };
            at.refuse("command", first, &wrong, help);
            None
        }
    }
}

fn variables(at: &mut Reader<'_>, members: Vec<Member>) -> Vec<(OsString, OsString)> {
    let mut variables = Vec::new();
    for Member { name, origin, entry } in members {
        let path = format!("env.{name}");
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) || name.starts_with(|first: char| first.is_ascii_digit()) {
            let message = format!("`{}` holds a name that no variable can have", at.name("env"));
            at.error(&origin, message, "names of variables have letters, digits and `_`");
            continue;
        }
        if name.starts_with(MESSAGE_VARIABLES) {
            at.wrong(&path, &origin, "cannot be set", "the relay sets the variables of the message itself");
            continue;
        }
        let Some(text) = at.text_of(&path, &entry, "a text in quotes") else { continue };
        if text.as_str().contains('\0') {
            at.wrong(&path, &origin, "holds a NUL character", "");
            continue;
        }
        variables.push((name.into(), text.as_str().into()));
    }
    variables
}
