//! Tests of the warnings about files that the user of a service may not use. Root runs `check`, and root may use every
//! file. So the warnings follow from the modes of the files, and not from trying to open them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::tests::{KEY, Machine};

const CRM: &str = "type = \"http\"\nurl = \"https://crm.example.com\"\n";

/// Returns the warnings about files that a user may not use who is neither their owner nor in their group. The path of
/// the machine's temporary directory is removed from the warnings.
fn warnings(machine: &Machine) -> Vec<String> {
    let warnings = closed_files(&machine.load(), &machine.path("etc"), ServiceUser::OwnerOfNothing);
    let root = machine.root.path().display().to_string();
    warnings.iter().map(|warning| warning.to_string().replace(&root, "")).collect()
}

fn set_mode(machine: &Machine, name: &str, mode: u32) {
    fs::set_permissions(machine.path(name), Permissions::from_mode(mode)).unwrap();
}

/// A machine with this text as the system's configuration file. Every user may read the file.
fn service(text: &str) -> Machine {
    let machine = Machine::new();
    machine.write("etc/joltsms-relay/config.toml", text);
    set_mode(&machine, "", 0o755);
    for directory in ["etc", "etc/joltsms-relay"] {
        set_mode(&machine, directory, 0o755);
    }
    set_mode(&machine, "etc/joltsms-relay/config.toml", 0o644);
    machine
}

#[test]
fn a_file_that_every_user_may_use_is_no_trouble() {
    let machine = service(&format!("[sinks.crm]\n{CRM}auth = {{ bearer = {{ file = \"token\" }} }}\n"));
    machine.write("etc/joltsms-relay/token", "a-token");
    set_mode(&machine, "etc/joltsms-relay/token", 0o644);
    assert_eq!(warnings(&machine), [""; 0]);
}

#[test]
fn each_use_of_a_closed_file_has_a_warning_with_its_remedy() {
    let service_runs = "the service runs as a user other than root who owns no files, and that user may not";
    let machine = service(&format!("[sinks.crm]\n{CRM}auth = {{ bearer = {{ file = \"token\" }} }}\n"));
    machine.write("etc/joltsms-relay/token", "a-token");
    set_mode(&machine, "etc/joltsms-relay/token", 0o640);
    let expected = format!(
        "/etc/joltsms-relay/config.toml: `sinks.crm.auth.bearer`: {service_runs} read /etc/joltsms-relay/token \
         (/etc/joltsms-relay/token has mode 0640); write {{ credential = \"token\" }}, and \
         LoadCredential=token:/etc/joltsms-relay/token in the unit (`systemctl edit`)"
    );
    assert_eq!(warnings(&machine), [expected]);

    let machine = service(&format!("[sinks.crm]\n{CRM}"));
    set_mode(&machine, "etc/joltsms-relay/config.toml", 0o600);
    let [itself] = &warnings(&machine)[..] else { panic!("{:?}", warnings(&machine)) };
    assert!(
        itself.contains("may not read /etc/joltsms-relay/config.toml (") && itself.contains("chmod 644"),
        "{itself}"
    );
    set_mode(&machine, "etc/joltsms-relay/config.toml", 0o644);
    set_mode(&machine, "etc/joltsms-relay", 0o700);
    let [above] = &warnings(&machine)[..] else { panic!("{:?}", warnings(&machine)) };
    assert!(above.contains("(/etc/joltsms-relay has mode 0700)"), "a directory on the way: {above}");
}

#[test]
fn a_link_in_a_closed_directory_leads_nowhere_although_its_target_is_open() {
    let machine = service(&format!("[sinks.crm]\n{CRM}auth = {{ bearer = {{ file = \"keys/token\" }} }}\n"));
    machine.write("etc/joltsms-relay/open-token", "a-token");
    set_mode(&machine, "etc/joltsms-relay/open-token", 0o644);
    fs::create_dir(machine.path("etc/joltsms-relay/keys")).unwrap();
    std::os::unix::fs::symlink("../open-token", machine.path("etc/joltsms-relay/keys/token")).unwrap();
    set_mode(&machine, "etc/joltsms-relay/keys", 0o755);
    assert_eq!(warnings(&machine), [""; 0]);
    set_mode(&machine, "etc/joltsms-relay/keys", 0o700);
    let [closed] = &warnings(&machine)[..] else { panic!("{:?}", warnings(&machine)) };
    assert!(closed.contains("(/etc/joltsms-relay/keys has mode 0700)"), "{closed}");
}

