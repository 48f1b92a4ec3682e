//! Tests of other people's programs beside the relay: nginx with client certificates and HTTP/2, a proxy with a
//! password, and rsyslog at the end of a pipe.

use joltsms_relay::delivery::log_sentences::SINK_FAILS;
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use joltsms_simulator::NewMessage;

use crate::support::prerequisites::{all_there, missing_programs, program};
use crate::support::relay::Relay;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// A program that is ended when this value is dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx has worker processes, and only the master process ends them.
        drop(Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status());
        drop(self.0.wait());
    }
}

impl Peer {
    /// Starts the program, and waits until the program listens at all addresses.
    fn start(command: &mut Command, listens: &[SocketAddr], log: &Path) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let peer = Self(child);
        let told = || fs::read_to_string(log).unwrap_or_default();
        for address in listens {
            wait_until(&format!("{command:?} to listen"), || TcpStream::connect(address).is_ok(), told);
        }
        peer
    }
}

/// Returns an address that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority in `dir`, and certificates of this authority for a server on this machine and for a client.
fn certificates(dir: &Path) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(dir, &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
        let names = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE";
        fs::write(dir.join("extensions"), format!("{names}\nextendedKeyUsage={usage}\n")).unwrap();
        openssl(dir, &format!("req -new {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions";
        openssl(dir, &format!("x509 -req -in {name}.csr -out {name}.pem {by}"));
    }
}

/// Starts an nginx that speaks TLS at `front` on behalf of `back`; `verify` says whether clients must show a
/// certificate. nginx writes a line to its log for every request that it passed on: protocol, certificate, method,
/// status, length.
fn nginx(dir: &Path, servers: &[(SocketAddr, SocketAddr, &str)]) -> Peer {
    let user = if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        "user root;"
    } else {
        ""
    };
    let mut blocks = String::new();
    for (front, back, verify) in servers {
        blocks += &format!(
            "server {{ listen {front} ssl http2; ssl_certificate server.pem; ssl_certificate_key server.key; \
             ssl_client_certificate ca.pem; ssl_verify_client {verify}; \
             location / {{ proxy_pass http://{back}; proxy_http_version 1.1; }} }}\n"
        );
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", dir.display()))
        .collect();
    let configuration = format!(
        "{user}\ndaemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log error.log info;\nevents {{}}\nhttp {{\n\
         {temporary}log_format seen '$server_protocol $ssl_client_verify $request_method $status $http_content_length';\n\
         access_log access.log seen;\n{blocks}}}\n"
    );
    fs::write(dir.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new(program("nginx").unwrap());
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("error.log"));
    let fronts: Vec<SocketAddr> = servers.iter().map(|(front, ..)| *front).collect();
    Peer::start(&mut command, &fronts, &dir.join("error.log"))
}

fn tinyproxy(dir: &Path, at: SocketAddr) -> Peer {
    let log = dir.join("tinyproxy.log");
    let configuration = format!(
        "Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nAllow 127.0.0.1\nBasicAuth relay hunter2\n\
         LogLevel Connect\nLogFile \"{}\"\n",
        at.port(),
        log.display()
    );
    fs::write(dir.join("tinyproxy.conf"), configuration).unwrap();
    let mut command = Command::new(program("tinyproxy").unwrap());
    command.arg("-d").arg("-c").arg(dir.join("tinyproxy.conf"));
    Peer::start(&mut command, &[at], &log)
}

fn got_each_once(scene: &Scene, receiver: &Receiver) {
    let ids = receiver.webhook_ids();
    let different: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different, scene.ids().iter().collect(), "all of them");
    assert_eq!(ids.len(), different.len(), "each once");
}

fn is_said(relay: &Relay, said: &str) {
    relay.wait_for_log(said);
    assert!(!relay.log().contains("hunter2"), "{}", relay.log());
}

