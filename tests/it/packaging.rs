//! Tests that README, gates, service units and container agree with the code.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use joltsms_simulator::{Options, Simulator};

const PROGRAM: &str = env!("CARGO_BIN_EXE_joltsms-relay");
const UNITS: [&str; 2] = ["systemd/joltsms-relay.service", "systemd/joltsms-relay@.service"];
const KEY: (&str, &str) = ("JOLTSMS_API_KEY", "jolt_sk_0123456789abcdef0123456789abcdef");

#[test]
fn the_readme_begins_with_two_commands_that_ci_runs_too() {
    let readme = read("README.md");
    let commands = commands(&readme);
    let position = |command: &str| commands.iter().position(|found| found == command);
    let (demo, tests) = ("cargo run --example demo", "cargo test --workspace");
    assert!(position(demo).is_some_and(|at| at < 2) && position(tests).is_some_and(|at| at < 2), "{commands:?}");
    assert!(read(".ci/run").lines().any(|line| line == format!("tests() {{ run {tests}; }}")));
    assert!(root().join("examples/demo.rs").exists());
    for command in [demo, tests] {
        assert!(read("justfile").lines().any(|line| line.trim() == command), "{command}");
    }
}

#[test]
fn just_runs_what_ci_runs() {
    let (ci, justfile) = (read(".ci/run"), read("justfile"));
    let gates = ci.lines().find_map(|line| line.strip_prefix("gates=(")?.strip_suffix(')')).unwrap();
    let gates: Vec<&str> = gates.split_whitespace().collect();
    for gate in &gates {
        let begin = ci.find(&format!("\n{gate}() ")).unwrap_or_else(|| panic!("{gate} is no function of .ci/run"));
        let body = ci[begin..].split("\n}").next().unwrap();
        // Commands that install and build tools for a gate are not part of the gate.
        let commands = body.split("run ").skip(1).filter_map(|rest| rest.lines().next());
        let commands = commands.map(|line| line.trim_end_matches([' ', '}', ';']).replace('"', "'"));
        for command in commands.filter(|command| command.starts_with("cargo") || command.starts_with("env")) {
            if !["install", "build"].iter().any(|verb| command.contains(&format!("cargo {verb}"))) {
                assert!(justfile.lines().any(|line| line.trim() == command), "{gate}: `{command}` is not in justfile");
            }
        }
        let recipe = |line: &str| line == format!("{gate}:");
        assert!(justfile.lines().any(recipe), "justfile has no recipe for {gate}");
    }
    assert!(justfile.contains("\nci:\n    .ci/run\n"));
}

#[test]
fn the_ci_script_can_be_run() {
    let path = root().join(".ci/run");
    assert_ne!(fs::metadata(&path).unwrap().permissions().mode() & 0o100, 0, "not executable");
    assert!(read(".ci/run").contains("\nset -euo pipefail\n"));
    expect_success(Command::new("bash").arg("-n").arg(path));
}

#[test]
fn every_configuration_in_the_documents_for_users_is_valid() {
    let configurations = blocks(&documents_for_users(), "toml");
    assert!(configurations.len() >= 10, "{}", configurations.len());
    for configuration in configurations {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, &configuration).unwrap();
        let url = ("CRM_URL", "https://crm.example.com/hooks/sms?token=hunter2");
        let secret = ("CRM_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let old = ("CRM_OLD_SECRET", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let token = ("JOLTSMS_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef");
        let shop = ("SHOP_API_KEY", KEY.1);
        let slack = ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/hunter2");
        let home = ("HOME_ASSISTANT_WEBHOOK_URL", "http://homeassistant.example:8123/api/webhook/hunter2");
        // The usual variable would take precedence over the key of a file that names another variable.
        let key = if configuration.contains("SHOP_API_KEY") { shop } else { KEY };
        let variables = [key, url, secret, old, token, slack, home];
        let said = expect_success(relay(dir.path(), &variables).arg("check").arg("--config").arg(&file));
        assert!(
            !said.contains("warning") && !said.contains("hunter2") && !said.contains("whsec"),
            "{configuration}\n{said}"
        );
    }
}

#[test]
fn the_documents_for_users_name_commands_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let help = expect_success(relay(dir.path(), &[]).arg("--help"));
    for command in commands(&documents_for_users()) {
        // What follows a pipe is the command of another program.
        let command = command.split(" | ").next().unwrap();
        let mut words = command.split_whitespace().skip_while(|word| *word != "joltsms-relay").skip(1);
        let verb = words.next().filter(|verb| verb.starts_with(char::is_alphabetic));
        // The first word may also be the name of a container or a unit, and not a program.
        if let Some(verb) = verb.filter(|_| command.starts_with("joltsms-relay")) {
            assert!(help.lines().any(|line| line.starts_with(&format!("  {verb} "))), "{command}");
        }
        for flag in words.filter(|word| word.starts_with("--") && command.starts_with("joltsms-relay")) {
            let help = expect_success(relay(dir.path(), &[]).args([verb.unwrap_or("run"), "--help"]));
            let flag = flag.split('=').next().unwrap();
            assert!(help.contains(flag), "{command}: {flag}");
        }
    }
}

