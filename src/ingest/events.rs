//! `[events]`: finds the numbers that expire soon, in the API's list of numbers. Pure.
//!
//! In this file a *term* is one of the durations of `number_expiring`. When a number expires within a term, an event is
//! made. The event is stored and delivered like a message, to the sinks that ask for events. The id of an event is made
//! of the number, the term and the time at which the number expires. So an event that is found again has the same id as
//! before, and is not stored twice.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::api::Number;
use crate::domain::{Row, UnixMs};
use crate::settings::{self, Reader, Texts, parse_duration, settings, show_duration};

const DAY: Duration = Duration::from_secs(86_400);

/// The terms that may be configured. The state must keep the id of an event for longer than the longest term, so that
/// no event is made twice ([`crate::store::RetentionTransactions::forget_ids`]).
const TERMS: RangeInclusive<Duration> = Duration::from_secs(3_600)..=DAY.saturating_mul(365);

settings! {
    /// `[events]`, as written.
    pub struct EventSettings {
        /// How long before a number expires the sinks with events = true are told, once for each term. The API's list of
        /// numbers says when a number expires; it is read every five minutes.
        number_expiring: Option<Texts> = settings::texts(true).lines(&["number_expiring = [\"7d\", \"1d\"]"]),
    }
}

impl EventSettings {
    /// Returns the terms of `number_expiring`. Wrong terms are added to the report.
    pub fn resolve(self, at: &mut Reader<'_>) -> Vec<Duration> {
        let mut terms = Vec::new();
        if let Some(texts) = self.number_expiring.as_ref().filter(|texts| texts.is_empty_array) {
            at.wrong("number_expiring", &texts.origin, "is an empty array", "leave it out");
        }
        for text in self.number_expiring.into_iter().flat_map(|texts| texts.texts) {
            match parse_duration(text.bare()) {
                Ok(term) if TERMS.contains(&term) => terms.push(term),
                Ok(_) => at.refuse("number_expiring", &text, "is not a duration from 1h to 365d", ""),
                Err(wrong) => at.refuse("number_expiring", &text, &wrong, "write it like \"7d\""),
            }
        }
        terms
    }
}

/// The purposes for which the list of numbers is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberUses {
    /// Whether a sink asks for details of numbers.
    pub details: bool,
    /// The terms of `number_expiring`; empty if no sink asks for events.
    pub expiry_terms: Vec<Duration>,
}

impl NumberUses {
    pub(super) fn any(&self) -> bool {
        self.details || !self.expiry_terms.is_empty()
    }
}

/// Watches the list of numbers for numbers that expire soon.
#[derive(Debug)]
pub(super) struct ExpiryWatch {
    terms: Vec<Duration>,
    /// Whether an attempt to read the list has ended since this process began.
    has_looked: bool,
}

impl ExpiryWatch {
    pub(super) fn new(terms: Vec<Duration>) -> Self {
        Self { terms, has_looked: false }
    }

    /// Takes the terms that a reload of the configuration has brought. Returns whether the list has to be read again
    /// because one of the terms is new.
    pub(super) fn follow(&mut self, terms: Vec<Duration>) -> bool {
        let has_new = terms.iter().any(|term| !self.terms.contains(term));
        self.terms = terms;
        has_new
    }

    /// Records that the list was read to its end, or that it cannot be read now.
    pub(super) fn note_looked(&mut self) {
        self.has_looked = true;
    }

    /// Returns whether a one-shot command must not end before an attempt to read the list has ended.
    pub(super) fn is_owed_a_look(&self) -> bool {
        !self.terms.is_empty() && !self.has_looked
    }

    /// Returns an event for each number that expires within one of the terms. `now` is the present time by the clock
    /// that dates the messages. If a number expires within several terms, only the event of the shortest one is
    /// returned.
    pub(super) fn events(&self, numbers: &[Number], now: UnixMs) -> Vec<Row> {
        numbers.iter().filter_map(|number| event_of(number, &self.terms, now)).collect()
    }
}

#[derive(Deserialize)]
struct ExpiringNumber<'a> {
    #[serde(rename = "phoneNumber", borrow, default)]
    phone_number: Option<Cow<'a, str>>,
    #[serde(rename = "expiresAt", borrow, default)]
    expires_at: Option<Cow<'a, str>>,
}

