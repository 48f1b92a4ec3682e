//! `[sinks.NAME]`: when, how fast, in which order, for how long, and what counts as accepted.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::defaults;
use super::reader::{LONGEST, Reader};
use super::written::{Entry, Origin, Value};
use crate::delivery::{self, Order, Retry};
use crate::sinks::http::Statuses;

/// What may be accepted beside the usual: 1xx are no answers, and every 2xx is accepted anyway, so it may be listed.
pub(super) const ACCEPTABLE: RangeInclusive<u16> = 200..=599;

/// What may be rejected: not what means that the receiver has the message.
pub(super) const REJECTABLE: RangeInclusive<u16> = 300..=599;

/// The words of `order`.
pub(super) const ORDERS: [(&str, Order); 2] = [("none", Order::None), ("number", Order::Number)];

/// The least age: less could not be met.
const LEAST_AGE: Duration = Duration::from_secs(1);

impl Reader<'_> {
    /// Everything of a sink that says when and how many.
    pub(super) fn delivery(&mut self, concurrency: usize, retry: Retry) -> delivery::Options {
        delivery::Options {
            concurrency,
            retry,
            requests_per_minute: self.integer("requests_per_minute", 0, 0..=1_000_000),
            order: self.choice("order", &ORDERS).unwrap_or_default(),
            max_age: self.duration_or("max_age", "forever", None, LEAST_AGE..=LONGEST),
            enabled: self.boolean("enabled", true),
            start: self.start("start", defaults::SINK_START),
        }
    }

    /// `accept_status` and `reject_status`.
    pub(super) fn statuses(&mut self) -> Statuses {
        let accept = self.status_list("accept_status", ACCEPTABLE);
        let reject = self.status_list("reject_status", REJECTABLE);
        if let Some(both) = reject.iter().find(|status| accept.contains(status)) {
            let message =
                format!("{both} is both in `{}` and in `{}`", self.name("accept_status"), self.name("reject_status"));
            let entries = &self.table().entries;
            if let Some(entry) = entries.get("reject_status").or(entries.get("accept_status")) {
                self.report().error(&entry.origin, message, Some("leave it out of one of them".to_owned()));
            }
        }
        Statuses { accept, reject }
    }

    /// An array of statuses. In a text that comes from outside the file there are commas between them.
    fn status_list(&mut self, key: &str, bounds: RangeInclusive<u16>) -> Vec<u16> {
        let Some(entry) = self.table().entries.get(key) else { return Vec::new() };
        let expected =
            format!("an array of HTTP statuses from {} to {}, such as [{}]", bounds.start(), bounds.end(), 409);
        let mut statuses = Vec::new();
        let mut take = |found: Option<u16>| statuses.extend(found.filter(|status| bounds.contains(status)));
        match (&entry.value, &entry.origin) {
            (Value::List(entries), _) => {
                for entry in entries {
                    let status = status(entry);
                    if !status.is_some_and(|status| bounds.contains(&status)) {
                        let message = format!("`{}` must be {expected}", self.name(key));
                        self.report().error_with_value(&entry.origin, message, None);
                    }
                    take(status);
                }
            }
            (Value::Text(_), Origin::File(_)) => {
                let message = format!("`{}` must be {expected}, without quotes", self.name(key));
                self.report().error(&entry.origin, message, None);
            }
            _ => {
                let Some(text) = self.text(key, &expected) else { return Vec::new() };
                for part in text.as_str().split(',').map(str::trim).filter(|part| !part.is_empty()) {
                    let status = part.parse().ok();
                    if !status.is_some_and(|status| bounds.contains(&status)) {
                        let wrong =
                            format!("is not a list of HTTP statuses from {} to {}", bounds.start(), bounds.end());
                        self.refuse(
                            key,
                            &text,
                            &wrong,
                            Some("write them with commas between, such as \"409,425\"".to_owned()),
                        );
                        return Vec::new();
                    }
                    take(status);
                }
            }
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}

fn status(entry: &Entry) -> Option<u16> {
    match entry.value {
        Value::Integer(number) => u16::try_from(number).ok(),
        _ => None,
    }
}
