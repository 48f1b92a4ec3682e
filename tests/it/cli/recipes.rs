//! Runs the recipes of docs/recipes.md as they stand there. Each code block names its file in its first lines.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use joltsms_simulator::NewMessage;

use crate::support::prerequisites::{all_there, libraries, missing_libraries, missing_programs, program};
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::waiting::wait_until;

/// Returns the code block that names this file.
fn block(file: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).unwrap();
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let names_file = |code: &&str| code.lines().take(2).any(|line| line.contains(file));
    blocks.map(|(_, code)| code).find(names_file).unwrap_or_else(|| panic!("no block of {file}")).to_owned()
}

/// Writes an executable file.
fn put(scene: &Scene, name: &str, text: &str) {
    let path = scene.dir().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes a scene with a relay, the blocks of these files, and the two programs that the recipes call.
fn scene(files: &[&str]) -> (Scene, Relay) {
    let scene = Scene::new();
    let relay = scene.setup().set("SINKS__OUT__TYPE", "stdout").start();
    scene.wait_for_polls(2);
    for file in files {
        put(&scene, file, &block(file));
    }
    put(&scene, "request-code", "#!/bin/sh\necho \"$1\" >requested.part && mv requested.part requested\n");
    put(&scene, "enter-code", "#!/bin/sh\necho \"$1\" >entered\n");
    (scene, relay)
}

/// Prepares this command to run in the scene, with the relay's program in its path.
fn prepared(scene: &Scene, number: &str, program: &Path, arguments: &[&str]) -> Setup {
    let bin = Path::new(env!("CARGO_BIN_EXE_joltsms-relay")).parent().unwrap().display().to_string();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(scene.dir());
    let path = std::env::var("PATH").unwrap();
    Setup::by(command, scene.dir()).env("PATH", &format!("{bin}:{path}")).env("SMS_NUMBER", number)
}

/// Runs the command. When it has asked for a code, the code arrives. Returns the exit code.
fn run(scene: &Scene, mut setup: Setup, number: &str, code: &str) -> (Option<i32>, String) {
    fs::remove_file(scene.dir().join("requested")).ok();
    let mut running = setup.start();
    wait_until("the request of a code", || scene.dir().join("requested").exists(), || running.log());
    scene.handle().add(NewMessage::new().number(number).body(format!("code {code}")).code(code));
    let status = running.wait();
    (status.code(), running.log() + &running.rest().join("\n"))
}

fn number(scene: &Scene) -> String {
    scene.handle().numbers()[0].phone_number.clone()
}

#[test]
fn a_shell_script_enters_the_code_of_each_run() {
    let (scene, mut relay) = scene(&["sign-in.sh"]);
    let number = number(&scene);
    for code in ["4711", "4712"] {
        let setup = prepared(&scene, &number, &scene.dir().join("sign-in.sh"), &[]);
        let (exit, log) = run(&scene, setup, &number, code);
        assert_eq!(exit, Some(0), "{log}");
        assert_eq!(fs::read_to_string(scene.dir().join("entered")).unwrap().trim(), code);
    }
    assert!(relay.stop().success());
}

#[test]
fn node_gets_the_code() {
    if !all_there(&missing_programs(&["node"])) {
        return;
    }
    let (scene, mut relay) = scene(&["sms.mjs"]);
    let number = number(&scene);
    put(
        &scene,
        "use.mjs",
        "import { execFileSync } from 'node:child_process';\nimport { smsCode } from './sms.mjs';\n\
         execFileSync('./request-code', [process.env.SMS_NUMBER]);\n\
         execFileSync('./enter-code', [await smsCode(process.env.SMS_NUMBER)]);\n",
    );
    let setup = prepared(&scene, &number, &program("node").unwrap(), &["use.mjs"]);
    let (exit, log) = run(&scene, setup, &number, "4711");
    assert_eq!(exit, Some(0), "{log}");
    assert_eq!(fs::read_to_string(scene.dir().join("entered")).unwrap().trim(), "4711");
    assert!(block("sign-in.spec.mjs").contains("await smsCode(number)"));
    assert!(relay.stop().success());
}

#[test]
fn pytest_gets_the_code() {
    if !all_there(&missing_libraries(&["venv/bin/pytest"])) {
        return;
    }
    let (scene, mut relay) = scene(&["conftest.py", "test_sign_in.py"]);
    let number = number(&scene);
    let setup = prepared(&scene, &number, &libraries().join("venv/bin/pytest"), &["-q", "-p", "no:cacheprovider"]);
    let (exit, log) = run(&scene, setup, &number, "4711");
    assert_eq!(exit, Some(0), "{log}");
    assert_eq!(fs::read_to_string(scene.dir().join("entered")).unwrap().trim(), "4711");
    assert!(relay.stop().success());
}

#[test]
fn the_senders_of_new_messages_are_printed() {
    if !all_there(&missing_programs(&["jq"])) {
        return;
    }
    let (scene, mut relay) = scene(&["senders.sh"]);
    let mut senders = prepared(&scene, "", &scene.dir().join("senders.sh"), &[]).start();
    let registered = || fs::read_dir(scene.dir().join("state/readers")).is_ok_and(|mut found| found.next().is_some());
    wait_until("a reader", registered, || senders.log());
    scene.wait_for_polls(2);
    scene.handle().add(NewMessage::new().from("+18005550000"));
    assert_eq!(senders.line(), "+18005550000");
    senders.kill();
    assert!(relay.stop().success());
}
