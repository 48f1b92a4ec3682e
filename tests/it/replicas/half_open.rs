//! The connections of the active relay to the database are half-open: both ends keep them, and nothing passes.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::group::{ACTIVE, Group, NOT_ACTIVE};
use super::{rounds, tell};
use crate::support::machine::network_namespace::{Direction, NetworkNamespace};
use crate::support::servers::reverse_proxy::{Manner, ReverseProxy};

/// What a relay logs when it takes part in an election.
const STANDS_BY: &str = "stands by until it is the active one";

/// A way to the database that can go silent: its connections stay open, and nothing passes any more.
struct SilentWay {
    address: SocketAddr,
    is_silent: Arc<AtomicBool>,
}

impl SilentWay {
    /// Makes a way from this address of the machine to the server of a group.
    fn to(group: &Group, from: IpAddr) -> Self {
        let socket = group.server.dir().join(".s.PGSQL.5432");
        let listener = TcpListener::bind((from, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let is_silent = Arc::new(AtomicBool::new(false));
        let silent = Arc::clone(&is_silent);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                pass_on(client, &socket, &silent);
            }
        });
        Self { address, is_silent }
    }

    fn url(&self) -> String {
        format!("host={} port={} user=relay dbname=postgres sslmode=disable", self.address.ip(), self.address.port())
    }
}

/// Passes bytes on in both directions, until one end closes. While the way is silent, bytes are lost.
fn pass_on(client: TcpStream, socket: &Path, is_silent: &Arc<AtomicBool>) {
    let Ok(server) = UnixStream::connect(socket) else { return };
    let (mut to_client, mut from_client) = (client.try_clone().unwrap(), client);
    let (mut to_server, mut from_server) = (server.try_clone().unwrap(), server);
    let (one, other) = (Arc::clone(is_silent), Arc::clone(is_silent));
    thread::spawn(move || {
        let mut bytes = [0; 16_384];
        while let Ok(count @ 1..) = from_client.read(&mut bytes) {
            if !one.load(Ordering::Relaxed) && to_server.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        drop(to_server.shutdown(std::net::Shutdown::Both));
    });
    thread::spawn(move || {
        let mut bytes = [0; 16_384];
        while let Ok(count @ 1..) = from_server.read(&mut bytes) {
            if !other.load(Ordering::Relaxed) && to_client.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        drop(to_client.shutdown(std::net::Shutdown::Both));
    });
}

#[test]
fn a_relay_whose_connections_are_half_open_steps_down_before_its_lease_ends() {
    let Some(group) = Group::new() else { return };
    let way = SilentWay::to(&group, Ipv4Addr::LOCALHOST.into());
    let direct = group.server.url();
    let mut group = group.through(&way.url());
    let cut_off = group.start();
    let mut group = group.through(&direct);
    go_silent(&mut group, cut_off, "of which a proxy passes nothing on", |is_silent| {
        way.is_silent.store(is_silent, Ordering::Relaxed);
    });
}

#[test]
fn a_relay_whose_packets_are_dropped_steps_down_before_its_lease_ends() {
    let Some(group) = Group::new() else { return };
    let Some(namespace) = NetworkNamespace::new() else { return };
    let host = IpAddr::from(namespace.host());
    let way = SilentWay::to(&group, host);
    let simulator = group.scene.simulator().url().trim_start_matches("http://").parse().unwrap();
    let api = ReverseProxy::start(host, simulator, Manner::Pass);
    let hooks = ReverseProxy::start(host, group.receiver.address(), Manner::Pass);
    let mut group = group;
    let inside = ["ip", "netns", "exec", namespace.name()].map(str::to_owned);
    let setup = group.setup(group.next_number()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let setup = setup.env("JOLTSMS_API_URL", &api.url("http", None)).set("API__ALLOW_HTTP", "true");
    let setup = setup.sink(&format!("{}/hook", hooks.url("http", None))).set("SINKS__CRM__ALLOW_HTTP", "true");
    let relay = setup.set("STATE__URL", &way.url()).under(&inside).start();
    let cut_off = group.adopt(relay);
    for direction in [Direction::Both, Direction::Out, Direction::In].into_iter().take(rounds(1)) {
        go_silent(&mut group, cut_off, &format!("of which nft drops packets ({direction:?})"), |is_silent| {
            if is_silent {
                namespace.swallow(way.address.port(), direction);
            } else {
                namespace.free();
            }
        });
        // The relay that was cut off becomes the active one again.
        let active = group.wait_for_active();
        assert!(group.relay(active).stop().success());
        group.relays.remove(&active);
        assert_eq!(group.wait_for_active(), cut_off);
    }
}

/// Makes the connections of the active relay half-open, and checks that it steps down before the next relay is active.
fn go_silent(group: &mut Group, cut_off: usize, what: &str, set_silent: impl Fn(bool)) {
    assert_eq!(group.wait_for_active(), cut_off);
    group.scene.add();
    group.wait_for_all();
    group.wait_until_settled();
    let (repeats, stood_by) = (group.repeats(), group.relay(cut_off).log().matches(STANDS_BY).count());
    group.start();
    let silent_since = group.scene.handle().now();
    set_silent(true);
    let next = group.wait_for_active_but(&[cut_off]);
    let stepped_down = group.wait_for_log_time(cut_off, NOT_ACTIVE, silent_since);
    let active = group.wait_for_log_time(next, ACTIVE, silent_since);
    assert!(stepped_down < active, "the relay stepped down at {stepped_down}, the next one was active at {active}");
    for _ in 0..20 {
        group.scene.add();
    }
    group.wait_for_all();
    set_silent(false);
    group.relay(cut_off).wait_for_log_times(STANDS_BY, stood_by + 1);
    group.scene.add();
    group.wait_for_all();
    assert_eq!((group.active(), group.repeats()), (Some(next), repeats));
    let after = |at: Timestamp| Duration::try_from(at.duration_since(silent_since)).unwrap();
    tell(&format!(
        "half-open connections {what}: the relay stepped down after {:.1?}, and the next one was active after {:.1?}",
        after(stepped_down),
        after(active)
    ));
}
