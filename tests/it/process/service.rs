//! Tests of the notifications to the service manager: a socket of the test receives what systemd would receive.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use joltsms_simulator::{Effect, NewMessage, Rule};

use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::DEADLINE;

struct Manager(UnixDatagram);

impl Manager {
    /// Makes a socket in a directory, and a relay that sends its notifications to that socket.
    fn new(scene: &Scene, setup: Setup) -> (Self, Setup) {
        let path = scene.dir().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        (Self(socket), setup.env("NOTIFY_SOCKET", path.to_str().unwrap()))
    }

    /// Makes a socket with an abstract name, which is in no directory.
    #[cfg(target_os = "linux")]
    fn abstracted(scene: &Scene, setup: Setup) -> (Self, Setup) {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::SocketAddr;

        let name = scene.dir().display().to_string();
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        (Self(socket), setup.env("NOTIFY_SOCKET", &format!("@{name}")))
    }

    fn next(&self) -> String {
        let mut datagram = [0; 4096];
        let length = loop {
            match self.0.recv(&mut datagram) {
                // A signal to the test process may interrupt the call.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    }

    /// Reads until a datagram contains this line. Returns the datagrams before that one.
    fn wait_for(&self, line: &str) -> Vec<String> {
        self.wait_for_match(line, |said| said == line)
    }

    /// Reads until a datagram contains a line that begins with this text. Returns the datagrams before that one.
    fn wait_for_beginning(&self, beginning: &str) -> Vec<String> {
        self.wait_for_match(beginning, |said| said.starts_with(beginning))
    }

    /// Reads until a datagram contains a line that `is_it` accepts. Returns the datagrams before that one.
    fn wait_for_match(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let datagram = self.next();
            if datagram.lines().any(&is_it) {
                return before;
            }
            before.push(datagram);
            assert!(before.len() < 200, "no {what}: {before:?}");
        }
    }
}

#[test]
fn it_says_that_it_is_ready_how_it_is_going_and_that_it_stops() {
    let scene = Scene::new();
    scene.add_past(3);
    let (manager, mut setup) = Manager::new(&scene, scene.setup_from_beginning().env("WATCHDOG_USEC", "300000"));
    let mut relay = setup.start();
    assert_eq!(manager.next(), "READY=1\nSTATUS=starting\n", "before anything else");
    manager.wait_for("STATUS=polling");
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    relay.signal("TERM");
    manager.wait_for("STOPPING=1");
    assert_eq!(relay.wait().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_socket_may_be_an_abstract_one() {
    let scene = Scene::new();
    let (manager, mut setup) = Manager::abstracted(&scene, scene.setup().env("WATCHDOG_USEC", "300000"));
    let mut relay = setup.start();
    assert_eq!(manager.next(), "READY=1\nSTATUS=starting\n");
    manager.wait_for("WATCHDOG=1");
    assert_eq!(relay.stop().code(), Some(0));
    manager.wait_for("STOPPING=1");
}

#[test]
fn a_manager_that_does_not_read_holds_up_nothing_and_hears_of_it_later() {
    let scene = Scene::new();
    let (manager, mut setup) = Manager::new(&scene, scene.setup_from_beginning().env("WATCHDOG_USEC", "300000"));
    let other = UnixDatagram::unbound().unwrap();
    other.connect(scene.dir().join("notify")).unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send(b"other").is_ok() {}
    let mut relay = setup.start();
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    let before = manager.wait_for("READY=1");
    assert!(before.iter().all(|datagram| datagram == "other"), "{before:?}");
    manager.wait_for("WATCHDOG=1");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_manager_that_cannot_be_told_is_said_once() {
    let scene = Scene::new();
    let socket = scene.dir().join("nobody").display().to_string();
    let setup = scene.setup_from_beginning().env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "30000");
    let mut relay = { setup }.start();
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    scene.wait_for_polls(5);
    assert_eq!(relay.stop().code(), Some(0));
    let said = "WARN the relay cannot report to the service manager ($NOTIFY_SOCKET) error=";
    assert_eq!(relay.log().matches(said).count(), 1, "{}", relay.log());
}

#[test]
fn the_watchdog_is_fed_while_the_api_does_not_answer() {
    let scene = Scene::new();
    scene.handle().add_fault(Rule::always(Effect::Hang));
    let setup = scene.setup_from_beginning().env("WATCHDOG_USEC", "300000").set("API__TIMEOUT", "700ms");
    let (manager, mut setup) = Manager::new(&scene, setup);
    let mut relay = setup.start();
    manager.wait_for("READY=1");
    manager.wait_for_beginning("STATUS=the API cannot be polled: no answer within 700ms (since 20");
    for _ in 0..10 {
        manager.wait_for("WATCHDOG=1");
    }
    scene.handle().clear_faults();
    manager.wait_for("STATUS=polling");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn the_status_names_what_is_wrong() {
    let scene = Scene::with(|switches| switches.key_cache = Duration::ZERO);
    scene.add_past(3);
    let setup = scene.setup_from_beginning().sink("http://127.0.0.1:1/hook").env("WATCHDOG_USEC", "300000");
    let (manager, mut setup) = Manager::new(&scene, setup);
    let mut relay = setup.start();
    manager.wait_for_beginning("STATUS=polling; crm: failing since 20");
    manager.wait_for_match("3 messages wait", |said| {
        said.starts_with("STATUS=polling; crm: failing since 20") && said.ends_with("Z, 3 messages wait")
    });
    scene.handle().revoke_key("start");
    manager.wait_for_match("no key", |said| {
        said.starts_with("STATUS=no API key is accepted: 401 UNAUTHORIZED (since 20")
            && said.contains("Z); crm: failing since 20")
    });
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn the_status_tells_a_pause_and_what_waits() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let (manager, mut setup) = Manager::new(&scene, scene.setup_from_beginning().sink(&receiver.url()));
    let mut relay = setup.start();
    manager.wait_for("STATUS=polling");
    let (code, _, log) = setup.args(&["sinks", "pause", "crm"]).output();
    assert_eq!(code, 0, "{log}");
    manager.wait_for("STATUS=polling; crm: paused by an operator");
    scene.add_past(3);
    manager.wait_for("STATUS=polling; crm: paused by an operator, 3 messages wait");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn the_status_says_that_polling_has_stopped_for_lack_of_room_and_when_it_goes_on() {
    let scene = Scene::new();
    let now = scene.handle().now();
    let long = "long ".repeat(20_000);
    scene.handle().add_many((0..200).map(|_| NewMessage::new().received_at(now).body(long.clone())));
    let receiver = Receiver::in_background();
    receiver.answer_with(503);
    let setup = scene.setup_from_beginning().sink(&receiver.url()).env("WATCHDOG_USEC", "1500000");
    let setup = setup.set("STATE__MIN_FREE", "0").set("STATE__MAX_SIZE", "16MiB");
    let (manager, mut setup) = Manager::new(&scene, setup);
    let mut relay = setup.start();
    manager.wait_for_beginning("STATUS=not polling: the state has reached state.max_size (16.0 MiB) (since 20");
    manager.wait_for("WATCHDOG=1");
    receiver.answer_with(200);
    let said = manager.wait_for("STATUS=polling");
    assert!(relay.log().contains("INFO there is room again: polling goes on"), "{said:?}\n{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn without_a_watchdog_none_is_fed() {
    let scene = Scene::new();
    scene.add_past(3);
    let (manager, mut setup) = Manager::new(&scene, scene.setup_from_beginning());
    let mut relay = setup.start();
    manager.wait_for("READY=1");
    relay.ids(3);
    assert_eq!(relay.stop().code(), Some(0));
    let said = manager.wait_for("STOPPING=1");
    assert!(said.iter().all(|datagram| !datagram.contains("WATCHDOG")), "{said:?}");
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let scene = Scene::new();
    let dir = scene.dir().join("file");
    std::fs::write(&dir, "").unwrap();
    let setup = scene.setup().set("STATE__DIR", dir.to_str().unwrap());
    let (manager, mut setup) = Manager::new(&scene, setup);
    assert_eq!(setup.output().0, 1);
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 10]).is_err(), "nothing was said");
}

#[test]
fn the_end_of_a_reload_comes_with_the_status() {
    let scene = Scene::new();
    scene.file("[poll]\nstart = \"beginning\"\n");
    let configuration = scene.dir().join("config.toml").display().to_string();
    let (manager, mut setup) = Manager::new(&scene, scene.setup().env("JOLTSMS_RELAY_CONFIG", &configuration));
    let mut relay = setup.start();
    manager.wait_for("STATUS=polling");
    scene.file("nonsense = 1\n");
    relay.signal("HUP");
    manager.wait_for("STATUS=reloading the configuration");
    assert_eq!(manager.next(), "READY=1\nSTATUS=polling; the last reload failed\n");
    assert_eq!(relay.stop().code(), Some(0));
}
