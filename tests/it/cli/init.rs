//! Tests of `init` and `schema`, the commands with which a new user begins.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::scene::Scene;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

fn init(dir: &Path) -> Setup {
    Setup::bare(dir).args(&["init"])
}

#[test]
fn init_writes_the_commented_configuration_where_the_relay_looks() {
    type Place = (fn(&Path) -> Setup, &'static str);
    let cases: [(&str, Place); 5] = [
        ("the home", (|dir| init(dir), ".config/joltsms-relay/config.toml")),
        (
            "the XDG directory",
            (|dir| init(dir).env("XDG_CONFIG_HOME", &shown(dir, "xdg")), "xdg/joltsms-relay/config.toml"),
        ),
        ("a variable", (|dir| init(dir).env("JOLTSMS_RELAY_CONFIG", &shown(dir, "named.toml")), "named.toml")),
        ("the flag", (|dir| init(dir).args(&["--config", &shown(dir, "deep/down/a.toml")]), "deep/down/a.toml")),
        ("an argument", (|dir| init(dir).args(&[&shown(dir, "b.toml")]), "b.toml")),
    ];
    side_by_side(&cases, |(setup, place)| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(place);
        let (code, stdout, log) = setup(dir.path()).output();
        assert_eq!((code, log.as_str()), (0, ""));
        assert!(stdout.starts_with(&format!("wrote {}; ", file.display())), "{stdout}");
        assert_eq!(fs::read_to_string(&file).unwrap(), EXAMPLE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let next = match *place {
            "deep/down/a.toml" | "b.toml" => format!("next: joltsms-relay check --config {}", file.display()),
            _ => "next: joltsms-relay check".to_owned(),
        };
        assert_eq!(stdout.lines().last(), Some(next.as_str()));
        let (code, stdout, log) = setup(dir.path()).output();
        assert_eq!((code, stdout.as_str()), (1, ""), "a second time");
        assert!(log.contains(&format!("{} is there already, and was left as it is", file.display())), "{log}");
    });
}

fn shown(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

#[test]
fn what_init_wrote_is_a_configuration_that_changes_nothing() {
    let scene = Scene::new();
    let (code, _, log) = Setup::bare(scene.dir()).args(&["init"]).output();
    assert_eq!(code, 0, "{log}");
    let (code, stdout, log) = scene.setup().args(&["check"]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    let file = scene.dir().join(".config/joltsms-relay/config.toml");
    assert!(stdout.contains(&format!("configuration  valid ({})", file.display())), "{stdout}");
    assert!(stdout.contains("sink           stdout: standard output"), "{stdout}");
}

#[test]
fn init_never_writes_over_anything() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    let link = dir.path().join("link.toml");
    fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere.toml"), &link).unwrap();
    for path in [&file, &link] {
        let (code, stdout, log) = init(dir.path()).args(&[path.to_str().unwrap()]).output();
        assert_eq!((code, stdout.as_str()), (1, ""), "{log}");
        assert!(log.contains("is there already"), "{log}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(!dir.path().join("elsewhere.toml").exists(), "not through a link either");
    // No user, not even root, can make a file there.
    let (code, _, log) = init(dir.path()).args(&["/dev/null/config.toml"]).output();
    assert_eq!(code, 1);
    assert!(log.contains("joltsms-relay: cannot write /dev/null/config.toml: "), "{log}");
}

#[test]
fn init_and_schema_answer_on_stdout() {
    let dir = tempfile::tempdir().unwrap();
    let (code, stdout, log) = init(dir.path()).args(&["-"]).output();
    assert_eq!((code, stdout + "\n", log.as_str()), (0, EXAMPLE.to_owned(), ""));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and touches nothing");
    let (code, stdout, log) = Setup::bare(dir.path()).args(&["schema"]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(schema["properties"]["poll"]["properties"]["interval"]["default"], "1s");
    assert_eq!(schema["additionalProperties"], false);
}