#[test]
fn the_documents_and_the_help_agree_on_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let help = expect_success(relay(dir.path(), &[]).arg("--help"));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, codes) = help.split_once("Exit codes: ").unwrap();
    let numbers = |text: &str| {
        let parts = text.split(|next: char| !next.is_ascii_digit());
        parts.filter_map(|part| part.parse().ok()).collect::<Vec<u8>>()
    };
    let documented = read("docs/commands.md");
    let rows = documented.lines().filter_map(|line| line.strip_prefix("| ")).filter_map(|row| row.split_once(" |"));
    let rows: Vec<u8> = rows.flat_map(|(code, _)| numbers(code)).collect();
    assert_eq!(rows, numbers(codes), "docs/commands.md (left), --help (right)");
}

#[test]
fn the_units_say_what_the_program_needs() {
    for name in UNITS {
        let unit = read(name);
        let has = |line: &str| unit.lines().any(|found| found == line);
        for line in [
            "Type=notify-reload",
            "NotifyAccess=main",
            "DynamicUser=yes",
            "StateDirectoryMode=0700",
            "Restart=on-failure",
            "RestartPreventExitStatus=2 65 78 243",
            "Environment=JOLTSMS_API_KEY_FILE=%d/joltsms-api-key",
            "Environment=JOLTSMS_BOOT_ID=%b",
            "ProtectSystem=strict",
            "CapabilityBoundingSet=",
        ] {
            assert!(has(line), "{name}: {line}");
        }
        assert!(value(&unit, "LoadCredential").starts_with("joltsms-api-key:/etc/joltsms-relay/"), "{name}");
        let seconds = |key| value(&unit, key).strip_suffix('s').unwrap().parse::<u32>().unwrap();
        // `daemon::drain` gives attempts under way 8 seconds, and delivery gives the last results 2 more.
        assert!(seconds("TimeoutStopSec") >= 20, "{name}");
        // `daemon::watchdog` stops feeding systemd's watchdog after a standstill of 20 seconds.
        assert!(seconds("WatchdogSec") > 20, "{name}");
        // A longer pause would delay messages after every crash.
        assert!((2..=5).contains(&seconds("RestartSec")), "{name}");
    }
}

#[test]
fn the_unit_for_many_differs_only_in_names() {
    let settings = |name: &str| -> Vec<String> {
        let unit = read(name);
        let settings = unit.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let general = |line: &str| {
            line.replace(" --config /etc/joltsms-relay/%i.toml", "")
                .replace("%i.api-key", "api-key")
                .replace("joltsms-relay-%i", "joltsms-relay")
                .replace(" for %i", "")
        };
        settings.map(general).collect()
    };
    assert_eq!(settings(UNITS[0]), settings(UNITS[1]));
}

#[test]
fn the_units_name_files_that_there_are() {
    let drop_in = "before-systemd-253.conf";
    assert!(root().join("systemd").join(drop_in).exists());
    for name in UNITS {
        let (head, _) = read(name).split_once("[Unit]").map(|(head, unit)| (head.to_owned(), unit.to_owned())).unwrap();
        assert!(head.contains(drop_in) && head.contains("systemd 253"), "{name}");
    }
    let unit = read(&format!("systemd/{drop_in}"));
    let settings: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(settings, ["[Service]", "Type=notify", "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'"]);
}

#[test]
fn systemd_accepts_the_units() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("systemd is not installed: not checked here");
        return;
    };
    let version = String::from_utf8(version.stdout).unwrap();
    let version: u32 = version.split_whitespace().nth(1).unwrap().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for name in UNITS {
        let file = Path::new(name).file_name().unwrap();
        let copy = dir.path().join(file);
        fs::write(&copy, read(name).replace("/usr/local/bin/joltsms-relay", PROGRAM)).unwrap();
        let drop_ins = dir.path().join(format!("{}.d", file.display()));
        fs::create_dir(&drop_ins).unwrap();
        fs::copy(root().join("systemd/before-systemd-253.conf"), drop_ins.join("before-systemd-253.conf")).unwrap();
        let Output { status, stdout, stderr } =
            Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        // An older systemd names the line which the drop-in replaces.
        let is_expected = |line: &str| version < 253 && line.ends_with("service type, ignoring: notify-reload");
        assert!(status.success() && said.lines().all(is_expected), "{name}: {said}");
        // The threshold is given in tenths: an exposure of at most 1.2.
        let mut security = Command::new("systemd-analyze");
        expect_success(security.args(["security", "--no-pager", "--offline=true", "--threshold=12"]).arg(&copy));
    }
}