fn event_of(number: &Number, terms: &[Duration], now: UnixMs) -> Option<Row> {
    let ExpiringNumber { phone_number, expires_at } = serde_json::from_str(&number.raw).ok()?;
    let expires_at = expires_at?;
    let expires = UnixMs::parse(&expires_at).filter(|expires| *expires > now)?;
    let left = expires.since(now);
    let term = show_duration(*terms.iter().filter(|term| left <= **term).min()?);
    let days = u64::try_from(left.as_millis().div_ceil(DAY.as_millis())).ok()?;
    let id = format!("evt_number_expiring_{term}_{}_{}", number.id, expires.0);
    let shown_number = phone_number.as_deref().unwrap_or(&number.id);
    let unit = if days == 1 { "day" } else { "days" };
    let event = json!({
        "id": id,
        "type": format!("number.expiring.{term}"),
        "createdAt": now,
        "receivedAt": now,
        "numberId": number.id,
        "to": phone_number,
        "body": format!("The number {shown_number} expires in {days} {unit}, at {expires}."),
        "data": {
            "numberId": number.id,
            "phoneNumber": phone_number,
            "expiresAt": expires_at,
            "daysUntilExpiry": days,
        },
    });
    Some(Row {
        id,
        readable: true,
        spoiled: None,
        time: now,
        ingested: None,
        number: Some(number.id.clone()),
        raw: event.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn number(id: &str, left: Option<Duration>) -> Number {
        let expires = left.map(|left| NOW.after(left));
        let raw = json!({ "id": id, "phoneNumber": "+16505551234", "expiresAt": expires }).to_string().into();
        Number { id: id.to_owned(), raw }
    }

    fn events(number: Number, terms: &[Duration], now: UnixMs) -> Vec<Row> {
        ExpiryWatch::new(terms.to_vec()).events(&[number], now)
    }

    #[test]
    fn a_number_makes_the_event_of_the_shortest_term_within_which_it_expires() {
        let (hour, second) = (Duration::from_secs(3_600), Duration::from_secs(1));
        let terms = [DAY * 7, DAY, hour * 12];
        for (left, expected) in [
            (None, None),
            (Some(DAY * 8), None),
            (Some(DAY * 7 + second), None),
            (Some(DAY * 7), Some(("7d", 7))),
            (Some(DAY + second), Some(("7d", 2))),
            (Some(DAY), Some(("1d", 1))),
            (Some(hour), Some(("12h", 1))),
            (Some(Duration::ZERO), None),
        ] {
            let found = events(number("num_1", left), &terms, NOW);
            let told = found.first().map(|event| {
                let raw: Value = serde_json::from_str(&event.raw).unwrap();
                (raw["type"].as_str().unwrap().to_owned(), raw["data"]["daysUntilExpiry"].as_u64().unwrap())
            });
            assert_eq!(told, expected.map(|(term, days)| (format!("number.expiring.{term}"), days)), "{left:?}");
        }
    }

    #[test]
    fn the_same_event_has_the_same_id_until_the_number_is_renewed() {
        let id = |left: Duration, now: UnixMs| events(number("num_1", Some(left)), &[DAY * 7], now)[0].id.clone();
        let first = id(DAY * 6, NOW);
        assert_eq!(first, format!("evt_number_expiring_7d_num_1_{}", NOW.after(DAY * 6).0));
        assert_eq!(id(DAY * 6, NOW.after(DAY)), first);
        assert_ne!(id(DAY * 5, NOW), first);
    }

    #[test]
    fn numbers_without_a_readable_expiry_make_no_event() {
        for raw in ["{}", r#"{"expiresAt":7}"#, r#"{"expiresAt":"soon"}"#, r#"{"expiresAt":null}"#] {
            let number = Number { id: "x".to_owned(), raw: raw.into() };
            assert!(events(number, &[DAY * 7], NOW).is_empty(), "{raw}");
        }
    }

    #[test]
    fn a_one_shot_command_waits_for_one_look_at_the_list() {
        let mut watch = ExpiryWatch::new(Vec::new());
        assert!(!watch.is_owed_a_look());
        assert!(watch.follow(vec![DAY]) && !watch.follow(vec![DAY]), "only a new term needs another look");
        assert!(watch.is_owed_a_look());
        watch.note_looked();
        assert!(!watch.is_owed_a_look());
    }
}
