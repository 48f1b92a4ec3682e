//! Counts what was lost and what came again, and whether anything grew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::run::{CONCURRENCY, Processes, Run};
use super::samples::Trend;
use crate::support::servers::receiver::Receiver;

/// The window of the API's limit, and the limit.
const WINDOW: (Duration, usize) = (Duration::from_secs(60), 120);

/// The length of a run in whose first quarter everything must have stopped growing.
const LONG: Duration = Duration::from_secs(1200);

/// The most bytes that the state keeps of a message whose text is gone: its id, so that the message does not come again.
const REMEMBERED: u64 = 300;

/// The longest journal in KiB: SQLite begins it anew after 4 MiB, and one transaction can go beyond.
const LONGEST_JOURNAL: u64 = 6 * 1024;

/// The figures of a run.
pub(super) struct Figures {
    processes: Processes,
    messages: usize,
    faults: BTreeMap<Fault, usize>,
    /// How many messages each sink lacks.
    lost: BTreeMap<&'static str, usize>,
    /// How many messages each sink had again, and the most that the faults explain.
    repeated: BTreeMap<&'static str, (usize, usize)>,
    /// The most requests to the API in any minute.
    requests_a_minute: usize,
    errors: usize,
    /// The lines of the log about messages that a sink had again.
    about_repeated: Vec<String>,
    samples: usize,
    memory: Trend,
    descriptors: Trend,
    threads: Trend,
    database: Trend,
    journal: Trend,
    integrity: String,
}

/// Returns the figures of a run that has ended.
pub(super) fn judge(run: &Run) -> Figures {
    let rows: BTreeMap<String, String> =
        run.scene.handle().all_rows().into_iter().map(|row| (row.id, row.json)).collect();
    let count = |fault: Fault| run.faults.get(&fault).copied().unwrap_or(0);
    // A kill cuts off what is in flight. A receiver that goes down or comes back can cut off requests that it has
    // accepted.
    let (kills, cuts) = (count(Fault::Kill), 2 * count(Fault::ReceiverDown));
    let whole = |line: &String| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let archived = run.archived().into_iter().filter(whole).map(|line| {
        let id = crate::support::relay::process::id_of(&line);
        assert_eq!(rows.get(&id), Some(&line), "a line of the file is altered");
        id
    });
    let sinks = [
        ("crm", accepted(&run.crm), kills + cuts),
        ("shop", accepted(&run.shop), kills),
        ("archive", archived.collect(), kills),
        ("script", run.ran(), kills),
        ("extra", accepted(&run.extra), kills),
    ];
    let (mut lost, mut repeated, mut about_repeated) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (name, ids, interruptions) in sinks {
        let had: BTreeSet<&String> = ids.iter().collect();
        assert!(had.iter().all(|id| rows.contains_key(*id)), "{name} has a message that nobody sent");
        // `extra` gets only the messages that come while the configuration has the sink.
        lost.insert(name, if name == "extra" { 0 } else { rows.len() - had.len() });
        repeated.insert(name, (ids.len() - had.len(), interruptions * CONCURRENCY));
        let mut met = BTreeSet::new();
        for again in ids.iter().filter(|id| !met.insert(*id)) {
            let sink = format!("sink.name=\"{name}\"");
            let lines = run.log.lines().filter(|line| line.contains(again.as_str()) && line.contains(&sink));
            about_repeated.extend(lines.map(str::to_owned));
        }
    }
    Figures {
        processes: run.processes,
        messages: rows.len(),
        faults: run.faults.clone(),
        lost,
        repeated,
        requests_a_minute: run.scene.handle().max_requests_in_any(WINDOW.0),
        errors: run.log.matches(" ERROR ").count(),
        about_repeated,
        samples: run.samples.len(),
        memory: Trend::of(&run.samples, |sample| sample.memory),
        descriptors: Trend::of(&run.samples, |sample| sample.descriptors),
        threads: Trend::of(&run.samples, |sample| sample.threads),
        database: Trend::of(&run.samples, |sample| sample.database),
        journal: Trend::of(&run.samples, |sample| sample.journal),
        integrity: run.scene.state().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap(),
    }
}

/// Returns the ids of the messages that a receiver accepted.
fn accepted(receiver: &Receiver) -> Vec<String> {
    let received = receiver.received();
    let accepted = received.iter().filter(|request| request.status == 200);
    accepted.map(|request| request.webhook_id().to_owned()).collect()
}

impl Figures {
    /// Fails if a message was lost, if more came again than the faults explain, or if something has grown in a long run.
    pub(super) fn assert_good(&self, length: Duration) {
        assert!(self.lost.values().all(|lost| *lost == 0), "messages were lost:\n{self}");
        let is_explained = self.repeated.values().all(|(repeated, most)| repeated <= most);
        assert!(is_explained, "too many messages came again:\n{self}");
        assert!(self.requests_a_minute <= WINDOW.1, "more requests than the API allows:\n{self}");
        assert_eq!(self.integrity, "ok", "the state is damaged:\n{self}");
        assert!(self.journal.most <= LONGEST_JOURNAL, "the journal has grown:\n{self}");
        if length >= LONG {
            assert!(!self.descriptors.has_grown(20, 10), "open descriptors have grown:\n{self}");
            assert!(!self.threads.has_grown(20, 5), "threads have grown:\n{self}");
            assert!(!self.memory.has_grown(20, 4096), "memory has grown:\n{self}");
            // The state keeps an id of each old message.
            let ids = self.messages as u64 * REMEMBERED / 1024;
            assert!(!self.database.has_grown(20, ids), "the state has grown by more than ids:\n{self}");
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = match self.processes {
            Processes::One => "one process from the beginning to the end",
            Processes::Many => "a process that is killed and restarted",
        };
        let faults: usize = self.faults.values().sum();
        writeln!(f, "{title}: {} messages, {faults} faults", self.messages)?;
        let kinds: Vec<String> = self.faults.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
        writeln!(f, "  faults: {}", kinds.join(", "))?;
        let lost: Vec<String> = self.lost.iter().map(|(sink, lost)| format!("{sink} {lost}")).collect();
        writeln!(f, "  lost: {}", lost.join(", "))?;
        let repeated = self.repeated.iter();
        let repeated: Vec<String> =
            repeated.map(|(sink, (count, most))| format!("{sink} {count} (of {most})")).collect();
        writeln!(f, "  repeated, of the most that the faults explain: {}", repeated.join(", "))?;
        writeln!(f, "  requests to the API in any minute: {} at most", self.requests_a_minute)?;
        writeln!(f, "  lines of the log that are an ERROR: {}", self.errors)?;
        writeln!(f, "  resident memory in KiB: {}", self.memory)?;
        writeln!(f, "  open descriptors: {}", self.descriptors)?;
        writeln!(f, "  threads: {}", self.threads)?;
        writeln!(f, "  database of the state in KiB: {}", self.database)?;
        writeln!(f, "  journal of the database in KiB: {}", self.journal)?;
        write!(f, "  {} samples; integrity of the state: {}", self.samples, self.integrity)?;
        for line in &self.about_repeated {
            write!(f, "\n  about a message that came again: {line}")?;
        }
        Ok(())
    }
}