#[test]
fn behind_nginx_with_client_certificates_every_message_arrives_once() {
    if !all_there(&missing_programs(&["nginx", "openssl"])) {
        return;
    }
    let scene = Scene::new();
    certificates(scene.dir());
    let receiver = Receiver::in_background();
    let front = free();
    let _nginx = nginx(scene.dir(), &[(front, receiver.address(), "on")]);
    scene.add_past(200);
    // Paths are relative to the configuration file.
    let sink =
        format!("[sinks.crm]\ntype = \"http\"\nurl = \"https://{front}/hook\"\nretry = {{ initial = \"100ms\" }}\n");
    let with_certificate =
        sink.clone() + "tls = { ca_file = \"ca.pem\", cert_file = \"client.pem\", key_file = \"client.key\" }\n";
    let relay = scene.setup_from_beginning().args(&["--config", &scene.file(&with_certificate)]).start();
    receiver.wait(200, &relay);
    ends_with_nothing_more(relay);
    got_each_once(&scene, &receiver);
    let seen = fs::read_to_string(scene.dir().join("access.log")).unwrap();
    let lengths: Vec<usize> = seen
        .lines()
        .map(|line| {
            line.strip_prefix("HTTP/2.0 SUCCESS POST 200 ").unwrap_or_else(|| panic!("{line}")).parse().unwrap()
        })
        .collect();
    assert_eq!(lengths.len(), 200);
    assert!(lengths.iter().all(|length| *length > 100));

    // Without a client certificate no message gets through, and the messages are kept.
    let file = scene.file(&(sink.clone() + "tls = { ca_file = \"ca.pem\" }\n"));
    let relay = scene.setup_from_beginning().args(&["--config", &file]).start();
    let kept = scene.add();
    is_said(&relay, &format!("{SINK_FAILS} sink.name=\"crm\" reason=\"400 Bad Request\""));
    drop(relay);
    let relay = scene.setup_from_beginning().args(&["--config", &scene.file(&with_certificate)]).start();
    receiver.wait(201, &relay);
    assert_eq!(receiver.webhook_ids()[200], kept);
    ends_with_nothing_more(relay);

    // The relay refuses an authority that the system does not know.
    let relay = scene.setup_from_beginning().args(&["--config", &scene.file(&sink)]).start();
    scene.add();
    is_said(&relay, &format!("{SINK_FAILS} sink.name=\"crm\" reason=\""));
    drop(relay);
    assert_eq!(receiver.count(), 201);

    // The key belongs to another certificate.
    let mixed = sink + "tls = { cert_file = \"client.pem\", key_file = \"server.key\" }\n";
    let (code, _, said) = scene.setup().args(&["check", "--config", &scene.file(&mixed)]).output();
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("server.key holds another key than that of the certificate"), "{said}");
}

#[test]
fn through_a_proxy_every_message_arrives_once() {
    if !all_there(&missing_programs(&["nginx", "openssl", "tinyproxy"])) {
        return;
    }
    let scene = Scene::new();
    certificates(scene.dir());
    let (plain, behind_tls) = (Receiver::in_background(), Receiver::in_background());
    let (front, api_front, proxy) = (free(), free(), free());
    let simulator: SocketAddr = scene.simulator().url().trim_start_matches("http://").parse().unwrap();
    let _nginx = nginx(scene.dir(), &[(front, behind_tls.address(), "off"), (api_front, simulator, "off")]);
    let _proxy = tinyproxy(scene.dir(), proxy);
    scene.add_past(100);
    let file = scene.file(&format!(
        "[api]\nurl = \"https://{api_front}\"\nproxy = {{ env = \"PROXY\" }}\ntls = {{ ca_file = \"ca.pem\" }}\n\
         [sinks.plain]\ntype = \"http\"\nurl = \"{}\"\nproxy = {{ env = \"PROXY\" }}\n\
         retry = {{ initial = \"100ms\" }}\n[sinks.secure]\ntype = \"http\"\nurl = \"https://{front}/hook\"\nproxy = {{ env = \"PROXY\" }}\n\
         tls = {{ ca_file = \"ca.pem\" }}\n",
        plain.url()
    ));
    let setup = || {
        let setup = scene.setup_from_beginning().args(&["--config", &file]);
        setup.env("JOLTSMS_API_URL", &format!("https://{api_front}"))
    };
    let relay = setup().env("PROXY", &format!("http://relay:hunter2@{proxy}")).start();
    plain.wait(100, &relay);
    behind_tls.wait(100, &relay);
    // This proxy closes connections without announcing it. A request that is sent while the proxy closes the connection
    // is made again.
    assert!(!relay.log().contains("hunter2"), "{}", relay.log());
    ends_with_nothing_more(relay);
    got_each_once(&scene, &plain);
    got_each_once(&scene, &behind_tls);
    let told = fs::read_to_string(scene.dir().join("tinyproxy.log")).unwrap();
    for passed in [format!("CONNECT {front}"), format!("CONNECT {api_front}"), format!("POST {}", plain.url())] {
        assert!(told.contains(&passed), "{passed} in\n{told}");
    }
    for request in [plain, behind_tls].iter().flat_map(Receiver::received) {
        assert!(!request.headers.contains_key("proxy-authorization"), "the password is the proxy's");
    }

    // The proxy refuses a wrong password, from the API client and from the sinks.
    let relay = setup().env("PROXY", &format!("http://relay:hunter22@{proxy}")).start();
    is_said(
        &relay,
        "the API cannot be polled; trying again until it can kind=\"transport\" error=the proxy refuses to connect",
    );
}

