//! `[admin]` and `[heartbeat]`.

use super::Machine;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn with(lines: &str) -> Machine {
    Machine::with_file(&format!("[admin]\n{lines}\n")).set("TOKEN", TOKEN)
}

#[test]
fn the_endpoint_is_off_unless_it_has_an_address() {
    let machine = Machine::with_file("");
    let config = machine.load();
    assert!(config.admin.is_none() && config.heartbeat.is_none());
    let config = with("listen = \"127.0.0.1:9465\"").load();
    let admin = config.admin.unwrap();
    assert_eq!((admin.listen.to_string().as_str(), admin.token.is_none()), ("127.0.0.1:9465", true));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let config = with("token = { env = \"TOKEN\" }").load();
    assert!(config.admin.is_none());
    let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(warning.to_string().contains("[admin] does nothing without `admin.listen`"), "{warning}");
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    for address in ["0.0.0.0:9465", "[::]:9465", "192.0.2.7:9465", "[::ffff:127.0.0.1]:9465"] {
        let refused = with(&format!("listen = \"{address}\"")).refused();
        let expected =
            format!("`admin.listen` = \"{address}\" can be reached from other machines, so it needs `admin.token`");
        assert!(refused.contains(&expected), "{refused}");
        let admin = with(&format!("listen = \"{address}\"\ntoken = {{ env = \"TOKEN\" }}")).load().admin.unwrap();
        assert_eq!(admin.token.unwrap().expose(), TOKEN);
    }
    for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:9465"] {
        assert!(with(&format!("listen = \"{address}\"")).load().admin.is_some(), "{address}");
    }
}

#[test]
fn each_mistake_has_its_message() {
    for (lines, expected) in [
        ("listen = \"9465\"", "`admin.listen` = \"9465\" is not an address and a port"),
        ("listen = \"localhost:9465\"", "`admin.listen` = \"localhost:9465\" is not an address and a port"),
        ("listen = \"127.0.0.1\"", "write an address with a port, such as \"127.0.0.1:9465\""),
        ("listen = \"127.0.0.1:99999\"", "is not an address and a port"),
        ("listen = \"127.0.0.1:1\"\ntoken = \"hunter2hunter2hunter2\"", "`admin.token` is written out"),
        ("listen = \"127.0.0.1:1\"\nhosts = []", "`admin.hosts` is an empty array"),
        ("listen = \"127.0.0.1:1\"\nhosts = [\"https://relay.example.com\"]", "is not the name of a host"),
        ("listen = \"127.0.0.1:1\"\nhosts = [\"relay.example.com:9465\"]", "is not the name of a host"),
    ] {
        let refused = with(lines).refused();
        assert!(refused.contains(expected), "{lines}: {refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    let empty = with("listen = \"127.0.0.1:1\"\ntoken = { env = \"TOKEN\" }").set("TOKEN", "");
    assert!(empty.refused().contains("`admin.token`"), "{}", empty.refused());
    let short = with("listen = \"127.0.0.1:1\"\ntoken = { env = \"TOKEN\" }").set("TOKEN", "hunter2").load();
    let [warning] = short.warnings.as_slice() else { panic!("{:?}", short.warnings) };
    assert!(warning.to_string().contains("has only 7 characters"), "{warning}");
    assert!(!format!("{short:?}").contains("hunter2"));
}

#[test]
fn names_of_the_endpoint_are_compared_in_lower_case() {
    let lines =
        "listen = \"127.0.0.1:1\"\nhosts = [\"Relay.Example.com\", \"192.0.2.7\", \"[2001:db8::1]\", \"relay\"]";
    let hosts = with(lines).load().admin.unwrap().hosts;
    assert_eq!(hosts, ["relay.example.com", "192.0.2.7", "2001:db8::1", "relay"]);
    let machine = with("listen = \"127.0.0.1:1\"").set("JOLTSMS_RELAY_ADMIN__HOSTS", "a.example, b.example");
    assert_eq!(machine.load().admin.unwrap().hosts, ["a.example", "b.example"]);
}

#[test]
fn the_url_of_the_heartbeat_is_shown_nowhere() {
    let machine = Machine::with_file("[heartbeat]\nurl = { env = \"URL\" }\ninterval = \"30s\"\n");
    let config = machine.set("URL", "http://hc.example/hunter2").load();
    let heartbeat = config.heartbeat.as_ref().unwrap();
    assert_eq!((heartbeat.url.path(), heartbeat.interval.as_secs()), ("/hunter2", 30));
    assert!(config.warnings.is_empty() && !format!("{config:?}").contains("hunter2"));
    let config = Machine::with_file("[heartbeat]\ninterval = \"30s\"\n").load();
    assert!(config.heartbeat.is_none());
    let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(warning.to_string().contains("`heartbeat.interval` does nothing without `heartbeat.url`"), "{warning}");
    let refused = Machine::with_file("[heartbeat]\nurl = \"ftp://hunter2\"\n").refused();
    assert!(refused.contains("`heartbeat.url` must begin with https:// or http://"), "{refused}");
}
