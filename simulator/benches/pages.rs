//! Measures how long a page takes out of a million messages, over HTTP on one connection that is kept open.
//!
//! `cargo bench -p joltsms-simulator`, with another count: `cargo bench -p joltsms-simulator -- 100000`

#![expect(clippy::disallowed_methods, reason = "measuring is reading the clock")]
#![expect(clippy::print_stdout, reason = "the result is what this is for")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use joltsms_simulator::{Handle, Options, Simulator, Since, SortBy, Switches};
use serde_json::Value;

fn main() -> io::Result<()> {
    let count = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1_000_000);
    let begin = Instant::now();
    let switches = Switches { limit: u32::MAX, ..Switches::default() };
    let options = Options { numbers: 50, messages: count, switches, log_capacity: 1000, ..Options::default() };
    let simulator = Simulator::start_in_background(options)?;
    println!("{count} messages made and indexed in {:.1?}", begin.elapsed());
    let handle = simulator.handle();
    let mut client = Client::connect(&simulator)?;

    client.measure("no work at all (404)", &["/nowhere".to_owned()])?;
    measure(&mut client, &handle, "sorted by receivedAt")?;
    handle.set_switches(|switches| (switches.sort_by, switches.since) = (SortBy::ReceivedAt, Since::IngestedAt));
    measure(&mut client, &handle, "sorted by receivedAt, since compares ingestedAt")?;

    let begin = Instant::now();
    let mut target = "/v1/messages".to_owned();
    let mut pages = 0;
    while pages < 5000 {
        let page = client.get(&target)?;
        pages += 1;
        let Some(cursor) = page["meta"]["nextCursor"].as_str() else { break };
        target = after("/v1/messages", cursor);
    }
    println!("{pages} pages in a walk from the head: {:.1?}", begin.elapsed());
    Ok(())
}

fn measure(client: &mut Client, handle: &Handle, title: &str) -> io::Result<()> {
    println!("{title}:");
    let rows = handle.rows();
    let places = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|tenth| &rows[rows.len() / 10 * tenth]);
    // A cursor into the middle of the list is the cursor at the end of the page above.
    let cursors: Vec<String> = places.iter().map(|row| cursor(&row.received_at.to_string(), &row.id)).collect();
    let numbers: Vec<_> = handle.numbers().into_iter().take(5).collect();
    let of_number: Vec<String> = numbers.iter().map(|number| format!("/v1/messages?numberId={}", number.id)).collect();
    let senders: Vec<String> = places.iter().map(|row| format!("/v1/messages?from={}", encode(&row.from))).collect();
    let since: Vec<String> = places.iter().map(|row| format!("/v1/messages?since={}", row.ingested_at)).collect();
    let deep = |targets: &[String]| -> Vec<String> {
        targets.iter().flat_map(|target| cursors.iter().map(|cursor| after(target, cursor))).collect()
    };
    client.measure("  first page", &["/v1/messages".to_owned()])?;
    client.measure("  any page", &deep(&["/v1/messages".to_owned()]))?;
    client.measure("  of a number, first page", &of_number)?;
    client.measure("  of a number, any page", &deep(&of_number))?;
    client.measure("  of a sender, first page", &senders)?;
    client.measure("  of a sender, any page", &deep(&senders))?;
    client.measure("  since a time, first page", &since)?;
    client.measure("  since a time, any page", &deep(&since))
}

fn cursor(time: &str, id: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("{time}|{id}"))
}

fn after(target: &str, cursor: &str) -> String {
    format!("{target}{}cursor={}", if target.contains('?') { '&' } else { '?' }, encode(cursor))
}

fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A client with one connection that is kept open.
struct Client {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Client {
    fn connect(simulator: &Simulator) -> io::Result<Self> {
        let stream = TcpStream::connect(simulator.url().trim_start_matches("http://"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), key: simulator.key() })
    }

    fn measure(&mut self, title: &str, targets: &[String]) -> io::Result<()> {
        let mut times = Vec::new();
        for target in targets.iter().cycle().take(2000.max(targets.len())) {
            let begin = Instant::now();
            self.exchange(target)?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        let at = |share: usize| -> Duration { times[(times.len() - 1) * share / 100] };
        println!("{title:<30} median {:>8.1?}  99 % {:>8.1?}  worst {:>8.1?}", at(50), at(99), at(100));
        Ok(())
    }

    fn get(&mut self, target: &str) -> io::Result<Value> {
        Ok(serde_json::from_slice(&self.exchange(target)?)?)
    }

    fn exchange(&mut self, target: &str) -> io::Result<Vec<u8>> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", self.key);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}
