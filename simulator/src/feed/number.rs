//! The rented numbers, and the list of these numbers.
//!
//! Invariant: a number keeps its index for ever, and messages refer to it by the index. The counts of a row
//! (`messageCount`, `lastMessageAt`, …) are read from the feed when the row is served, and stored nowhere else.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{later, optional_duration_text};
use crate::switches::Missing;

/// A number to rent. A missing id or phone number is made up, and a missing date is now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewNumber {
    /// The number's id. A number with the same id or phone number is replaced.
    pub id: Option<String>,
    /// The phone number in the form of E.164.
    pub phone_number: Option<String>,
    /// The status; `ACTIVE` if missing.
    pub status: Option<String>,
    /// The status as a dashboard shows it.
    pub display_status: Option<String>,
    /// The service for which the number was rented.
    pub service_name: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// Remarks.
    pub notes: Option<String>,
    /// Whether somebody else has the number and shares it with this account (`scope=shared`).
    pub shared: bool,
    /// When the number was rented.
    pub created_at: Option<Timestamp>,
    /// When the rent ends.
    pub expires_at: Option<Timestamp>,
    /// How long the rent still goes on, if `expires_at` is missing.
    #[serde(with = "optional_duration_text")]
    pub expires_in: Option<Duration>,
    /// When the next payment is due.
    pub next_billing_date: Option<Timestamp>,
    /// The subscription that pays for the number.
    pub subscription_id: Option<String>,
    /// Whether the rent goes on by itself.
    pub auto_renew_enabled: Option<bool>,
}

/// A rented number.
#[derive(Clone, Debug)]
pub struct Number {
    /// The id of the number.
    pub id: String,
    /// The phone number in the form of E.164.
    pub phone_number: String,
    /// The status, such as `ACTIVE` or `EXPIRED`.
    pub status: String,
    /// Everything else about the number.
    pub details: NewNumber,
    /// When the number was rented, in milliseconds of the Unix epoch.
    pub(crate) created_ms: i64,
    /// When a request has changed the number, in milliseconds of the Unix epoch.
    pub(crate) updated_ms: Option<i64>,
}

/// The subscription of a number, as the row of the number shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paid<'a> {
    pub(crate) subscription_id: &'a str,
    pub(crate) status: &'a str,
    pub(crate) auto_renew: bool,
    pub(crate) period_end: Timestamp,
}

/// The counts of one number that come from the feed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) messages: usize,
    pub(crate) unread: usize,
    pub(crate) last_ms: Option<i64>,
}

/// All numbers of the account.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    list: Vec<Number>,
    by_id_or_phone: HashMap<String, usize>,
}

impl Numbers {
    pub(crate) fn all(&self) -> &[Number] {
        &self.list
    }

