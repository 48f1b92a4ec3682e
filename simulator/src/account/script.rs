//! The fault script: decides which rule acts on a request.
//!
//! Invariants: every rule counts every request that the rule matches, whichever rule acts. If a rule's effects need a
//! page, only requests for a list that pass authentication and the limit count; if they need a cursor, only requests
//! with a cursor. Once a rule has acted `times` times, it does not act again.

use crate::account::keys::{Caller, Keys};
use crate::faults::effect::Effect;
use crate::faults::rule::Rule;
use crate::http::request::Request;

/// The rules, in their order.
#[derive(Debug, Default)]
pub(crate) struct Script {
    rules: Vec<Running>,
    added: u64,
}

#[derive(Debug)]
struct Running {
    number: u64,
    rule: Rule,
    seen: u64,
    acted: u64,
}

impl Script {
    /// Adds a rule after the others. Returns the number of the rule.
    pub(crate) fn push(&mut self, rule: Rule) -> u64 {
        self.added += 1;
        self.rules.push(Running { number: self.added, rule, seen: 0, acted: 0 });
        self.added
    }

    /// Removes a rule. Returns whether the rule was there.
    pub(crate) fn remove(&mut self, number: u64) -> bool {
        let before = self.rules.len();
        self.rules.retain(|running| running.number != number);
        self.rules.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Returns each rule with its number and how often it has acted.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (u64, &Rule, u64)> {
        self.rules.iter().map(|running| (running.number, &running.rule, running.acted))
    }

    /// Returns the number and the effects of the rule that acts. `page`: whether the request asks for a list, and has
    /// passed authentication and the limit.
    pub(crate) fn choose(
        &mut self,
        request: &Request,
        caller: &Caller,
        page: bool,
        keys: &Keys,
        random: &mut fastrand::Rng,
    ) -> Option<(u64, Vec<Effect>)> {
        let mut chosen = None;
        for running in &mut self.rules {
            if !matches(&running.rule, request, caller, page, keys) {
                continue;
            }
            running.seen += 1;
            let when = &running.rule.when;
            let ready = running.seen > when.skip && running.rule.times.is_none_or(|times| running.acted < times);
            if chosen.is_none() && ready && (when.share >= 1.0 || random.f64() < when.share) {
                running.acted += 1;
                chosen = Some((running.number, running.rule.effects.clone()));
            }
        }
        chosen
    }
}

fn matches(rule: &Rule, request: &Request, caller: &Caller, page: bool, keys: &Keys) -> bool {
    let has_cursor = request.parameter("cursor").is_some();
    let when = &rule.when;
    let path = when.path.as_deref().is_none_or(|path| match path.strip_suffix('*') {
        Some(prefix) => request.path.starts_with(prefix),
        None => request.path == path,
    });
    let key = when.key.as_deref().is_none_or(|key| match caller {
        Caller::Key(id) => keys.find(key).is_some_and(|key| key.id == *id),
        Caller::Session | Caller::Nobody => false,
    });
    path && key
        && when.method.as_deref().is_none_or(|method| request.method.eq_ignore_ascii_case(method))
        && when.cursor.is_none_or(|cursor| cursor == has_cursor)
        && (page || !rule.effects.iter().any(Effect::needs_page))
        && (has_cursor || !rule.effects.iter().any(Effect::needs_cursor))
}
