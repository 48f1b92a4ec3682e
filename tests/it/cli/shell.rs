//! Tests of what the program prints for shells and for `man`.

use std::fs;
use std::process::Command;

use crate::support::relay::Setup;

fn printed(arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (code, stdout, log) = Setup::bare(dir.path()).args(arguments).output();
    assert_eq!((code, log.as_str()), (0, ""), "{arguments:?}");
    stdout
}

#[test]
fn bash_completes_commands_and_flags() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("joltsms-relay.bash");
    fs::write(&script, printed(&["completions", "bash"])).unwrap();
    for (line, expected) in [
        ("joltsms-relay dead-l", "dead-letters"),
        ("joltsms-relay sinks re", "resume"),
        ("joltsms-relay status --js", "--json"),
        ("joltsms-relay completions z", "zsh"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let last = words.len() - 1;
        let program = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD={last}; _joltsms__relay joltsms-relay {} {}; echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            words[last],
            words[last - 1],
        );
        let output = Command::new("bash").args(["--norc", "-c", &program]).output().unwrap();
        let found = String::from_utf8_lossy(&output.stdout);
        assert!(found.split_whitespace().any(|word| word == expected), "{line}: {found:?} {output:?}");
    }
}

#[test]
fn each_shell_has_a_script() {
    for (shell, beginning) in [("zsh", "#compdef joltsms-relay"), ("fish", "#"), ("elvish", "\n"), ("powershell", "\n")]
    {
        let script = printed(&["completions", shell]);
        assert!(script.starts_with(beginning) && script.contains("dead-letters"), "{shell}: {}", &script[..200]);
    }
    let dir = tempfile::tempdir().unwrap();
    let (code, _, log) = Setup::bare(dir.path()).args(&["completions", "tcsh"]).output();
    assert!(code == 2 && log.contains("bash, elvish, fish, powershell, zsh"), "{log}");
}

#[test]
fn the_manual_page_has_every_command() {
    let page = printed(&["man"]);
    assert!(page.lines().any(|line| line.starts_with(".TH joltsms-relay 1")), "{page}");
    let help = printed(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().lines().skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands.into_iter().filter(|command| !["", "help"].contains(command)) {
        let heading = format!(".SS \"joltsms-relay {command}");
        assert!(page.lines().any(|line| line.starts_with(&heading)), "{heading}\n{page}");
    }
}