#[test]
#[cfg(all(feature = "sink-exec", feature = "sink-file"))]
fn programs_and_files_to_write_count_too() {
    let machine = service("");
    let closed = machine.path("closed");
    fs::create_dir(&closed).unwrap();
    set_mode(&machine, "closed", 0o700);
    let program = machine.write("program", "#!/bin/sh\n");
    set_mode(&machine, "program", 0o700);
    let sinks = format!(
        "[sinks.run]\ntype = \"exec\"\ncommand = [\"{}\"]\n[sinks.out]\ntype = \"file\"\npath = \"{}/%Y/sms.jsonl\"\n\
         [sinks.own]\ntype = \"file\"\npath = \"/var/lib/joltsms-relay/archive/sms.jsonl\"\n[log]\ndir = \"{}\"\n",
        program.display(),
        closed.display(),
        closed.display()
    );
    machine.write("etc/joltsms-relay/config.toml", &sinks);
    let mut told = warnings(&machine);
    told.sort_unstable();
    let [log, out, run] = &told[..] else { panic!("{told:?}") };
    let directory = "/closed has mode 0700); choose a path below /var/lib/joltsms-relay, or let systemd make a directory \
                     with StateDirectory= in the unit";
    assert!(log.contains("`log.dir`: ") && log.contains(directory), "{log}");
    assert!(out.contains("`sinks.out.path`: ") && out.contains("may not write to /closed/%Y/sms.jsonl"), "{out}");
    assert!(out.ends_with(directory), "{out}");
    assert!(
        run.contains("`sinks.run.command`: ") && run.contains("may not run /program (/program has mode 0700)"),
        "{run}"
    );
}

#[test]
fn files_that_only_variables_name_are_not_checked() {
    let machine = service(&format!("[sinks.crm]\n{CRM}"));
    let key = machine.write("etc/joltsms-relay/api-key", KEY);
    set_mode(&machine, "etc/joltsms-relay/api-key", 0o600);
    let machine = machine.unset("JOLTSMS_API_KEY").set("JOLTSMS_API_KEY_FILE", &key.display().to_string());
    assert_eq!(warnings(&machine), [""; 0]);
}

#[test]
fn the_owner_of_the_state_is_the_user_of_a_service() {
    let machine = service(&format!("[sinks.crm]\n{CRM}[state]\ndir = \"state\"\n"));
    let etc = machine.path("etc");
    let user = |machine: &Machine| service_user(&machine.load(), &etc);
    assert_eq!(user(&machine), Some(ServiceUser::OwnerOfNothing), "no relay has run yet");
    let state = machine.path("etc/joltsms-relay/state");
    fs::create_dir(&state).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(user(&machine).is_none(), is_root, "if root owns the state, the relay runs as root");
    if std::os::unix::fs::chown(&state, Some(61234), Some(61235)).is_ok() {
        assert_eq!(user(&machine), Some(ServiceUser::OwnerOfState(61234, 61235)));
    }
    assert_eq!(
        service_user(&Machine::with_file("").load(), &etc),
        None,
        "a file that is not below /etc belongs to no service"
    );
}

#[test]
fn a_mode_counts_for_the_owner_the_group_or_all_others() {
    let (owner, other) = (ServiceUser::OwnerOfState(7, 8), ServiceUser::OwnerOfNothing);
    for (user, of, mode, needed, expected) in [
        (owner, (7, 0), 0o600, READ, true),
        (owner, (7, 0), 0o066, READ, false),
        (owner, (0, 8), 0o640, READ, true),
        (owner, (0, 8), 0o604, READ, false),
        (owner, (0, 0), 0o604, READ, true),
        (owner, (0, 0), 0o640, READ, false),
        (other, (0, 0), 0o755, EXECUTE, true),
        (other, (0, 0), 0o770, EXECUTE, false),
        (other, (0, 0), 0o1777, WRITE | EXECUTE, true),
        (other, (0, 0), 0o755, WRITE | EXECUTE, false),
    ] {
        assert_eq!(allows(user, of, mode, needed), expected, "{user:?} {of:?} {mode:o}");
    }
}
