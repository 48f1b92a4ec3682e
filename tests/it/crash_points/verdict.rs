//! Checks what must hold at whatever point the relay was killed, and collects figures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::records::is_json;
use super::story::{SINKS, Seen};
use super::tracer::{Call, Moment};

/// The figures of many points.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) points: usize,
    lost: usize,
    repeated: usize,
    /// The most repeats after one kill.
    worst: usize,
    torn: usize,
    busiest_minute: usize,
    /// The number of points for each call and each file or peer.
    calls: BTreeMap<(String, &'static str), [usize; 3]>,
    /// The number of points for each activity that the kill interrupted.
    moments: BTreeMap<&'static str, usize>,
}

type Delivery = (String, String);

impl Seen {
    /// Panics if a promise is broken, and adds the other observations to the figures.
    pub(crate) fn judge(&self, figures: &mut Figures) {
        let killed = self.first.killed.as_ref();
        match killed {
            Some(_) => {
                let died = matches!(self.first.status, WaitStatus::Signaled(_, Signal::SIGKILL, _));
                assert!(died, "{:?}", self.first.status);
            }
            None => assert!(matches!(self.first.status, WaitStatus::Exited(_, 0)), "{}", self.log),
        }
        let lost = self.lost();
        assert!(lost.is_empty(), "lost: {lost:?}\n{}\n--\n{}", self.log, self.second_log);
        let repeated = self.repeated();
        self.bodies_are_as_the_api_showed_them();
        let torn = self.torn_lines(killed);
        assert!(self.busiest_minute <= self.story.budget, "{} requests in a minute", self.busiest_minute);
        assert_eq!(self.too_many, 0, "429");
        assert!(!self.second_log.contains("ERROR the state"), "{}", self.second_log);

        let Some((call, moment)) = killed else { return };
        figures.points += 1;
        figures.lost += lost.len();
        figures.repeated += repeated;
        figures.worst = figures.worst.max(repeated);
        figures.torn += torn;
        figures.busiest_minute = figures.busiest_minute.max(self.busiest_minute);
        figures.calls.entry((call.target.clone(), call.name)).or_default()[*moment as usize] += 1;
        for moment in self.moments(call, *moment) {
            *figures.moments.entry(moment).or_default() += 1;
        }
    }

    /// Returns the messages that are neither at their sink nor among the sink's dead letters.
    fn lost(&self) -> Vec<Delivery> {
        let counts = self.at_end.counts();
        let is_there = |delivery: &Delivery| counts.contains_key(delivery) || self.state_at_end.dead.contains(delivery);
        // The state may have further sinks. Their dead letters and their waiting deliveries must still be there.
        let before = &self.state_before;
        assert!(before.dead.is_subset(&self.state_at_end.dead), "dead letters of another sink");
        let waits = |delivery: &&Delivery| !SINKS.iter().any(|(sink, _)| *sink == delivery.0);
        assert!(before.retried.iter().filter(waits).all(|delivery| self.state_at_end.retried.contains(delivery)));
        let dead = self.state_at_end.dead.difference(&before.dead).map(|(_, id)| id.as_str()).collect::<BTreeSet<_>>();
        assert!(dead.iter().eq(self.story.refused.iter().collect::<BTreeSet<_>>()), "dead letters: {dead:?}");
        let due = SINKS.iter().flat_map(|(sink, _)| self.messages.keys().map(|id| ((*sink).to_owned(), id.clone())));
        due.filter(|delivery| !is_there(delivery) && !self.settled.contains(delivery)).collect()
    }

    /// Returns how many messages came again because they were in flight at the kill. Panics if any other message came
    /// again.
    fn repeated(&self) -> usize {
        let (before, after) = (self.at_death.counts(), self.at_end.counts());
        assert!(before.values().all(|count| *count == 1), "twice within one life: {before:?}");
        let again: Vec<&Delivery> = before.keys().filter(|delivery| after[*delivery] > 1).collect();
        for delivery in &again {
            assert_eq!(after[*delivery], 2, "{delivery:?}");
            assert!(!self.settled.contains(*delivery), "{delivery:?} was on record as delivered, and came again");
            assert!(!self.state_at_death.delivered.contains(*delivery), "{delivery:?} was recorded, and came again");
        }
        let twice_only_later = after.iter().filter(|(delivery, count)| **count > 1 && !before.contains_key(*delivery));
        assert_eq!(twice_only_later.count(), 0, "twice within the second life: {after:?}");
        for (sink, concurrency) in SINKS {
            let of_sink = again.iter().filter(|(name, _)| name == sink).count();
            assert!(of_sink <= concurrency, "{of_sink} came to {sink} again: {again:?}");
        }
        again.len()
    }

