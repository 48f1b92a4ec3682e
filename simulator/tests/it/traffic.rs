//! Tests of messages that come by themselves, and of how believable these messages are.

use std::time::Duration;

use joltsms_simulator::{Clock, NewMessage, Options, Row, Simulator, Traffic};

use crate::client::{START, at, get};

/// Returns a simulator that has run for ten minutes with this traffic, and the messages in order of arrival.
fn ten_minutes(seed: u64, traffic: Traffic) -> (Simulator, Vec<Row>) {
    let clock = Clock::Manual(START.parse().unwrap());
    let options = Options { seed, clock, traffic, numbers: 3, ..Options::default() };
    let simulator = Simulator::start_in_background(options).unwrap();
    simulator.handle().advance(Duration::from_secs(600));
    let rows = simulator.handle().all_rows();
    (simulator, rows)
}

fn steady() -> Traffic {
    Traffic { per_minute: 60.0, ..Traffic::default() }
}

#[test]
fn a_stream_is_as_dense_as_it_should_be_and_seeded() {
    let (simulator, rows) = ten_minutes(7, steady());
    assert!((500..700).contains(&rows.len()), "{}", rows.len());
    assert!(rows.windows(2).all(|pair| pair[0].ingested_at <= pair[1].ingested_at));
    assert!(rows.iter().all(|row| row.received_at < row.ingested_at && row.ingested_at <= at(600_000)));
    assert!(rows.iter().all(|row| row.ingested_at.duration_since(row.received_at).as_secs() < 3));
    assert!(simulator.handle().numbers().iter().all(|number| rows.iter().any(|row| row.number_id == number.id)));
    let texts = |rows: &[Row]| rows.iter().map(|row| row.json.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&rows), texts(&ten_minutes(7, steady()).1));
    assert_ne!(texts(&rows), texts(&ten_minutes(8, steady()).1));
}

#[test]
fn a_stream_goes_on_however_often_it_is_looked_at() {
    let clock = Clock::Manual(START.parse().unwrap());
    let options = Options { seed: 7, clock, traffic: steady(), numbers: 3, ..Options::default() };
    let simulator = Simulator::start_in_background(options).unwrap();
    for _ in 0..600 {
        simulator.handle().advance(Duration::from_secs(1));
        assert!(simulator.handle().message_count() < 700);
    }
    let ids = |rows: Vec<Row>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(simulator.handle().all_rows()), ids(ten_minutes(7, steady()).1));
    simulator.handle().set_traffic(Traffic::default());
    let count = simulator.handle().message_count();
    simulator.handle().advance(Duration::from_secs(600));
    assert_eq!(simulator.handle().message_count(), count);
}

#[test]
fn codes_stand_in_their_texts() {
    let (_, rows) = ten_minutes(1, steady());
    let coded: Vec<&Row> = rows.iter().filter(|row| row.code.is_some()).collect();
    assert!(coded.len() > rows.len() / 3 && coded.len() < rows.len());
    for row in coded {
        let code = row.code.as_deref().unwrap();
        assert!(row.body.contains(code) && (4..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit()));
    }
    assert!(rows.iter().all(|row| !row.body.contains('{') && !row.body.is_empty() && !row.from.is_empty()));
}

#[test]
fn a_share_is_late() {
    let late_by = Some(Duration::from_secs(120));
    let (simulator, rows) = ten_minutes(2, Traffic { late: 0.3, late_by, ..steady() });
    let late: Vec<i64> =
        rows.iter().map(|row| row.ingested_at.duration_since(row.received_at).as_secs()).filter(|by| *by > 2).collect();
    assert!((100..300).contains(&late.len()), "{}", late.len());
    assert!(late.iter().all(|by| *by <= 120) && late.iter().any(|by| *by > 60));
    let order: Vec<String> = simulator.handle().rows().into_iter().map(|row| row.id).collect();
    let arrived: Vec<String> = rows.into_iter().rev().map(|row| row.id).collect();
    assert_ne!(order, arrived, "late ones show up behind newer ones");
}

#[test]
fn a_share_is_in_the_future() {
    let (_, rows) = ten_minutes(3, Traffic { future: 0.1, ..steady() });
    let future = rows.iter().filter(|row| row.received_at > row.ingested_at).count();
    assert!((20..150).contains(&future), "{future}");
}

#[test]
fn a_share_has_equal_times() {
    let (_, rows) = ten_minutes(4, Traffic { equal: 0.2, ..steady() });
    let equal = rows.windows(2).filter(|pair| pair[0].received_at == pair[1].received_at).count();
    assert!((60..240).contains(&equal), "{equal}");
}

#[test]
fn a_share_vanishes() {
    let (simulator, rows) = ten_minutes(5, Traffic { vanish: 0.1, ..steady() });
    let vanished = rows.iter().filter(|row| row.vanished).count();
    assert!((20..150).contains(&vanished), "{vanished}");
    assert_eq!(simulator.handle().message_count(), rows.len() - vanished);
}

#[test]
fn a_history_lies_in_the_past() {
    let clock = Clock::Manual(START.parse().unwrap());
    let history = Duration::from_secs(86_400);
    let options = Options { clock, messages: 2000, numbers: 3, history, ..Options::default() };
    let simulator = Simulator::start_in_background(options).unwrap();
    let rows = simulator.handle().rows();
    assert_eq!(rows.len(), 2000);
    assert!(rows[0].received_at > at(-600_000) && rows[0].ingested_at <= at(0));
    assert!(rows[1999].received_at < at(-80_000_000) && rows[1999].received_at >= at(-86_402_000));
    assert_eq!(get(&simulator, "/v1/messages").json()["meta"]["total"], 2000);
}

#[test]
fn what_is_not_said_about_a_message_is_made_up() {
    let (simulator, _) = ten_minutes(6, Traffic::default());
    let handle = simulator.handle();
    let row = |message: NewMessage| handle.row(&handle.add(message)).unwrap();
    let made = row(NewMessage::new());
    assert_eq!((made.received_at, made.ingested_at), (at(600_000), at(600_000)));
    assert_eq!(made.number_id, handle.numbers()[0].id);
    assert!(!made.from.is_empty() && !made.body.is_empty());
    let own = row(NewMessage::new().body("hello 123456"));
    assert_eq!((own.body.as_str(), own.code), ("hello 123456", None));
    assert_eq!(row(NewMessage::new().number("+16505550199")).to, "+16505550199");
    assert_eq!(row(NewMessage::new().number("num_new")).number_id, "num_new");
    assert_eq!(handle.numbers().len(), 5);
}
