//! Which messages a sink wants: `[sinks.NAME.filter]`.
//!
//! Invariants:
//!
//! - Patterns are compiled when the configuration is read. A decision cannot fail, and its time is linear in the length
//!   of the message.
//! - A filter that asks for details of the number gives [`FilterVerdict::Unknown`] while the details are not known,
//!   unless the other conditions decide already. A filter never guesses.
//! - A field that a message does not have matches no pattern.

mod facts;
mod pattern;

#[cfg(test)]
mod tests;

pub use facts::{Details, Facts};
pub use pattern::{Globs, InvalidPattern, Regexes};

use super::CodePattern;

/// The messages that a sink wants: every message that at least one of the clauses accepts.
#[derive(Clone, Debug)]
pub struct Filter {
    any_of: Vec<Clause>,
    /// Finds the code of a message in which the API found no code.
    code_pattern: Option<CodePattern>,
}

/// Conditions that must all hold. A clause without conditions accepts every message.
#[derive(Clone, Debug, Default)]
pub struct Clause {
    /// The receiving phone number.
    pub to: Option<Globs>,
    /// The sender.
    pub from: Option<Globs>,
    /// The text.
    pub body: Option<Regexes>,
    /// Whether the message has a one-time code.
    pub has_code: Option<bool>,
    /// The service that the number is rented for.
    pub service: Option<Globs>,
    /// One of the number's tags must match.
    pub tags: Option<Globs>,
    /// The clause accepts no message that `exclude` accepts.
    pub exclude: Option<Box<Self>>,
}

