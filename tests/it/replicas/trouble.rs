//! Trouble with the database, with the way to it, and with the clocks of machines.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::group::Group;
use super::{rounds, tell};
use crate::support::prerequisites::{program, skip};

#[test]
fn no_message_is_lost_when_the_database_server_crashes() {
    let Some(mut group) = Group::new() else { return };
    group.start_several(2);
    let rounds = rounds(2);
    for _ in 0..rounds {
        let before = group.receiver.count();
        for _ in 0..30 {
            group.scene.add();
        }
        group.wait_for_count(before + 5);
        group.server.crash();
        for _ in 0..10 {
            group.scene.add();
        }
        group.server.start_again();
        group.wait_for_all();
    }
    let (repeats, messages) = (group.repeats(), group.scene.ids().len());
    tell(&format!("{rounds} crashes of the database server, {messages} messages: 0 lost, {repeats} repeated"));
}

#[test]
fn no_message_is_lost_when_the_database_is_restored_to_an_earlier_moment() {
    let Some(mut group) = Group::new() else { return };
    group.start_several(2);
    for _ in 0..10 {
        group.scene.add();
    }
    group.wait_for_all();
    group.server.crash();
    group.server.save();
    group.server.start_again();
    // These messages are in the state when the server crashes, and not in the state that is restored.
    for _ in 0..25 {
        group.scene.add();
    }
    group.wait_for_all();
    let delivered = group.receiver.count();
    group.server.crash();
    group.server.restore();
    group.server.start_again();
    for _ in 0..5 {
        group.scene.add();
    }
    group.wait_for_all();
    assert!(group.receiver.count() >= delivered + 5);
    // The state knows all messages again, which shows that the relay went on from the restored moment.
    let messages = i64::try_from(group.scene.ids().len()).unwrap();
    let known = || group.number("SELECT count(*) FROM message");
    crate::support::waiting::wait_until("all messages in the state", || known() == messages, || group.logs());
    tell(&format!("a restored database that lacks 25 messages: 0 lost, {} repeated", group.repeats()));
}

/// A way to the database that can go silent: its connections stay open, and nothing passes any more.
struct SilentWay {
    address: SocketAddr,
    is_silent: Arc<AtomicBool>,
}

impl SilentWay {
    fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
    let way = SilentWay::to(group.server.dir().join(".s.PGSQL.5432"));
    let direct = group.server.url();
    let mut group = group.through(&way.url());
    let cut_off = group.start();
    group.wait_for_active();
    group.scene.add();
    group.wait_for_all();
    let mut group = group.through(&direct);
    group.start();
    way.is_silent.store(true, Ordering::Relaxed);
    let next = group.wait_for_active_but(&[cut_off]);
    // The other relay can be active only after the lease has ended.
    assert!(group.relay(cut_off).log().contains("this relay is not the active one any more"));
    for _ in 0..20 {
        group.scene.add();
    }
    group.wait_for_all();
    way.is_silent.store(false, Ordering::Relaxed);
    group.scene.add();
    group.wait_for_all();
    assert_eq!((group.active(), group.repeats()), (Some(next), 0));
}

#[test]
fn clocks_that_are_an_hour_apart_change_nothing() {
    let Some(group) = Group::new() else { return };
    let Some(faketime) = program("faketime") else { return skip("faketime is not installed") };
    let mut group = group.set("SINKS__CRM__MAX_AGE", "10m");
    let hour_apart = |offset: &str| vec![faketime.display().to_string(), "-f".to_owned(), offset.to_owned()];
    for (offset, messages) in [("-1h", 5), ("+1h", 10)] {
        let earlier = group.active();
        // Waits are timed by the monotonic clock, which nobody sets.
        let setup = group.setup(group.next_number()).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let relay = setup.under(&hour_apart(offset)).start();
        let later = group.adopt(relay);
        if let Some(earlier) = earlier {
            group.relay(later).wait_for_log("stands by until it is the active one");
            group.kill(earlier);
        }
        assert_eq!(group.wait_for_active(), later);
        for _ in 0..messages {
            group.scene.add();
        }
        group.wait_for_all();
    }
    assert_eq!(group.number("SELECT count(*) FROM delivery WHERE state <> 'delivered'"), 0, "nothing is too old");
    assert_eq!(group.repeats(), 0);
}

#[test]
fn the_request_limit_holds_across_relays() {
    const LIMIT: usize = 30;
    let Some(group) = Group::with(|switches| switches.limit = u32::try_from(LIMIT).unwrap()) else { return };
    let mut group = group.set("API__REQUESTS_PER_MINUTE", "30").set("POLL__INTERVAL", "200ms");
    group.start_several(2);
    let rounds = rounds(3);
    for _ in 0..rounds {
        let active = group.wait_for_active();
        group.scene.add();
        group.wait_for_all();
        group.scene.wait_for_polls(6);
        group.kill(active);
        group.start();
    }
    group.wait_for_all();
    let requests = group.scene.handle().requests();
    let refused = requests.iter().filter(|request| request.status == Some(429)).count();
    let times: Vec<Duration> = requests.iter().map(|request| request.at).collect();
    let within =
        |first: usize| times[first..].iter().take_while(|at| **at < times[first] + Duration::from_secs(60)).count();
    let most = (0..times.len()).map(within).max().unwrap();
    tell(&format!("{rounds} kills, limit {LIMIT}: at most {most} requests in any 60 s, {refused} answers 429"));
    assert!(most <= LIMIT && refused == 0, "{most} in a minute, {refused} refused");
}
