//! The rules of a fault script: on which requests a rule acts, with which effects, and how often.
//!
//! A script is an ordered list of rules; an [`Effect`] is what a rule does.

use serde::{Deserialize, Serialize};

use crate::faults::effect::Effect;

/// One rule of a fault script. The first rule of the script that is ready for a request acts on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The requests for which the rule is ready.
    #[serde(default)]
    pub when: When,
    /// The effects. Several may act together, such as a latency, a status and a header.
    pub effects: Vec<Effect>,
    /// How often the rule acts; `None` (`null` in JSON): without end. In JSON the default is once.
    #[serde(default = "once")]
    pub times: Option<u64>,
}

fn once() -> Option<u64> {
    Some(1)
}

impl Rule {
    /// Makes a rule with this effect that acts once, on the next request.
    pub fn once(effect: Effect) -> Self {
        Self { when: When::default(), effects: vec![effect], times: Some(1) }
    }

    /// Makes a rule with this effect that acts on every request.
    pub fn always(effect: Effect) -> Self {
        Self { times: None, ..Self::once(effect) }
    }

    /// Makes the rule act this many times.
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Adds another effect.
    pub fn and(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Limits the rule to requests with this path. A path that ends in `*` is a prefix.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.when.path = Some(path.into());
        self
    }

    /// Limits the rule to requests with a cursor, or to requests without one.
    pub fn cursor(mut self, cursor: bool) -> Self {
        self.when.cursor = Some(cursor);
        self
    }

    /// Limits the rule to requests with this key, given by id, secret or name.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.when.key = Some(key.into());
        self
    }

    /// Makes the rule begin with the nth matching request, counted from 1.
    pub fn from_nth(mut self, nth: u64) -> Self {
        self.when.skip = nth.saturating_sub(1);
        self
    }

    /// Limits the rule to a share of the matching requests, drawn from the seed.
    pub fn share(mut self, share: f64) -> Self {
        self.when.share = share;
        self
    }
}

/// The conditions under which a rule is ready for a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// The rule is ready only for requests with this method.
    pub method: Option<String>,
    /// The rule is ready only for requests with this path. A path that ends in `*` is a prefix.
    pub path: Option<String>,
    /// The rule is ready only for requests with a cursor (true), or only for requests without a cursor (false).
    pub cursor: Option<bool>,
    /// The rule is ready only for requests with this key, given by id, secret or name.
    pub key: Option<String>,
    /// The number of matching requests that pass before the rule acts.
    pub skip: u64,
    /// The share of the matching requests on which the rule acts, from 0 to 1.
    pub share: f64,
}

impl Default for When {
    fn default() -> Self {
        Self { method: None, path: None, cursor: None, key: None, skip: 0, share: 1.0 }
    }
}
