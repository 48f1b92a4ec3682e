//! Checks what must be true after a life of a relay.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::AddAssign;

use joltsms_simulator::Row;

use super::life::{Life, WORKERS};
use crate::support::relay::process::id_of;
use crate::support::servers::receiver::{Received, Receiver};

/// The figures of all lives.
#[derive(Default)]
pub(super) struct Figures {
    messages: usize,
    requests: usize,
    repeats: usize,
    kills: usize,
    commands: usize,
    faults: usize,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.requests += other.requests;
        self.repeats += other.repeats;
        self.kills += other.kills;
        self.commands += other.commands;
        self.faults += other.faults;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, requests, repeats, kills, commands, faults } = self;
        write!(
            f,
            "{messages} messages, {kills} kills, {faults} faults of the API, {commands} commands, {requests} requests of \
             receivers; 0 lost, {repeats} came again to those that had not asked for it"
        )
    }
}

pub(super) fn judge(life: &Life) -> Figures {
    let rows: BTreeMap<String, Row> = life.scene.handle().rows().into_iter().map(|row| (row.id.clone(), row)).collect();
    let seed = life.seed;
    let all: BTreeSet<&str> = rows.keys().map(String::as_str).collect();
    let with_code: BTreeSet<&str> = rows.values().filter(|row| row.code.is_some()).map(|row| &*row.id).collect();
    let mut repeats = 0;
    let mut requests = 0;
    for (name, receiver, wanted) in
        [("crm", &life.crm, &all), ("shop", &life.shop, &all), ("codes", &life.codes, &with_code)]
    {
        let received = receiver.received();
        requests += received.len();
        for request in &received {
            let row = rows.get(request.webhook_id()).unwrap_or_else(|| panic!("seed {seed}: {name} got a stranger"));
            assert_eq!(request.body, row.json, "seed {seed}: {name} got it altered");
        }
        let taken = taken(&received);
        let had: BTreeSet<&str> = taken.iter().copied().collect();
        assert_eq!(&had, wanted, "seed {seed}: {name} has what it wants and nothing else");
        if name != "crm" {
            let again = taken.len() - had.len();
            assert!(again <= life.kills * WORKERS, "seed {seed}: {again} repeats at {name} after {} kills", life.kills);
            repeats += again;
        }
    }
    lines(life, &rows);
    order(life, &life.shop);
    let sound: String = life.scene.state().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "seed {seed}");
    let Life { kills, commands, faults, .. } = *life;
    Figures { messages: rows.len(), requests, repeats, kills, commands, faults }
}

/// Returns the ids of the messages that a receiver accepted, in the order in which they came.
fn taken(received: &[Received]) -> Vec<&str> {
    received.iter().filter(|request| request.status == 200).map(Received::webhook_id).collect()
}

/// Checks that each line of the file is a whole message, and that no more lines are repeated than the kills explain.
fn lines(life: &Life, rows: &BTreeMap<String, Row>) {
    let seed = life.seed;
    let text = std::fs::read_to_string(&life.lines).unwrap();
    let mut had = BTreeSet::new();
    let mut count = 0;
    for line in text.lines() {
        // A kill in the middle of a line leaves the beginning of the line. The next process ends that line before it
        // goes on.
        let Ok(serde_json::Value::Object(_)) = serde_json::from_str(line) else {
            assert!(rows.values().any(|row| row.json.starts_with(line)), "seed {seed}: a mixture: {line}");
            continue;
        };
        let id = id_of(line);
        assert_eq!(line, rows[&id].json, "seed {seed}: the line is altered");
        had.insert(id);
        count += 1;
    }
    let wanted: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(had, wanted, "seed {seed}: the lines");
    // Lines that were written together are settled together, so a kill can repeat as many lines as are written
    // together.
    assert!(count - had.len() <= life.kills * 8, "seed {seed}: {} lines too many", count - had.len());
}

/// Checks that a message is accepted only after all messages of the same number that were handed on before it.
fn order(life: &Life, receiver: &Receiver) {
    let state = life.scene.state();
    let mut statement =
        state.prepare("SELECT id, number, release_no FROM message WHERE release_no IS NOT NULL").unwrap();
    let places: HashMap<String, (i64, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let received = receiver.received();
    let (mut met, mut last) = (BTreeSet::new(), HashMap::new());
    for id in taken(&received) {
        if !met.insert(id) {
            continue;
        }
        let (number, place) = places[id];
        let before = last.insert(number, place);
        assert!(before.is_none_or(|before| before < place), "seed {}: {id} overtook another of its number", life.seed);
    }
}