/// The decision about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// The sink wants the message.
    Wanted,
    /// The sink does not want the message. The text is the key that decided.
    Unwanted(&'static str),
    /// The decision depends on details of the number that are not known yet. The text is the key that asks for these
    /// details.
    Unknown(&'static str),
}

impl Filter {
    /// A filter of at least one clause.
    pub fn any_of(clauses: Vec<Clause>) -> Self {
        Self { any_of: clauses, code_pattern: None }
    }

    /// Lets this pattern find the code of each message in which the API found no code.
    pub fn with_code_pattern(self, code_pattern: Option<CodePattern>) -> Self {
        Self { code_pattern, ..self }
    }

    /// Whether a message has a code.
    fn finds_code(&self, facts: &Facts<'_>) -> bool {
        let finds = |pattern: &CodePattern| facts.body().is_some_and(|body| pattern.find(body).is_some());
        facts.has_parsed_code() || self.code_pattern.as_ref().is_some_and(finds)
    }

    /// Makes a filter of shell patterns for the receiving number and for the sender; `None` if there are no patterns.
    ///
    /// # Errors
    /// Returns the name of the condition that has an invalid pattern, and the mistake in the pattern.
    pub fn of_addresses(to: &[String], from: &[String]) -> Result<Option<Self>, (&'static str, InvalidPattern)> {
        let globs = |name, patterns: &[String]| match patterns {
            [] => Ok(None),
            patterns => Globs::new(patterns.iter().map(String::as_str)).map(Some).map_err(|error| (name, error)),
        };
        let clause = Clause { to: globs("to", to)?, from: globs("from", from)?, ..Clause::default() };
        Ok(if clause.is_empty() { None } else { Some(Self::any_of(vec![clause])) })
    }

    /// Whether a pattern of `to` is a phone number without its `+`, or the beginning of one, such as `1650*`. Such a
    /// pattern matches no number.
    pub fn lacks_plus(pattern: &str) -> bool {
        let rest = pattern.trim_start_matches(|next: char| next.is_ascii_digit());
        let digits = pattern.len() - rest.len();
        // A pattern of one to six digits may be a short code, which has no `+`.
        if rest.is_empty() { digits >= 7 } else { digits > 0 && rest.starts_with(['*', '?', '[']) }
    }

    /// Whether the filter asks for details of numbers, so that the list of numbers has to be read.
    pub fn needs_details(&self) -> bool {
        self.any_of.iter().any(Clause::needs_details)
    }

    /// Decides on one message. If no clause accepts the message, the verdict is that of the first clause that cannot
    /// decide yet. If every clause refuses the message, the verdict is that of the first clause.
    pub fn decide(&self, facts: &Facts<'_>) -> FilterVerdict {
        let mut best = None;
        for clause in &self.any_of {
            match (clause.decide(facts, &|| self.finds_code(facts)), &best) {
                (FilterVerdict::Wanted, _) => return FilterVerdict::Wanted,
                (unknown @ FilterVerdict::Unknown(_), None | Some(FilterVerdict::Unwanted(_))) => best = Some(unknown),
                (unwanted @ FilterVerdict::Unwanted(_), None) => best = Some(unwanted),
                _ => {}
            }
        }
        best.unwrap_or(FilterVerdict::Wanted)
    }

    /// The clauses. A message needs to satisfy only one of them.
    pub fn clauses(&self) -> &[Clause] {
        &self.any_of
    }

    /// The decision of each clause by itself, in the order of the clauses.
    pub fn decide_each(&self, facts: &Facts<'_>) -> Vec<FilterVerdict> {
        self.any_of.iter().map(|clause| clause.decide(facts, &|| self.finds_code(facts))).collect()
    }
}

/// The result of one condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Clause {
    /// Whether the clause has no condition.
    pub fn is_empty(&self) -> bool {
        let Self { to, from, body, has_code, service, tags, exclude } = self;
        let fields = to.is_none() && from.is_none() && body.is_none() && service.is_none() && tags.is_none();
        fields && has_code.is_none() && exclude.is_none()
    }

    fn needs_details(&self) -> bool {
        self.service.is_some()
            || self.tags.is_some()
            || self.exclude.as_ref().is_some_and(|clause| clause.needs_details())
    }

    /// Decides on one message by this clause. If conditions fail, the verdict names the first of them. If no condition
    /// fails, the verdict names the first condition that cannot be decided yet. `finds_code` says whether the message
    /// has a code.
    fn decide(&self, facts: &Facts<'_>, finds_code: &dyn Fn() -> bool) -> FilterVerdict {
        let mut unknown = None;
        for (key, holds) in self.conditions(facts, finds_code) {
            match holds {
                Holds::Yes => {}
                Holds::No => return FilterVerdict::Unwanted(key),
                Holds::Unknown => unknown = unknown.or(Some(key)),
            }
        }
        unknown.map_or(FilterVerdict::Wanted, FilterVerdict::Unknown)
    }

    fn conditions<'c>(
        &'c self,
        facts: &'c Facts<'_>,
        finds_code: &dyn Fn() -> bool,
    ) -> impl Iterator<Item = (&'static str, Holds)> + use<'c> {
        let text = |patterns: &Option<Globs>, text: Option<&str>| {
            patterns.as_ref().map(|patterns| Holds::from(text.is_some_and(|text| patterns.match_any(text))))
        };
        let body = self.body.as_ref().map(|patterns| facts.body().is_some_and(|body| patterns.match_any(body)).into());
        let has_code = self.has_code.map(|wanted| (wanted == finds_code()).into());
        let service = self.service.as_ref().map(|patterns| match facts.service() {
            None => Holds::Unknown,
            Some(service) => service.is_some_and(|service| patterns.match_any(service)).into(),
        });
        let tags = self.tags.as_ref().map(|patterns| match facts.tags() {
            None => Holds::Unknown,
            Some(tags) => tags.iter().any(|tag| patterns.match_any(tag)).into(),
        });
        let exclude = self.exclude.as_ref().map(|clause| match clause.decide(facts, finds_code) {
            FilterVerdict::Wanted => Holds::No,
            FilterVerdict::Unwanted(_) => Holds::Yes,
            FilterVerdict::Unknown(_) => Holds::Unknown,
        });
        let all = [
            ("to", text(&self.to, facts.to())),
            ("from", text(&self.from, facts.from())),
            ("has_code", has_code),
            ("body", body),
            ("service", service),
            ("tags", tags),
            ("exclude", exclude),
        ];
        all.into_iter().filter_map(|(key, holds)| holds.map(|holds| (key, holds)))
    }
}
