//! The whole state of the simulated account at one moment.
//!
//! Invariant: `Shared` brings the state up to date (`catch_up`) before any caller gets it. So a message of the stream
//! that was due earlier is in the list before anything else happens.

use std::time::Duration;

use crate::account::billing::Billing;
use crate::account::identity;
use crate::account::keys::Keys;
use crate::account::limit::Limiter;
use crate::account::request_log::RequestLog;
use crate::account::script::Script;
use crate::clock::Now;
use crate::feed::cursor::Issued;
use crate::feed::list::Feed;
use crate::feed::message::{Message, NewMessage, Row};
use crate::feed::number::{NewNumber, Numbers};
use crate::feed::traffic::{Stream, invent};
use crate::switches::Switches;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) switches: Switches,
    pub(crate) feed: Feed,
    pub(crate) numbers: Numbers,
    pub(crate) keys: Keys,
    pub(crate) limiter: Limiter,
    pub(crate) issued: Issued,
    pub(crate) script: Script,
    pub(crate) log: RequestLog,
    pub(crate) stream: Stream,
    pub(crate) billing: Billing,
    pub(crate) session: String,
    pub(crate) random: fastrand::Rng,
}

impl State {
    pub(crate) fn new(seed: u64, switches: Switches, log_capacity: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            feed: Feed::new(&switches),
            switches,
            numbers: Numbers::default(),
            keys: Keys::default(),
            limiter: Limiter::default(),
            issued: Issued::default(),
            script: Script::default(),
            log: RequestLog::new(log_capacity),
            stream: Stream::new(seed),
            billing: Billing::new(seed),
            session: identity::session(&mut random),
            random,
        }
    }

    pub(crate) fn catch_up(&mut self, now: Now) {
        while let Some((place, area)) = self.billing.due(now) {
            let phone_number = area.and_then(|area| self.numbers.unused_phone_in(&area));
            let number = self.rent(NewNumber { phone_number, ..NewNumber::default() }, now);
            self.billing.assign(place, number);
        }
        for number in self.billing.renew(now) {
            "EXPIRED".clone_into(&mut self.numbers.get_mut(number).status);
        }
        while let Some(due) = self.stream.due(now) {
            let number = self.random.usize(..self.numbers.all().len().max(1));
            let number = self.numbers.all().get(number).map(|number| number.id.clone());
            self.add(vec![NewMessage { number, ..due.message }], now);
            let newest: Vec<u32> = self.feed.order.iter().take(10).collect();
            if due.vanish && !newest.is_empty() {
                let id = self.feed.entries.message(newest[self.random.usize(..newest.len())]).id.clone();
                self.feed.vanish(&id);
            }
        }
    }

    /// Adds messages and returns their ids.
    pub(crate) fn add(&mut self, new: Vec<NewMessage>, now: Now) -> Vec<String> {
        let messages: Vec<Message> = new.into_iter().map(|new| self.complete(new, now)).collect();
        let ids = messages.iter().map(|message| message.id.to_string()).collect();
        self.feed.add(messages);
        ids
    }

    /// Fills in all parts of a message that the caller did not give.
    fn complete(&mut self, new: NewMessage, now: Now) -> Message {
        let invented = invent(&mut self.random);
        let made_up = new.body.is_none();
        let number = match new.number {
            Some(name) => self.number_called(name, false, now),
            None if self.numbers.all().is_empty() => self.rent(NewNumber::default(), now),
            None => (0..self.numbers.all().len()).find(|&number| !self.feed.is_withdrawn(number)).unwrap_or(0),
        };
        let id = new.id.unwrap_or_else(|| {
            loop {
                let id = identity::message_id(&mut self.random, self.switches.ids);
                if self.feed.find(&id).is_none() {
                    break id;
                }
            }
        });
        let received = new.received_at.or(new.ingested_at).unwrap_or(now.wall);
        Message {
            id: id.into(),
            number,
            from: new.from.or(invented.from).unwrap_or_default().into(),
            body: new.body.or(invented.body).unwrap_or_default().into(),
            code: new.code.or(invented.code.filter(|_| made_up)).map(Into::into),
            received_ms: received.as_millisecond(),
            ingested_ms: new.ingested_at.unwrap_or(now.wall).as_millisecond(),
            encrypted: new.encrypted,
            is_read: new.is_read,
            extra: new.extra,
        }
    }

    /// Returns the number with this id or phone number. A number that does not exist is made.
    fn number_called(&mut self, name: String, shared: bool, now: Now) -> usize {
        self.numbers.find(&name).unwrap_or_else(|| {
            let phone = name.starts_with('+');
            let (id, phone_number) = if phone { (None, Some(name)) } else { (Some(name), None) };
            self.rent(NewNumber { id, phone_number, shared, ..NewNumber::default() }, now)
        })
    }

    /// Gives the account access to a number, and adds a history of messages to the number.
    pub(crate) fn share(&mut self, name: &str, count: usize, length: Duration, now: Now) -> usize {
        let number = self.number_called(name.to_owned(), true, now);
        self.feed.withdraw(number, false);
        let mut messages = crate::feed::traffic::history(count, length, now.wall, &mut self.random);
        for message in &mut messages {
            message.number = Some(self.numbers.get(number).id.clone());
        }
        self.add(messages, now);
        number
    }

    /// Finds a number that the account has access to by its id, as for `numberId`.
    pub(crate) fn listed_number(&self, id: &str) -> Option<usize> {
        self.numbers.find_id(id).filter(|&number| !self.feed.is_withdrawn(number))
    }

    pub(crate) fn rent(&mut self, new: NewNumber, now: Now) -> usize {
        self.numbers.add(new, now.wall, &mut self.random)
    }

    /// Adds a history of messages, spread over the numbers.
    pub(crate) fn add_history(&mut self, count: usize, length: Duration, now: Now) {
        let mut messages = crate::feed::traffic::history(count, length, now.wall, &mut self.random);
        let ids: Vec<String> = self.numbers.all().iter().map(|number| number.id.clone()).collect();
        for message in &mut messages {
            message.number = ids.get(self.random.usize(..ids.len().max(1))).cloned();
        }
        self.add(messages, now);
    }

    /// Returns the JSON of a message, as a page contains it.
    pub(crate) fn message_json(&self, slot: u32) -> String {
        let message = self.feed.entries.message(slot);
        message.json(self.numbers.get(message.number), &self.switches)
    }

    pub(crate) fn row(&self, slot: u32) -> Row {
        let message = self.feed.entries.message(slot);
        message.row(self.numbers.get(message.number), &self.switches, self.feed.entries.vanished(slot))
    }

    pub(crate) fn set_switches(&mut self, switches: Switches) {
        self.switches = switches;
        self.feed.obey(&self.switches);
    }
}