    fn bodies_are_as_the_api_showed_them(&self) {
        for (webhook_id, id, body) in &self.at_end.taken {
            assert_eq!(webhook_id, id, "the same webhook-id at every attempt");
            assert_eq!(body, &self.messages[id]);
        }
        for line in self.at_end.lines.iter().filter(|line| is_json(line)) {
            assert_eq!(line, &self.messages[&crate::support::relay::process::id_of(line)]);
        }
    }

    /// Returns the number of lines that are no message. There is at most one such line: the line that was being written
    /// at the kill. Checks that no line holds more than one message.
    fn torn_lines(&self, killed: Option<&(Call, Moment)>) -> usize {
        assert!(self.at_end.whole, "the last line has its end");
        let torn: Vec<&String> = self.at_end.lines.iter().filter(|line| !is_json(line)).collect();
        for line in &torn {
            let begins = self.messages.values().any(|message| message.starts_with(line.as_str()));
            assert!(begins, "not the beginning of one message: {line}");
        }
        assert_eq!(torn.len(), usize::from(!self.at_death.whole), "{torn:?}");
        if let ([_], Some((call, moment))) = (&torn[..], killed) {
            // At a kill, Linux may end a write of another thread at the end of a page.
            let halved = call.target == "lines.jsonl" && *moment == Moment::Half;
            assert!(halved || self.at_death.bytes.is_multiple_of(4096), "torn after {} bytes", self.at_death.bytes);
        }
        torn.len()
    }

    /// Returns the activities that the kill interrupted.
    fn moments(&self, call: &Call, moment: Moment) -> Vec<&'static str> {
        let begun = self.at_death.counts();
        let recorded = |delivery| self.state_at_death.delivered.contains(delivery) || self.settled.contains(delivery);
        let unsettled = begun.keys().any(|delivery| !recorded(delivery));
        let mut moments = vec![call.moment(moment)];
        if unsettled {
            moments.push("at a sink, not on record");
        }
        if moments[0] == "a transaction is flushed"
            && self.state_at_death.fresh.iter().any(|delivery| !begun.contains_key(delivery))
        {
            moments.push("released, nobody woken yet");
        }
        if self.state_at_death.held > 0 {
            moments.push("a gap holds rows");
        }
        if self.stopping {
            moments.push("after SIGTERM");
        }
        moments
    }
}

impl Call {
    fn moment(&self, moment: Moment) -> &'static str {
        match (self.target.as_str(), self.name) {
            ("state" | "state/relay.lock", "mkdir" | "openat") => "taking the role",
            (target, _) if target.starts_with("state/state.db.new") => "making the state file",
            ("state/budget.ring.new", _) => "opening the request budget",
            ("state/budget.ring", _) => "a request is written down",
            ("lines.jsonl", _) => "a line is written",
            ("the receiver", "read" | "recvfrom" | "readv") => "the receiver's answer came",
            ("the receiver", _) => "a message is sent",
            ("the API", "read" | "recvfrom" | "readv") => "a page came",
            ("the API", _) => "a page is asked for",
            ("state/state.db-wal", "fsync" | "fdatasync") if moment != Moment::Before => "a transaction is flushed",
            ("state/state.db-wal", "fsync" | "fdatasync") => "a transaction is to be flushed",
            ("state/state.db-wal", "pwrite64" | "write") => "a transaction is written",
            ("state/state.db", _) => "the journal goes into the file",
            _ => "opening or closing the state",
        }
    }
}

impl Figures {
    /// Formats the figures as a text for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{} points: {} lost, {} repeated ({} at most after one kill), {} torn lines, at most {} requests a minute\n",
            self.points, self.lost, self.repeated, self.worst, self.torn, self.busiest_minute
        );
        writeln!(text, "| call | file or peer | before | half | after |\n|---|---|---|---|---|").unwrap();
        for ((target, name), [before, half, after]) in &self.calls {
            writeln!(text, "| {name} | {target} | {before} | {half} | {after} |").unwrap();
        }
        writeln!(text, "| in the middle of | points |\n|---|---|").unwrap();
        for (moment, points) in &self.moments {
            writeln!(text, "| {moment} | {points} |").unwrap();
        }
        text
    }
}
