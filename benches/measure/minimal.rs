//! Two programs that do the relay's work with as little as possible. They are the yardsticks of [`crate::cost`].
//!
//! The *minimal* program requests the same pages, makes the same POSTs, and keeps nothing. The *minimal durable*
//! program also records what a relay must not lose ([`crate::ledger`]): each page before its messages leave, and each
//! accepted message. The difference between the relay and the minimal durable program is the price of everything else:
//! late rows, retries, lanes, health.
//!
//! Both programs use the relay's own clients, with the relay's settings and its number of threads, so that they make
//! the same requests as the relay. Both first read all pages and then post all messages. They look only at what the
//! next request needs: the cursor, the rows and their ids.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use joltsms_relay::http::Transport;
use joltsms_relay::http::client::{self, ClientOptions, KEEP_IDLE};
use joltsms_simulator::Simulator;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ledger::{Ledger, Recording, Row};

/// The first argument that makes this program one of the two yardsticks.
pub(crate) const NAME: &str = "minimal";

/// Starts one of the two programs as a process of its own: it delivers `count` messages of the simulator to `receiver`.
/// With a `ledger` it is the durable program, which records to that file. The processor time of the process can be read
/// when the receiver has all messages; the process ends when its stdin is closed.
pub(crate) fn start(
    simulator: &Simulator,
    receiver: &str,
    count: usize,
    concurrency: usize,
    ledger: Option<(&Path, Recording)>,
) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([NAME, &simulator.url(), &simulator.key(), receiver, &count.to_string(), &concurrency.to_string()])
        .args(ledger.iter().flat_map(|(path, recording)| [path.as_os_str().to_owned(), recording.to_string().into()]))
        .env_clear()
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the program that [`start`] starts.
pub(crate) fn run(arguments: &[String]) {
    let [url, key, receiver, count, concurrency, ledger @ ..] = arguments else {
        panic!("{NAME} URL KEY RECEIVER COUNT CONCURRENCY [LEDGER RECORDING]")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = match ledger {
            [path, recording] => Some(Ledger::open(Path::new(path), recording.parse().unwrap())),
            _ => None,
        };
        let rows = read(url, key, count.parse().unwrap(), ledger.as_ref()).await;
        post(rows, receiver, concurrency.parse().unwrap(), ledger.as_ref()).await;
        if let Some(ledger) = ledger {
            ledger.close().await;
        }
    });
    drop(std::io::stdin().read(&mut [0]));
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(borrow)]
    meta: Meta<'a>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "nextCursor", borrow)]
    next_cursor: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

fn client(gzip: bool) -> Client {
    let options = ClientOptions {
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        keep_idle: KEEP_IDLE,
        gzip,
    };
    let loopback = Url::parse("http://127.0.0.1").unwrap();
    client::build(&options, &Transport::default(), &loopback).unwrap()
}

async fn read(url: &str, key: &str, count: usize, ledger: Option<&Ledger>) -> Vec<Row> {
    let client = client(true);
    let address: Url = format!("{url}/v1/messages?limit=10").parse().unwrap();
    let mut rows = Vec::with_capacity(count);
    let mut cursor: Option<String> = None;
    while rows.len() < count {
        let mut page = address.clone();
        if let Some(cursor) = &cursor {
            page.query_pairs_mut().append_pair("cursor", cursor);
        }
        let request =
            client.get(page).header(ACCEPT, "application/json").header(AUTHORIZATION, format!("Bearer {key}"));
        let body = request.send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
        let Page { data, meta } = serde_json::from_slice(&body).unwrap();
        let page = data.into_iter().map(|row| {
            let named: Named<'_> = serde_json::from_str(row.get()).unwrap();
            (named.id.into_owned(), row.get().as_bytes().to_vec())
        });
        let page: Vec<Row> = page.collect();
        if let Some(ledger) = ledger {
            ledger.store(page.clone()).await;
        }
        rows.extend(page);
        cursor = meta.next_cursor.map(Cow::into_owned);
    }
    rows.truncate(count);
    rows
}

/// Posts messages, oldest first, `concurrency` of them at once.
async fn post(rows: Vec<Row>, receiver: &str, concurrency: usize, ledger: Option<&Ledger>) {
    let client = client(false);
    let receiver: Url = receiver.parse().unwrap();
    let (rows, begun) = (Arc::new(rows), Arc::new(AtomicUsize::new(0)));
    let worker = || {
        let (client, receiver, rows, begun) = (client.clone(), receiver.clone(), Arc::clone(&rows), Arc::clone(&begun));
        let recorder = ledger.map(Ledger::recorder);
        async move {
            while let Some(place) = rows.len().checked_sub(1 + begun.fetch_add(1, Ordering::Relaxed)) {
                let (id, body) = &rows[place];
                let request = client.post(receiver.clone()).header(CONTENT_TYPE, "application/json");
                let response = request.header("webhook-id", id).body(body.clone()).send().await.unwrap();
                response.error_for_status().unwrap().bytes().await.unwrap();
                if let Some(recorder) = &recorder {
                    recorder.record(id.clone()).await;
                }
            }
        }
    };
    let workers: Vec<_> = (0..concurrency).map(|_| tokio::spawn(worker())).collect();
    for worker in workers {
        worker.await.unwrap();
    }
}
