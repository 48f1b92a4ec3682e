//! The commands `init` and `schema`: the commented configuration, and its JSON Schema.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::exit::Exit;
use super::global_flags::Flags;
use super::output::answer;
use super::relay::complain;
use crate::config::{self, EXAMPLE, Sources};
use crate::domain::shell_word;

/// Writes the commented configuration to `file` (`-`: stdout). Without `file`, writes it to the first place where the
/// relay looks for a configuration. An existing file is never changed.
pub(super) fn init(flags: &Flags, file: Option<&Path>) -> Exit {
    if file == Some(Path::new("-")) {
        return answer(EXAMPLE);
    }
    let usual = config::place_of_file(&Sources::from_process(flags.overrides()));
    let file = file.unwrap_or(&usual);
    match write_new(file) {
        Ok(()) => {
            let shown = file.display();
            // If `--config` named the place, the relay finds the file only if it gets the same flag.
            let is_found = file == usual && flags.config.is_none();
            let named = if is_found { String::new() } else { format!(" --config {}", shell_word(&shown.to_string())) };
            answer(&format!(
                "wrote {shown}; every setting in it is commented out, and its first lines show sinks to add\nnext: joltsms-relay check{named}\n"
            ))
        }
        // `create_dir_all` also fails with `AlreadyExists` if there is a file in place of the directory.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && file.symlink_metadata().is_ok() => {
            let hint = "`joltsms-relay init -` prints a new one";
            complain(Exit::Failure, &format_args!("{} is there already, and was left as it is; {hint}", file.display()))
        }
        Err(error) => complain(Exit::Failure, &format_args!("cannot write {}: {error}", file.display())),
    }
}

/// Makes the file so that only its own user may read it. Secrets do not belong in the file, but people write them there
/// nevertheless.
fn write_new(file: &Path) -> std::io::Result<()> {
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let written = new.write_all(EXAMPLE.as_bytes()).and_then(|()| new.sync_all());
    if written.is_err() {
        // An incomplete file would look like a complete one, so it is removed. An error of the removal is ignored,
        // because the error of the writing matters more.
        drop(fs::remove_file(file));
    }
    written
}

/// Prints the JSON Schema of the configuration.
pub(super) fn schema() -> Exit {
    answer(&config::schema())
}
