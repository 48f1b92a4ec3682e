//! Tests that the README names every switch, effect and route.

use joltsms_simulator::{
    BadRow, CursorKind, CursorText, Effect, Ending, ErrorBody, Ids, LimitScope, LimitText, Malformed, Missing,
    RateHeaders, Rent, ResetRounding, Since, SortBy, Switches, Ties, UnknownNumber, WindowKind, WrongType,
};
use serde::de::DeserializeOwned;

use crate::client::{Request, start};

/// Returns the possible values of a type. serde lists them in its error for a value that does not exist.
fn values<T: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
    let problem = serde_json::from_str::<T>("\"no such thing\"");
    let text = problem.unwrap_err().to_string();
    let (_, expected) = text.split_once("expected").unwrap();
    let names: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(names.len() > 1, "{text}");
    names
}

#[test]
fn the_readme_names_every_switch_effect_and_route() {
    let readme = include_str!("../../README.md");
    let switches = serde_json::to_value(Switches::default()).unwrap();
    let mut names: Vec<String> = switches.as_object().unwrap().keys().cloned().collect();
    assert!(names.len() > 20);
    for more in [
        names_of_switch_values(),
        values::<Effect>(),
        values::<ErrorBody>(),
        values::<Ending>(),
        values::<Malformed>(),
        values::<WrongType>(),
        values::<BadRow>(),
        values::<RateHeaders>(),
    ] {
        names.extend(more);
    }
    for name in names {
        let quoted = [format!("`{name}`"), format!("\"{name}\""), format!("`{name}:"), format!("{name}`:")];
        assert!(quoted.iter().any(|quoted| readme.contains(quoted.as_str())), "{name}");
    }
    let routes = Request::new("GET", "/_simulator").send(&start()).json();
    for route in routes["routes"].as_array().unwrap() {
        let path = route.as_str().unwrap().split(' ').nth(1).unwrap();
        let shown = path.replace("messages/ID", "messages/m1").replace("keys/ID", "keys/ci").replace("NUMBER", "1");
        let shown = shown.replace("numbers/ID", "numbers/+16505550123");
        assert!(readme.contains(&format!("$url{shown}")), "{route}");
    }
}

fn names_of_switch_values() -> Vec<String> {
    [
        values::<SortBy>(),
        values::<Ties>(),
        values::<Since>(),
        values::<UnknownNumber>(),
        values::<CursorKind>(),
        values::<CursorText>(),
        values::<Missing>(),
        values::<Ids>(),
        values::<WindowKind>(),
        values::<LimitScope>(),
        values::<ResetRounding>(),
        values::<LimitText>(),
        values::<Rent>(),
    ]
    .concat()
}

#[test]
fn every_curl_command_of_the_readme_succeeds() {
    let simulator = start();
    let readme = include_str!("../../README.md");
    let commands: Vec<&str> = readme.lines().filter(|line| line.starts_with("curl -s ")).collect();
    assert!(commands.len() > 40, "{}", commands.len());
    // After an outage has begun, the commands that follow would fail.
    for command in commands.into_iter().filter(|command| !command.contains("/outage")) {
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(command.replacen("curl -s ", "curl -sSf --noproxy '*' ", 1))
            .envs([("url", simulator.url()), ("key", simulator.key()), ("session", simulator.session())])
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
