//! The subscriptions that pay for the rented numbers.
//!
//! Invariants: a subscription pays for at most one number, and a number has at most one subscription. A subscription
//! without a number is being provisioned. Nothing here is documented: the fields are those of the vendor's client, and
//! their values are made up.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::account::identity;
use crate::clock::Now;

/// The length of a billing period.
const PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    /// The id at the payment provider.
    payment_id: String,
    /// The index of the number; `None` until the number is provisioned.
    pub(crate) number: Option<usize>,
    /// When the number is provisioned, on the simulator's clock.
    provisioned_at: Duration,
    created_at: Timestamp,
    period_start: Timestamp,
    pub(crate) period_end: Timestamp,
    pub(crate) auto_renew: bool,
    pub(crate) ended: bool,
    pub(crate) area_code: Option<String>,
}

impl Subscription {
    pub(crate) fn status(&self) -> &'static str {
        if self.ended { "canceled" } else { "active" }
    }

    /// Returns the fields of the subscription as `/v1/billing/subscriptions` shows them. `number` is the id of the
    /// number.
    pub(crate) fn json(&self, number: Option<&str>) -> Value {
        let time = |time: Timestamp| format!("{time:.3}");
        json!({
            "id": self.id,
            "stripeSubscriptionId": self.payment_id,
            "status": self.status(),
            "billingHealth": if self.ended { "ended" } else { "healthy" },
            "numberId": number,
            "currentPeriodStart": time(self.period_start),
            "currentPeriodEnd": time(self.period_end),
            "cancelAtPeriodEnd": !self.auto_renew,
            "createdAt": time(self.created_at),
            "basePriceDisplay": "$50.00",
            "addonPriceDisplay": null,
            "areaCodePref": self.area_code,
        })
    }
}

/// All subscriptions of the account.
#[derive(Debug)]
pub(crate) struct Billing {
    subscriptions: Vec<Subscription>,
    /// The subscriptions by the idempotency key of the request that made them.
    by_request: HashMap<String, usize>,
    /// Billing has its own random numbers, so that ids and messages stay the same whatever is rented.
    random: fastrand::Rng,
}

impl Billing {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            subscriptions: Vec::new(),
            by_request: HashMap::new(),
            random: fastrand::Rng::with_seed(seed ^ 0x0062_696c_6c69_6e67),
        }
    }

    pub(crate) fn all(&self) -> &[Subscription] {
        &self.subscriptions
    }

    pub(crate) fn of_number(&self, number: usize) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.number == Some(number))
    }

    /// Begins the subscription of a number that exists. The subscription gets this id, or an id that is made up.
    pub(crate) fn subscribe(&mut self, number: usize, id: Option<String>, now: Now) {
        let subscription = self.begin(id, None, Duration::ZERO, now);
        self.subscriptions.push(Subscription { number: Some(number), ..subscription });
    }

    /// Begins a subscription whose number is provisioned after a while. If the idempotency key `request` is known
    /// already, no new subscription begins. Returns the id of the subscription.
    pub(crate) fn rent(&mut self, request: Option<&str>, area: Option<String>, wait: Duration, now: Now) -> String {
        if let Some(&known) = request.and_then(|request| self.by_request.get(request)) {
            return self.subscriptions[known].id.clone();
        }
        if let Some(request) = request {
            self.by_request.insert(request.to_owned(), self.subscriptions.len());
        }
        let subscription = self.begin(None, area, wait, now);
        let id = subscription.id.clone();
        self.subscriptions.push(subscription);
        id
    }

    fn begin(&mut self, id: Option<String>, area_code: Option<String>, wait: Duration, now: Now) -> Subscription {
        Subscription {
            id: id.unwrap_or_else(|| identity::uuid(&mut self.random)),
            payment_id: format!("sub_{}", identity::letters(&mut self.random, 24)),
            number: None,
            provisioned_at: now.elapsed.saturating_add(wait),
            created_at: now.wall,
            period_start: now.wall,
            period_end: now.wall.saturating_add(PERIOD).unwrap_or(now.wall),
            auto_renew: true,
            ended: false,
            area_code,
        }
    }

    /// Sets whether a subscription goes on after its period. Returns whether there is such a subscription that has not
    /// ended.
    pub(crate) fn set_auto_renew(&mut self, id: &str, enabled: bool) -> bool {
        let Some(subscription) = self.subscriptions.iter_mut().find(|known| known.id == id && !known.ended) else {
            return false;
        };
        subscription.auto_renew = enabled;
        true
    }

    /// Returns a subscription whose number is due: its place, for `assign`, and its area code.
    pub(crate) fn due(&self, now: Now) -> Option<(usize, Option<String>)> {
        let waiting =
            |known: &Subscription| known.number.is_none() && !known.ended && known.provisioned_at <= now.elapsed;
        let place = self.subscriptions.iter().position(waiting)?;
        Some((place, self.subscriptions[place].area_code.clone()))
    }

    /// Gives a number to the subscription that `due` has returned.
    pub(crate) fn assign(&mut self, place: usize, number: usize) {
        self.subscriptions[place].number = Some(number);
    }

    /// Renews or ends every subscription whose period is over. Returns the numbers whose subscriptions have ended.
    pub(crate) fn renew(&mut self, now: Now) -> Vec<usize> {
        let mut ended = Vec::new();
        for subscription in &mut self.subscriptions {
            while !subscription.ended && subscription.period_end <= now.wall {
                if !subscription.auto_renew {
                    subscription.ended = true;
                    ended.extend(subscription.number);
                    break;
                }
                let Ok(next) = subscription.period_end.checked_add(PERIOD) else { break };
                (subscription.period_start, subscription.period_end) = (subscription.period_end, next);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> Now {
        let hours = SignedDuration::from_hours(24 * days);
        let elapsed = Duration::try_from(hours).unwrap();
        Now { elapsed, wall: Timestamp::UNIX_EPOCH + hours }
    }

    #[test]
    fn periods_follow_each_other_until_the_subscription_is_cancelled() {
        let mut billing = Billing::new(1);
        billing.subscribe(7, Some("s".to_owned()), at(0));
        assert!(billing.renew(at(29)).is_empty());
        assert!(billing.renew(at(95)).is_empty());
        assert_eq!(billing.all()[0].period_end, at(120).wall);
        assert!(billing.set_auto_renew("s", false));
        assert!(billing.renew(at(119)).is_empty());
        assert_eq!(billing.renew(at(120)), vec![7_usize]);
        assert!(billing.renew(at(500)).is_empty());
        assert_eq!(billing.all()[0].status(), "canceled");
        assert!(!billing.set_auto_renew("s", true), "an ended subscription does not come back");
    }

    #[test]
    fn a_repeated_request_rents_nothing() {
        let mut billing = Billing::new(1);
        let rent = |billing: &mut Billing, request| billing.rent(request, None, Duration::from_secs(3), at(0));
        let first = rent(&mut billing, Some("a"));
        assert_eq!(rent(&mut billing, Some("a")), first);
        assert_ne!(rent(&mut billing, Some("b")), first);
        assert_ne!(rent(&mut billing, None), rent(&mut billing, None));
        assert_eq!(billing.all().len(), 4);
        assert_eq!(billing.due(at(0)), None);
        let (place, _) = billing.due(at(1)).unwrap();
        billing.assign(place, 3);
        assert_eq!(billing.of_number(3).map(|subscription| subscription.id.clone()), Some(first));
    }
}
