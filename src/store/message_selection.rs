//! The choice of messages that a sink wants.
//!
//! Invariant: when a message is released, each sink of the configuration that wants the message gets a delivery of it.
//! If the decision depends on details of the number that are not known yet, the sink gets an undecided delivery.

use crate::domain::NumberUse;
use crate::domain::filter::{Details, Facts, Filter, FilterVerdict};

/// Which messages a sink wants. The default is all.
#[derive(Clone, Debug, Default)]
pub struct MessageSelection {
    /// The filter that a message has to pass; `None` if there is none.
    pub filter: Option<Filter>,
    /// Whether the sink's format needs or shows details of the number.
    pub number_use: NumberUse,
}

impl MessageSelection {
    /// Returns whether the sink wants every message, whatever is known of the message's number.
    pub(super) fn selects_all(&self) -> bool {
        self.filter.is_none() && self.number_use != NumberUse::Needed
    }

    /// Returns whether the sink needs the API's details of numbers.
    pub fn needs_numbers(&self) -> bool {
        self.number_use != NumberUse::Ignored || self.filter.as_ref().is_some_and(Filter::needs_details)
    }

    /// Decides whether the sink wants a message.
    pub fn decide(&self, facts: &Facts<'_>) -> FilterVerdict {
        match &self.filter {
            Some(filter) => match filter.decide(facts) {
                FilterVerdict::Wanted => self.decide_details(facts),
                other => other,
            },
            None => self.decide_details(facts),
        }
    }

    fn decide_details(&self, facts: &Facts<'_>) -> FilterVerdict {
        let waits = self.number_use == NumberUse::Needed && facts.lacks_details();
        if waits { FilterVerdict::Unknown("number") } else { FilterVerdict::Wanted }
    }
}

/// Makes the details of a number for a filter. `asked`: whether the API was asked for the number. `json`: the number as
/// the API sent it, if the API sent it.
pub(super) fn details(asked: bool, json: Option<&str>) -> Details<'_> {
    match json {
        Some(json) => Details::Known(json),
        None if asked => Details::Absent,
        None => Details::Unknown,
    }
}
