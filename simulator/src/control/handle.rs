//! The handle of a test, which changes the simulated account from any thread. (`observe` has the methods that only
//! observe.)
//!
//! Invariant: every call sees the state of the present moment, and its change is complete when the call returns.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::account::keys::{CreatedKey, Key, TooManyKeys};
use crate::account::outage::Outage;
use crate::account::shared::Shared;
use crate::account::state::State;
use crate::faults::rule::Rule;
use crate::feed::message::{NewMessage, Row};
use crate::feed::number::{NewNumber, Number};
use crate::feed::traffic::Traffic;
use crate::switches::Switches;

/// Changes and observes a running [`Simulator`](crate::Simulator) from any thread. A handle works even after other
/// handles were dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// # Messages
impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Adds a message. Returns the message's id.
    pub fn add(&self, message: NewMessage) -> String {
        self.add_many([message]).pop().unwrap_or_default()
    }

    /// Adds messages at once, in the order in which they arrive. Returns the messages' ids.
    pub fn add_many(&self, messages: impl IntoIterator<Item = NewMessage>) -> Vec<String> {
        let messages = messages.into_iter().collect();
        self.shared.with(|state, now| state.add(messages, now))
    }

    /// Adds believable messages, spread over the time before now and over all numbers.
    pub fn add_history(&self, count: usize, length: Duration) {
        self.shared.with(|state, now| state.add_history(count, length, now));
    }

    /// Removes a message from the list. Returns whether the message was there.
    pub fn vanish(&self, id: &str) -> bool {
        self.shared.with(|state, _| state.feed.vanish(id))
    }

    /// Puts a vanished message back. Returns whether the message had vanished.
    pub fn restore(&self, id: &str) -> bool {
        self.shared.with(|state, _| state.feed.restore(id))
    }

    /// Lists a message as if it had the time `to`, whatever time the message shows. Returns whether the message is
    /// there.
    pub fn relocate(&self, id: &str, to: Timestamp) -> bool {
        self.shared.with(|state, _| state.feed.relocate(id, to.as_millisecond()))
    }

    /// Removes all messages for good.
    pub fn clear_messages(&self) {
        self.shared.with(|state, _| state.feed.clear(&state.switches));
    }

    /// Returns the first `count` messages of the list.
    pub fn newest_rows(&self, count: usize) -> Vec<Row> {
        self.shared.look(|state, _| state.feed.order.iter().take(count).map(|slot| state.row(slot)).collect())
    }

    /// Returns how many messages are in the list.
    pub fn message_count(&self) -> usize {
        self.shared.look(|state, _| state.feed.len())
    }

    /// Returns all messages in the list, in the order of the list.
    pub fn rows(&self) -> Vec<Row> {
        self.shared.look(|state, _| state.feed.order.iter().map(|slot| state.row(slot)).collect())
    }

    /// Returns all messages that were ever added, including vanished ones, in the order in which they were added.
    pub fn all_rows(&self) -> Vec<Row> {
        self.shared.look(|state, _| state.feed.slots().map(|slot| state.row(slot)).collect())
    }

    /// Returns the message with this id.
    pub fn row(&self, id: &str) -> Option<Row> {
        self.shared.look(|state, _| state.feed.find(id).map(|slot| state.row(slot)))
    }

    /// Makes messages come by themselves from now on.
    pub fn set_traffic(&self, traffic: Traffic) {
        self.shared.with(|state, now| state.stream.set(traffic, now));
    }

    /// Returns the settings of the messages that come by themselves.
    pub fn traffic(&self) -> Traffic {
        self.shared.look(|state, _| state.stream.traffic())
    }
}

/// # The account
impl Handle {
    /// Rents a number, or changes the number with the same id or phone number.
    pub fn add_number(&self, number: NewNumber) -> Number {
        self.shared.with(|state, now| {
            let index = state.rent(number, now);
            state.numbers.get(index).clone()
        })
    }

    /// Returns all numbers, in the order in which they were rented.
    pub fn numbers(&self) -> Vec<Number> {
        self.shared.look(|state, _| state.numbers.all().to_vec())
    }

    /// Makes an API key.
    ///
    /// # Errors
    /// An error if the account has as many active keys as it may have.
    pub fn create_key(&self, name: &str, expires_at: Option<Timestamp>) -> Result<CreatedKey, TooManyKeys> {
        self.shared.with(|state, now| {
            let State { keys, switches, random, .. } = state;
            keys.create(name, expires_at, now, switches, random)
        })
    }

    /// Returns all keys, including revoked ones.
    pub fn keys(&self) -> Vec<Key> {
        self.shared.look(|state, _| state.keys.all().cloned().collect())
    }

    /// Revokes a key, given by id, secret or name. The key is still accepted for the rest of its cache time. Returns
    /// whether there is such a key that was not revoked yet.
    pub fn revoke_key(&self, key: &str) -> bool {
        self.shared.with(|state, now| state.keys.revoke(key, now))
    }