/// Starts an rsyslog that writes each line that comes over TCP to the file `messages`, and nothing else.
fn rsyslog(dir: &Path, at: SocketAddr) -> Peer {
    let place = dir.display();
    let configuration = format!(
        "global(workDirectory=\"{place}\" maxMessageSize=\"64k\" parser.escapeControlCharactersOnReceive=\"off\")\n\
         module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\")\n\
         template(name=\"line\" type=\"string\" string=\"%msg%\\n\")\n\
         action(type=\"omfile\" file=\"{place}/messages\" template=\"line\")\n",
        at.port()
    );
    fs::write(dir.join("rsyslog.conf"), configuration).unwrap();
    let mut command = Command::new(program("rsyslogd").unwrap());
    command.arg("-n").arg("-f").arg(dir.join("rsyslog.conf")).arg("-i").arg(dir.join("rsyslog.pid"));
    Peer::start(&mut command, &[at], &dir.join("messages"))
}

/// Starts the program that reads the relay's standard output, as in the README.
fn logger(at: SocketAddr) -> Child {
    let mut command = Command::new(program("logger").unwrap());
    command.args(["--tcp", "--octet-count", "--rfc5424", "--size", "64KiB", "--tag", "joltsms-relay"]);
    command.args(["--server", "127.0.0.1", "--port", &at.port().to_string()]);
    command.stdin(Stdio::piped()).spawn().unwrap()
}

#[test]
fn rsyslog_at_the_end_of_a_pipe_gets_every_message_once_and_unchanged() {
    if !all_there(&missing_programs(&["rsyslogd", "logger"])) {
        return;
    }
    let scene = Scene::new();
    let at = free();
    let _rsyslog = rsyslog(scene.dir(), at);
    let file = scene.dir().join("messages");
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<String>>();
    let now = scene.handle().now();
    let strange = ["two\nlines\r\n", "\"quoted\" \\ and \t", "\u{fc}\u{1f600}\u{202e}\u{0}", "%msg% <13>1 - #011", " "];
    for (place, body) in strange.iter().map(|text| (*text).to_owned()).chain(["x".repeat(20_000)]).enumerate() {
        let at = now - jiff::SignedDuration::from_secs(600 + i64::try_from(place).unwrap());
        scene.handle().add(NewMessage::new().body(body).received_at(at).ingested_at(at));
    }
    scene.add_past(200);
    let mut expected = 206;
    for _ in 0..2 {
        let mut logger = logger(at);
        let mut relay = scene.setup_from_beginning().start_with_stdout(logger.stdin.take().unwrap());
        wait_until("what was there", || lines().len() == expected, || relay.log());
        (0..50).for_each(|_| drop(scene.add()));
        expected += 50;
        wait_until("what came", || lines().len() == expected, || relay.log());
        assert!(relay.stop().success(), "{}", relay.log());
        assert!(logger.wait().unwrap().success());
    }
    let mut got = lines();
    let mut sent: Vec<String> = scene.handle().rows().into_iter().map(|row| row.json).collect();
    got.sort_unstable();
    sent.sort_unstable();
    assert_eq!(got.len(), 306, "each once");
    assert!(got == sent, "unchanged");
}
