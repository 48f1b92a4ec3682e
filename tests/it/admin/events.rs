//! Tests of the stream of events.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::client::{TOKEN, address, connect, with_token};
use crate::support::scene::{Scene, ends_with_nothing_more};

/// A client that reads a stream of events.
struct EventClient(BufReader<TcpStream>);

impl EventClient {
    fn connect(address: SocketAddr, last_id: Option<&str>) -> Self {
        let mut stream = connect(address);
        let last_id = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let text =
            format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n{last_id}\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// Reads until an event with this name. Returns its id and its data.
    fn next(&mut self, name: &str) -> (String, Value) {
        let (mut is_wanted, mut id, mut line) = (false, String::new(), String::new());
        loop {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream has ended");
            let text = line.trim_end();
            if let Some(found) = text.strip_prefix("event: ") {
                is_wanted = found == name;
            } else if let Some(found) = text.strip_prefix("id: ") {
                id = found.to_owned();
            } else if let Some(data) = text.strip_prefix("data: ").filter(|_| is_wanted) {
                return (id, serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[test]
fn a_stream_tells_the_status_and_each_message_once() {
    let scene = Scene::new();
    let relay = with_token(scene.setup_from_beginning()).start();
    let address = address(&relay);
    let first = scene.add();
    assert_eq!(relay.ids(1), [first]);
    let mut client = EventClient::connect(address, None);
    let (_, status) = client.next("status");
    assert_eq!(status["sinks"][0]["name"], "stdout", "{status}");
    let ids = [scene.add(), scene.add()];
    let (place, message) = client.next("message");
    assert_eq!(message["id"], ids[0].as_str(), "{message}");
    assert_eq!(message["message"]["id"], ids[0].as_str());
    assert_eq!(client.next("message").1["id"], ids[1].as_str());
    // A client that was cut off goes on behind the message that it has seen.
    drop(client);
    let last = scene.add();
    relay.ids(3);
    let mut client = EventClient::connect(address, Some(&place));
    assert_eq!(client.next("message").1["id"], ids[1].as_str());
    assert_eq!(client.next("message").1["id"], last.as_str());
    // So does a second one, although nothing new has come since the first one was there.
    let mut client = EventClient::connect(address, Some(&place));
    assert_eq!(client.next("message").1["id"], ids[1].as_str());
    drop(client);
    ends_with_nothing_more(relay);
}

#[test]
fn streams_leave_connections_for_others_and_end_with_the_relay() {
    let scene = Scene::new();
    let mut relay = with_token(scene.setup()).start();
    let address = address(&relay);
    let mut clients: Vec<EventClient> = (0..16).map(|_| EventClient::connect(address, None)).collect();
    clients.iter_mut().for_each(|client| drop(client.next("status")));
    super::client::get_with_token(address, "/api/v1/events").assert_problem(503);
    assert_eq!(super::client::get(address, "/healthz").status, 200);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}
