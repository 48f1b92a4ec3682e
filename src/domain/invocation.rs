//! The beginning of a command line that calls this program with the same configuration and state. If a hint to the
//! operator names a command, the command begins with it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The name of the program, with the flags `--config` and `--state-dir` as the operator gave them. Displays as the
/// beginning of a command line for a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation(Arc<str>);

impl Invocation {
    /// Makes the beginning of a command line with these flags.
    pub fn new(config: Option<&Path>, state_dir: Option<&Path>) -> Self {
        let flags = [("--config", config), ("--state-dir", state_dir)];
        let flags = flags.into_iter().filter_map(|(flag, path)| Some((flag, path?)));
        let flags = flags.map(|(flag, path)| format!(" {flag} {}", shell_word(&path.to_string_lossy())));
        Self(format!("joltsms-relay{}", flags.collect::<String>()).into())
    }
}

/// The default is the program without flags.
impl Default for Invocation {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Writes a text so that a shell reads it as one word: in quotes where that is necessary.
pub fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_the_operator_are_repeated() {
        let with = |config: Option<&str>, state: Option<&str>| {
            Invocation::new(config.map(Path::new), state.map(Path::new)).to_string()
        };
        assert_eq!(with(None, None), "joltsms-relay");
        assert_eq!(with(Some("/etc/shop.toml"), None), "joltsms-relay --config /etc/shop.toml");
        assert_eq!(
            with(Some("a b.toml"), Some("it's/state")),
            r"joltsms-relay --config 'a b.toml' --state-dir 'it'\''s/state'"
        );
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("$(x)"), "'$(x)'");
    }
}
