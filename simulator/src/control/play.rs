//! The methods of the handle with which a person plays: test messages, numbers that are shared and withdrawn, and what
//! is left of the request budget.

use std::time::Duration;

use serde::Serialize;

use crate::control::handle::Handle;
use crate::feed::number::Number;
use crate::feed::sms::Sms;

/// What is left of the request budget of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// The id of the key.
    pub key: String,
    /// The name of the key.
    pub name: String,
    /// The most requests in a window.
    pub limit: u32,
    /// How many requests are left in the present window.
    pub remaining: u32,
    /// The time until the window resets, in seconds, as `X-RateLimit-Reset` would state it.
    pub reset: u64,
}

/// # Playing
impl Handle {
    /// Sends test messages. Returns the messages' ids.
    pub fn send(&self, sms: &Sms) -> Vec<String> {
        self.shared.with(|state, now| {
            let messages = sms.messages(now.wall, &mut state.random);
            state.add(messages, now)
        })
    }

    /// Gives the account access to a number, by id or phone number, together with a history of `count` messages that
    /// goes back this far. A number that was withdrawn comes back with all its messages. A number that does not exist
    /// is made.
    pub fn share_number(&self, id_or_phone: &str, count: usize, history: Duration) -> Number {
        self.shared.with(|state, now| {
            let number = state.share(id_or_phone, count, history, now);
            state.numbers.get(number).clone()
        })
    }

    /// Takes the access to a number away: the number and all its messages leave the lists. Returns whether the account
    /// had access to such a number.
    pub fn withdraw_number(&self, id_or_phone: &str) -> bool {
        self.shared
            .with(|state, _| state.numbers.find(id_or_phone).is_some_and(|number| state.feed.withdraw(number, true)))
    }

    /// Returns whether the access to a number was taken away.
    pub fn is_withdrawn(&self, id_or_phone: &str) -> bool {
        self.shared
            .look(|state, _| state.numbers.find(id_or_phone).is_some_and(|number| state.feed.is_withdrawn(number)))
    }

    /// Returns what is left of the request budget of each key that is not revoked. This call is not counted as a
    /// request.
    pub fn budgets(&self) -> Vec<Budget> {
        self.shared.look(|state, now| {
            let active = state.keys.all().filter(|key| key.revoked_at.is_none());
            active
                .map(|key| {
                    let left = state.limiter.left(&key.id, now.elapsed, &state.switches);
                    Budget {
                        key: key.id.clone(),
                        name: key.name.clone(),
                        limit: left.limit,
                        remaining: left.remaining,
                        reset: left.reset_seconds(state.switches.reset),
                    }
                })
                .collect()
        })
    }
}