    /// Sets or removes the expiry of a key, given by id, secret or name. Returns whether there is such a key.
    pub fn expire_key(&self, key: &str, at: Option<Timestamp>) -> bool {
        self.shared.with(|state, _| state.keys.set_expiry(key, at))
    }

    /// Ends all cache times, so that every key is checked again when it is next used.
    pub fn forget_key_cache(&self) {
        self.shared.with(|state, _| state.keys.forget_cache());
    }
}

/// # How the API behaves
impl Handle {
    /// Returns the present switches.
    pub fn switches(&self) -> Switches {
        self.shared.look(|state, _| state.switches.clone())
    }

    /// Changes switches: `handle.set_switches(|switches| switches.pretty = true)`.
    pub fn set_switches(&self, change: impl FnOnce(&mut Switches)) {
        self.shared.with(|state, _| {
            let mut switches = state.switches.clone();
            change(&mut switches);
            state.set_switches(switches);
        });
    }

    /// Adds a rule at the end of the fault script. Returns the number of the rule.
    pub fn add_fault(&self, rule: Rule) -> u64 {
        self.shared.with(|state, _| state.script.push(rule))
    }

    /// Adds rules at the end of the fault script.
    pub fn add_faults(&self, rules: impl IntoIterator<Item = Rule>) {
        let rules: Vec<Rule> = rules.into_iter().collect();
        self.shared.with(|state, _| {
            for rule in rules {
                state.script.push(rule);
            }
        });
    }

    /// Returns the rules of the fault script, each with its number and how often it has acted.
    pub fn faults(&self) -> Vec<(u64, Rule, u64)> {
        let copy = |(number, rule, acted): (u64, &Rule, u64)| (number, rule.clone(), acted);
        self.shared.look(|state, _| state.script.rules().map(copy).collect())
    }

    /// Removes a rule from the fault script. Returns whether the rule was there.
    pub fn remove_fault(&self, number: u64) -> bool {
        self.shared.with(|state, _| state.script.remove(number))
    }

    /// Empties the fault script. Requests that already hang go on hanging.
    pub fn clear_faults(&self) {
        self.shared.with(|state, _| state.script.clear());
    }

    /// Makes another program send this many requests now, with the key that was made at the start.
    pub fn spend(&self, requests: u32) {
        self.spend_with(&self.shared.key, requests);
    }

    /// Makes another program send this many requests now, as [`Handle::spend`] does, but with another key, given by id,
    /// secret or name. With an unknown key no request is made.
    pub fn spend_with(&self, key: &str, requests: u32) {
        self.shared.with(|state, now| {
            let State { keys, limiter, switches, .. } = state;
            if let Some(key) = keys.find(key) {
                limiter.spend_foreign(&key.id, requests, now.elapsed, switches);
            }
        });
    }

    /// Makes another program send this many requests a minute from now on, with the key that was made at the start.
    /// Zero ends these requests.
    pub fn set_foreign_client(&self, per_minute: f64) {
        self.set_foreign_client_with(&self.shared.key, per_minute);
    }

    /// Makes another program send requests, as [`Handle::set_foreign_client`] does, but with another key, given by id,
    /// secret or name. With an unknown key no request is made.
    pub fn set_foreign_client_with(&self, key: &str, per_minute: f64) {
        self.shared.with(|state, now| {
            let State { keys, limiter, switches, .. } = state;
            if let Some(key) = keys.find(key) {
                limiter.set_foreign(&key.id, per_minute, now.elapsed, switches);
            }
        });
    }

    /// Returns the other programs: the id of each program's key, and its requests a minute.
    pub fn foreign_clients(&self) -> Vec<(String, f64)> {
        let copy = |(key, per_minute): (&str, f64)| (key.to_owned(), per_minute);
        self.shared.look(|state, _| state.limiter.foreign().map(copy).collect())
    }

    /// Begins all windows of the rate limit anew.
    pub fn reset_limits(&self) {
        self.shared.with(|state, _| state.limiter.clear());
    }

    /// Stops or starts listening. While the simulator does not listen, connections are refused, as when the API's host
    /// is down, and open connections are closed. The port stays the same.
    pub fn set_listening(&self, listening: bool) {
        let outage = Outage { from: Duration::ZERO, until: Duration::MAX };
        self.shared.outage.send_replace(if listening { Outage::NONE } else { outage });
    }

    /// Plans an outage that begins after a pause. Both times are on the simulator's clock.
    pub fn plan_outage(&self, after: Duration, duration: Duration) {
        let from = self.elapsed().saturating_add(after);
        self.shared.outage.send_replace(Outage { from, until: from.saturating_add(duration) });
    }

    /// Moves the clock ahead.
    pub fn advance(&self, by: Duration) {
        self.shared.timer.advance(by);
        // Everything that has become due happens before this method returns.
        self.shared.with(|_, _| ());
    }

    /// Returns the date on the simulator's clock, without the skew of the `Date` header.
    pub fn now(&self) -> Timestamp {
        self.shared.look(|_, now| now.wall)
    }

    /// Returns the time since the simulator's start, on the simulator's clock.
    pub fn elapsed(&self) -> Duration {
        self.shared.look(|_, now| now.elapsed)
    }
}
