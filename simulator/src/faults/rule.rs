//! The lines of a fault script: for which requests, what happens, how often.
//!
//! A script is an ordered list of rules; [`Effect`] is what a rule does.

use serde::{Deserialize, Serialize};

use crate::faults::effect::Effect;

/// One line of a fault script. The first rule of the script that is ready for a request has its way with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// For which requests.
    #[serde(default)]
    pub when: When,
    /// What happens; several effects may join, say a latency, a status and a header.
    pub effects: Vec<Effect>,
    /// How often; `None` (`null`) is for ever. In JSON, once if it is not said.
    #[serde(default = "once")]
    pub times: Option<u64>,
}

fn once() -> Option<u64> {
    Some(1)
}

impl Rule {
    /// This effect, once, on the next request.
    pub fn once(effect: Effect) -> Self {
        Self { when: When::default(), effects: vec![effect], times: Some(1) }
    }

    /// This effect on every request.
    pub fn always(effect: Effect) -> Self {
        Self { times: None, ..Self::once(effect) }
    }

    /// So many times.
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Joins another effect.
    pub fn and(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Only requests of this path; one that ends in `*` is a prefix.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.when.path = Some(path.into());
        self
    }

    /// Only requests with a cursor, or only requests without.
    pub fn cursor(mut self, cursor: bool) -> Self {
        self.when.cursor = Some(cursor);
        self
    }

    /// Only requests with this key, given by id, secret or name.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.when.key = Some(key.into());
        self
    }

    /// Beginning with the nth matching request, counted from 1.
    pub fn from_nth(mut self, nth: u64) -> Self {
        self.when.skip = nth.saturating_sub(1);
        self
    }

    /// Only a share of the matching requests, drawn from the seed.
    pub fn share(mut self, share: f64) -> Self {
        self.when.share = share;
        self
    }
}

/// For which requests a rule is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// Only this method.
    pub method: Option<String>,
    /// Only this path; one that ends in `*` is a prefix.
    pub path: Option<String>,
    /// Only with a cursor, or only without.
    pub cursor: Option<bool>,
    /// Only with this key, given by id, secret or name.
    pub key: Option<String>,
    /// Lets so many matching requests pass first.
    pub skip: u64,
    /// Takes only this share of the matching requests, from 0 to 1.
    pub share: f64,
}

impl Default for When {
    fn default() -> Self {
        Self { method: None, path: None, cursor: None, key: None, skip: 0, share: 1.0 }
    }
}
