//! Tests of sinks of type `postgres`, with a server of Debian.

use std::fs;

use joltsms_relay::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_FAILS, SINK_WORKS_AGAIN};
use joltsms_simulator::NewMessage;

use super::server_sinks::{relay_with_sink, wait_until_delivered};
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::servers::postgres::PostgresDatabase;

/// Prepares a relay whose only sink adds rows to the table `sms`. `keys` are further keys of the sink.
fn relay_to(scene: &Scene, url: &str, keys: &str) -> Setup {
    relay_with_sink(scene, "warehouse", &format!("type = \"postgres\"\nurl = \"{url}\"\ntable = \"sms\"\n{keys}"))
}

#[test]
fn a_missing_table_pauses_the_sink_and_a_made_table_gets_each_message_once() {
    if !PostgresDatabase::is_installed() {
        return;
    }
    let scene = Scene::new();
    let database = PostgresDatabase::start(scene.dir());
    let setup = || relay_to(&scene, &database.url(), "");
    let message = NewMessage::new().from("Bank'); DROP TABLE sms; --").number("+16505550199");
    let id = scene.handle().add(message.body("Your code is 012345").code("012345"));
    let (code, said, log) = setup().args(&["check", "--online"]).output();
    assert!(code == 1 && said.contains("42P01: the table does not exist"), "{code} {said} {log}");
    let mut relay = setup().start();
    relay.wait_for_log("the server answers 42P01: the table does not exist");
    assert_eq!(relay.stop().code(), Some(0));
    for _ in 0..2 {
        let (code, said, log) = setup().args(&["sinks", "create-table", "warehouse"]).output();
        assert_eq!((code, said.as_str()), (0, "the table sms is there"), "{log}");
    }
    let (_, checked, log) = setup().args(&["check", "--online"]).output();
    assert!(checked.contains("the table takes rows at postgresql://"), "{checked} {log}");
    assert_eq!(database.query("SELECT count(*) FROM sms").trim(), "0", "check adds no row");
    let (code, _, log) = setup().args(&["sinks", "resume", "warehouse"]).output();
    assert_eq!(code, 0, "{log}");
    let mut relay = setup().start();
    wait_until_delivered(&scene, 1, &relay);
    let row = database.query("SELECT id, sender, recipient, code, payload::json ->> 'id' FROM sms");
    assert_eq!(row.trim(), format!("{id}|Bank'); DROP TABLE sms; --|+16505550199|012345|{id}"));
    let in_time =
        database.query("SELECT count(*) FROM sms WHERE received_at BETWEEN now() - interval '1 day' AND now()");
    assert_eq!(in_time.trim(), "1");
    assert_eq!(relay.stop().code(), Some(0));
    let (code, _, log) = setup().args(&["replay", "--id", &id]).output();
    assert_eq!(code, 0, "{log}");
    let mut relay = setup().start();
    wait_until_delivered(&scene, 1, &relay);
    assert_eq!(database.query("SELECT count(*) FROM sms").trim(), "1", "the table has each message once");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_lost_server_is_a_retry_and_a_refused_row_a_dead_letter() {
    if !PostgresDatabase::is_installed() {
        return;
    }
    let scene = Scene::new();
    let mut database = PostgresDatabase::start_with(scene.dir(), "trust", &["synchronous_commit=off".to_owned()]);
    database.query(
        "CREATE TABLE sms (id text PRIMARY KEY, received_at timestamptz, sender text CHECK (sender <> 'hunter2'), \
         recipient text, code text, payload text, \
         commits text DEFAULT current_setting('synchronous_commit'))",
    );
    let mut relay = relay_to(&scene, &database.url(), "").start();
    scene.add();
    wait_until_delivered(&scene, 1, &relay);
    assert_eq!(database.query("SELECT commits FROM sms").trim(), "on", "a commit waits for the disk");
    database.kill();
    scene.add();
    relay.wait_for_log(SINK_FAILS);
    database.start_again();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until_delivered(&scene, 2, &relay);
    scene.handle().add(NewMessage::new().from("hunter2"));
    relay.wait_for_log(MESSAGE_IS_DEAD);
    relay.wait_for_log("the server answers 23514: the table does not take this row");
    assert!(!relay.log().contains("hunter2"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn passwords_and_tls() {
    if !PostgresDatabase::is_installed() {
        return;
    }
    let scene = Scene::new();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| scene.dir().join(name).display().to_string();
    fs::write(path("cert.pem"), cert.pem()).unwrap();
    fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
    PostgresDatabase::give_key(&path("key.pem"));
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", path("cert.pem")),
        format!("ssl_key_file={}", path("key.pem")),
    ];
    let database = PostgresDatabase::start_with(scene.dir(), "scram-sha-256", &settings);
    let url = database.url().replace("127.0.0.1", "localhost");
    let trusted =
        format!("password = {{ env = \"P\" }}\nuser = \"relay\"\ntls = {{ ca_file = \"{}\" }}", path("cert.pem"));
    let online = |url: &str, keys: &str, password: &str| {
        let (code, said, log) = relay_to(&scene, url, keys).env("P", password).args(&["check", "--online"]).output();
        assert!(!said.contains("hunter2") && !log.contains("hunter2"), "{said} {log}");
        (code, said + &log)
    };
    let (code, said) = online(&url, &trusted, "hunter2-wrong");
    assert!(code == 1 && said.contains("the server answers 28P01: the login is refused"), "{code} {said}");
    let (_, made, log) = relay_to(&scene, &url, &trusted)
        .env("P", "hunter2-right")
        .args(&["sinks", "create-table", "warehouse"])
        .output();
    assert_eq!(made, "the table sms is there", "{log}");
    let (_, said) = online(&url, &trusted, "hunter2-right");
    assert!(said.contains("the table takes rows at postgresql://"), "{said}");
    let encrypted = database.query("SELECT 1");
    assert_eq!(encrypted.trim(), "1");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    fs::write(path("other.pem"), other.pem()).unwrap();
    let (code, said) = online(&url, &trusted.replace("cert.pem", "other.pem"), "hunter2-right");
    assert!(code == 1 && said.contains("certificate"), "{code} {said}");
}

#[test]
fn check_shows_the_row_and_refuses_what_makes_no_sense() {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    fs::write(&message, r#"{"id":"m.1","to":"+1650","from":"+1","body":"hello","receivedAt":"2026-01-31T08:00:00Z"}"#)
        .unwrap();
    let arguments = ["check", "--message", message.to_str().unwrap()];
    let (code, said, log) = relay_to(&scene, "postgresql://relay@db.example.com/sms", "").args(&arguments).output();
    assert_eq!(code, 0, "{log}");
    for part in [
        "PostgreSQL table sms at postgresql://…@db.example.com",
        "INSERT INTO \"sms\"",
        "id: m.1",
        "received_at: 2026-01-31T08:00:00Z",
        "code: NULL",
        "hello",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (url, keys, wrong) in [
        ("mysql://db.example", "", "must begin with postgresql:// or postgres://"),
        ("postgresql://db.example/x?sslmode=disable", "", "goes to another machine without encryption"),
        ("postgresql://db.example/x?sslmode=maybe", "", "has another sslmode"),
        (
            "postgresql://db.example/x?no_such=hunter2",
            "",
            "`sinks.warehouse.url` is no address of a PostgreSQL database",
        ),
        ("postgresql://db.example/x", "password = { env = \"P\" }", "`sinks.warehouse.user` is missing"),
    ] {
        let (code, said, log) = relay_to(&scene, url, keys).env("P", "hunter2").args(&["check"]).output();
        assert!(code == 78 && log.contains(wrong), "{url} {keys}: {code} {said} {log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
    for url in ["postgresql://db.example/x?sslmode=verify-full", "postgresql://relay@%2Frun%2Fpostgresql/sms"] {
        let (code, _, log) = relay_to(&scene, url, "").args(&["check"]).output();
        assert_eq!(code, 0, "{url}: {log}");
    }
    for table in ["Sms", "a.b.c", "sms; DROP", ""] {
        let text =
            format!("[sinks.x]\ntype = \"postgres\"\nurl = \"postgresql://db.example/x\"\ntable = \"{table}\"\n");
        let config = scene.file(&text);
        let (code, _, log) = scene.setup().args(&["--config", &config, "check"]).output();
        assert!(code == 78 && log.contains("`sinks.x.table`"), "{table}: {code} {log}");
    }
    let (code, _, log) =
        relay_to(&scene, "postgresql://localhost/x", "").args(&["sinks", "create-table", "other"]).output();
    assert!(code == 1 && log.contains("there is no sink named other in the configuration"), "{code} {log}");
}