    pub(crate) fn get(&self, index: usize) -> &Number {
        &self.list[index]
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> &mut Number {
        &mut self.list[index]
    }

    /// Finds a number by id or phone number.
    pub(crate) fn find(&self, id_or_phone: &str) -> Option<usize> {
        self.by_id_or_phone.get(id_or_phone).copied()
    }

    /// Finds a number by id alone.
    pub(crate) fn find_id(&self, id: &str) -> Option<usize> {
        self.find(id).filter(|&index| self.list[index].id == id)
    }

    /// Rents a number, or changes the number with the same id or phone number. Returns the number's index.
    pub(crate) fn add(&mut self, new: NewNumber, now: Timestamp, random: &mut fastrand::Rng) -> usize {
        let existing = new.id.iter().chain(&new.phone_number).find_map(|name| self.find(name));
        let old = existing.map(|index| &self.list[index]);
        let id = new.id.clone().or_else(|| old.map(|old| old.id.clone()));
        let phone = new.phone_number.clone().or_else(|| old.map(|old| old.phone_number.clone()));
        let expires_at = new.expires_at.or_else(|| new.expires_in.map(|left| later(now, left)));
        let created_at = new.created_at.or_else(|| old.map(|old| crate::http::json::time(old.created_ms)));
        let number = Number {
            id: id.unwrap_or_else(|| format!("num_{}", crate::account::identity::letters(random, 12))),
            phone_number: phone.unwrap_or_else(|| self.unused_phone(random)),
            status: new.status.clone().unwrap_or_else(|| "ACTIVE".to_owned()),
            created_ms: created_at.unwrap_or(now).as_millisecond(),
            updated_ms: old.and_then(|old| old.updated_ms),
            details: NewNumber { expires_at, expires_in: None, ..new },
        };
        let index = existing.unwrap_or(self.list.len());
        if existing.is_some() {
            self.by_id_or_phone.retain(|_, known| *known != index);
        }
        self.by_id_or_phone.insert(number.id.clone(), index);
        self.by_id_or_phone.insert(number.phone_number.clone(), index);
        match self.list.get_mut(index) {
            Some(place) => *place = number,
            None => self.list.push(number),
        }
        index
    }

    /// Returns a phone number with this area code, or `None` if all of them are taken.
    pub(crate) fn unused_phone_in(&self, area: &str) -> Option<String> {
        (0..100).map(|line| fictional(area, line)).find(|phone| self.find(phone).is_none())
    }

    fn unused_phone(&self, random: &mut fastrand::Rng) -> String {
        loop {
            let phone = fictional(random.u32(201..990), random.u32(0..100));
            if self.find(&phone).is_none() {
                return phone;
            }
        }
    }
}

/// Returns a phone number of an area. 555-01xx is reserved for fiction in every area, so nobody is ever called by
/// mistake.
fn fictional(area: impl std::fmt::Display, line: u32) -> String {
    format!("+1{area}55501{line:02}")
}

impl Number {
    /// Returns the JSON of the number's row in `/v1/numbers`.
    pub(crate) fn json(&self, counts: Counts, paid: Option<Paid<'_>>, empty: Missing, pretty: bool) -> String {
        let details = &self.details;
        let text = |value: &Option<String>| Some(value.clone());
        let time = |value: Option<Timestamp>| value.map(|time| format!("{time:.3}"));
        let keep = |value: Option<Option<String>>| value.filter(|value| value.is_some() || empty == Missing::Null);
        let created = crate::http::json::time_text(self.created_ms);
        // A date or id that was given with the number takes precedence over the date or id of the subscription.
        let period_end = |renews: bool| paid.filter(|paid| paid.auto_renew == renews).map(|paid| paid.period_end);
        let expires_at = details.expires_at.or_else(|| period_end(false));
        let next_billing_date = details.next_billing_date.or_else(|| period_end(true));
        let subscription_id =
            details.subscription_id.clone().or_else(|| paid.map(|paid| paid.subscription_id.to_owned()));
        let auto_renew = paid.map(|paid| paid.auto_renew).or(details.auto_renew_enabled);
        let updated_ms = counts.last_ms.max(self.updated_ms);
        let row = NumberRow {
            id: &self.id,
            phone_number: &self.phone_number,
            status: &self.status,
            display_status: keep(text(&details.display_status)),
            service_name: keep(text(&details.service_name)),
            tags: &details.tags,
            notes: keep(text(&details.notes)),
            updated_at: updated_ms.map_or_else(|| created.clone(), crate::http::json::time_text),
            rented_at: created.clone(),
            created_at: created,
            expires_at: keep(Some(time(expires_at))),
            next_billing_date: keep(Some(time(next_billing_date))),
            message_count: counts.messages,
            unread_count: counts.unread,
            last_message_at: keep(Some(counts.last_ms.map(crate::http::json::time_text))),
            subscription_id: keep(Some(subscription_id)),
            subscription_status: paid.map(|paid| paid.status),
            auto_renew_enabled: Some(auto_renew).filter(|value| value.is_some() || empty == Missing::Null),
        };
        crate::http::json::row_text(&row, pretty)
    }
}

/// A field's outer option says whether the field is shown, and the inner one whether it has a value.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NumberRow<'a> {
    id: &'a str,
    phone_number: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_status: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<Option<String>>,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<Option<String>>,
    created_at: String,
    updated_at: String,
    rented_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_billing_date: Option<Option<String>>,
    message_count: usize,
    unread_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message_at: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_renew_enabled: Option<Option<bool>>,
}