#[test]
fn the_scripts_of_the_test_beds_can_be_run() {
    let script = root().join("tests/packaging/systemd.sh");
    assert_ne!(fs::metadata(&script).unwrap().permissions().mode() & 0o100, 0, "not executable");
    for file in [script, root().join("tests/packaging/lib.sh")] {
        expect_success(Command::new("bash").arg("-n").arg(file));
    }
}

#[test]
fn the_image_runs_without_root_and_owns_its_state_directory() {
    let dockerfile = read("Dockerfile");
    let instructions = dockerfile.replace("\\\n", " ");
    let last_stage: Vec<&str> = instructions.rsplit("\nFROM ").next().unwrap().lines().collect();
    let argument = |instruction: &str| {
        let mut found = last_stage.iter().filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
        let one = found.next().unwrap_or_else(|| panic!("no {instruction}"));
        assert_eq!(found.next(), None, "a second {instruction}");
        one
    };
    let user = argument("USER");
    let (uid, gid) = user.split_once(':').unwrap();
    assert!(uid.parse::<u32>().unwrap() > 0 && gid.parse::<u32>().unwrap() > 0);
    assert_eq!(last_stage[0], "gcr.io/distroless/cc-debian12:nonroot");
    assert_eq!(argument("STOPSIGNAL"), "SIGTERM");
    assert_eq!(argument("ENTRYPOINT"), r#"["joltsms-relay"]"#);
    // For a `VOLUME`, Docker would keep an anonymous volume with messages after the container is removed.
    assert!(!dockerfile.contains("\nVOLUME"));
    let state = "/var/lib/joltsms-relay";
    // The user of the image may write to the state directory, and so may every other user in group 0.
    assert!(last_stage.contains(&format!("COPY --from=build --chown={uid}:0 /out/state/ /var/lib/").as_str()));
    assert!(dockerfile.contains("install -d -m 0770 /out/state/joltsms-relay\n"));
    let version = format!("org.opencontainers.image.version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(dockerfile.matches(&version).count(), 2, "{version}");
    assert!(!dockerfile.starts_with("# syntax="), "a build would ask a registry for the syntax");

    let mut settings: Vec<(&str, &str)> =
        argument("ENV").split_whitespace().map(|setting| setting.split_once('=').unwrap()).collect();
    assert!(settings.contains(&("JOLTSMS_RELAY_STATE__DIR", state)));
    assert!(settings.contains(&("JOLTSMS_RELAY_LOG__FORMAT", "json")));
    settings.extend([
        KEY,
        ("JOLTSMS_RELAY_SINKS__CRM__TYPE", "http"),
        ("JOLTSMS_RELAY_SINKS__CRM__URL", "https://crm.example.com/hooks/sms"),
    ]);
    let check = argument("HEALTHCHECK").rsplit(" CMD ").next().unwrap();
    let check: Vec<String> = serde_json::from_str(check).unwrap();
    assert_eq!(check[0], "joltsms-relay");
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("state").display().to_string();
    let unhealthy = relay(dir.path(), &[("JOLTSMS_RELAY_STATE__DIR", &empty)]).args(&check[1..]).output().unwrap();
    assert_eq!(unhealthy.status.code(), Some(1), "it is a command that there is, and nothing runs");
    let said = expect_success(relay(dir.path(), &settings).arg("check"));
    let shown = said.lines().find_map(|line| line.strip_prefix("state")).unwrap();
    assert_eq!(shown.trim(), state);
    assert!(said.contains("https://crm.example.com/"), "{said}");
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let (dockerfile, ignored) = (read("Dockerfile"), read(".dockerignore"));
    let sent: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignored.lines().any(|line| line == "*"), "everything else stays out: the state, keys, target");
    let copies =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.contains("--from"));
    for copy in copies {
        let words: Vec<&str> = copy.split_whitespace().collect();
        let (_, from) = words.split_last().unwrap();
        for source in from {
            assert!(root().join(source).exists() && sent.contains(source), "COPY {source}");
        }
    }
    // Cargo looks for every target of the manifest that has no path, but these folders are not sent to the build.
    let manifest = read("Cargo.toml");
    for target in manifest
        .split("\n[")
        .filter(|table| ["[bench]]", "[test]]", "[example]]"].iter().any(|kind| table.starts_with(kind)))
    {
        assert!(target.contains("\npath = "), "{target}");
    }
    // Files that the sources include at build time must be sent to the build as well.
    let config = read("src/config/mod.rs");
    assert!(config.contains("include_str!(\"../../config.example.toml\")") && sent.contains(&"config.example.toml"));
}

#[tokio::test]
async fn docker_compose_knows_the_key_of_the_simulated_account() {
    let compose = read("compose.yaml");
    assert!(compose.contains(r#"command: ["--seed", "7","#));
    let simulator = Simulator::start(Options { seed: 7, ..Options::default() }).await.unwrap();
    assert!(compose.contains(&format!("JOLTSMS_API_KEY: \"{}\"\n", simulator.key())), "{}", simulator.key());
}

#[test]
fn the_kubernetes_manifest_agrees_with_the_image() {
    let (manifest, dockerfile) = (read("deploy/kubernetes.yaml"), read("Dockerfile"));
    for user in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert!(manifest.contains(&format!("\n        {user}: 65532\n")), "{user}");
    }
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));
    assert!(dockerfile.contains("JOLTSMS_RELAY_STATE__DIR=/var/lib/joltsms-relay "));
    assert!(manifest.contains("mountPath: /var/lib/joltsms-relay\n"));
    assert!(manifest.contains(&format!("/joltsms-relay:{}\n", env!("CARGO_PKG_VERSION"))));
    // The configuration of the ConfigMap, which is indented by four spaces.
    let (_, rest) = manifest.split_once("  config.toml: |\n").unwrap();
    let lines = rest.lines().map_while(|line| if line.is_empty() { Some("") } else { line.strip_prefix("    ") });
    let configuration = lines.collect::<Vec<_>>().join("\n");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("api-key"), KEY.1).unwrap();
    let secrets = dir.path().display().to_string();
    let file = dir.path().join("config.toml");
    fs::write(&file, configuration.replace("/run/secrets/joltsms-relay", &secrets)).unwrap();
    let said = expect_success(relay(dir.path(), &[]).arg("check").arg("--config").arg(&file));
    assert!(said.contains("https://crm.example.com/") && !said.contains("warning"), "{said}");
}

#[test]
fn the_debian_package_has_files_that_there_are() {
    let manifest = read("Cargo.toml");
    let (_, package) = manifest.split_once("[package.metadata.deb]").unwrap();
    let package = package.split("\n[").next().unwrap();
    let build = read("packaging/deb/build.sh");
    let sources: Vec<&str> =
        package.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next()).collect();
    assert!(sources.len() > 10, "{package}");
    for source in sources {
        let is_there = match source.strip_prefix("target/release/") {
            Some("joltsms-relay") => true,
            Some(made) => {
                let file = made.strip_prefix("deb-files/").unwrap();
                build.contains(&format!("$files/{file}")) || UNITS.contains(&&*format!("systemd/{file}"))
            }
            None => root().join(source.trim_end_matches("/*.md")).exists(),
        };
        assert!(is_there, "{source}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let path = root().join("packaging/deb").join(script);
        assert_ne!(fs::metadata(&path).unwrap().permissions().mode() & 0o100, 0, "{script} is not executable");
        expect_success(Command::new("sh").arg("-n").arg(path));
    }
}

#[test]
fn the_changelog_knows_this_version() {
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").lines().any(|line| line.starts_with(&heading)), "{heading}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns README.md and the documents that explain how to set up and run a relay.
fn documents_for_users() -> String {
    let names = ["README.md", "docs/guide.md", "docs/operations.md", "docs/recipes.md", "docs/signing.md"];
    names.map(read).concat()
}

/// Returns a command that starts the relay without this machine's environment and configuration.
fn relay(home: &Path, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).envs(environment.iter().copied()).current_dir(home);
    command
}

/// Runs a command that must succeed. Returns the command's output on both streams.
fn expect_success(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{command:?}: {status}\n{said}");
    said
}

/// Returns the only value of a key in a unit.
fn value<'u>(unit: &'u str, key: &str) -> &'u str {
    unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_else(|| panic!("no {key}"))
}

/// Returns the fenced blocks of a language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let begins = |line: &str| line.strip_prefix("```").is_some_and(|info| info.split(' ').next() == Some(language));
    let (mut found, mut block) = (Vec::new(), None);
    for line in markdown.lines() {
        match &mut block {
            None if begins(line) => block = Some(String::new()),
            Some(_) if line == "```" => found.extend(block.take()),
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    found
}

/// Returns the commands of a document, without their comments and without the variables before them. Continued lines
/// are joined.
fn commands(markdown: &str) -> Vec<String> {
    let text = blocks(markdown, "sh").concat().replace("\\\n", " ");
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or(line).trim());
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_variable = |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.starts_with('-'));
    lines.map(|line| line.split_whitespace().skip_while(is_variable).collect::<Vec<_>>().join(" ")).collect()
}
