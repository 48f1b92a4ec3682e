//! The control of a poller that runs: new settings, and new keys when the API refuses the key in use.
//!
//! Invariants:
//! - New settings do not affect a request under way: its answer is handled as usual.
//! - New limits do not begin a new budget: requests that were made before count against the new limits, too.
//! - When the API refuses a key, the poller asks the holder of the [`PollerControl`] for new keys. The poller waits for
//!   the answer only if the refused key was the last one, and never longer than [`PATIENCE`].

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::start_log::tell_start_is_ignored;
use super::{Ending, Poller};
use crate::api::budget::BudgetLimits;
use crate::ingest::coverage::Rules;
use crate::ingest::events::NumberUses;
use crate::ingest::feed::Feed;
use crate::store;
use crate::time::Instant;

/// How long the poller waits for the answer whether there are new keys.
const PATIENCE: Duration = Duration::from_secs(5);

/// The settings that can be changed while a poller runs.
pub struct PollSettings<F> {
    /// The new source of pages; `None` if the source stays the same.
    pub feed: Option<F>,
    /// The limits of the budget.
    pub limits: BudgetLimits,
    /// The rules that decide which rows are new.
    pub rules: Rules,
    /// How large the state may be, and how long messages stay in it. The directory is the same as before, and so is the
    /// decision whether texts are erased on delivery.
    pub state: store::Options,
    /// The purposes for which the list of numbers is read.
    pub numbers: NumberUses,
}

/// A message to a poller.
enum PollOrder<F> {
    Follow(Box<PollSettings<F>>),
    /// The keys are the same as before.
    KeysAreUnchanged,
}

/// Controls a poller that runs.
pub struct PollerControl<F> {
    orders: mpsc::UnboundedSender<PollOrder<F>>,
    questions: watch::Receiver<u64>,
}

impl<F> PollerControl<F> {
    /// Gives the poller new settings.
    pub fn follow(&self, settings: PollSettings<F>) {
        // Sending fails only after the poller has ended.
        self.orders.send(PollOrder::Follow(Box::new(settings))).ok();
    }

    /// Answers the poller that there are no new keys.
    pub fn keys_are_unchanged(&self) {
        self.orders.send(PollOrder::KeysAreUnchanged).ok();
    }

    /// Waits until the API refuses a key and the poller asks for new keys. The answer is [`PollerControl::follow`] with
    /// a new feed, or [`PollerControl::keys_are_unchanged`].
    pub async fn key_refused(&mut self) {
        if self.questions.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The poller's end of the control.
pub(super) struct Orders<F> {
    sender: mpsc::UnboundedSender<PollOrder<F>>,
    inbox: mpsc::UnboundedReceiver<PollOrder<F>>,
    questions: watch::Sender<u64>,
    /// The refusal of the last key, while the poller waits for an answer to its question.
    waiting: Option<String>,
}

impl<F> Orders<F> {
    pub(super) fn new() -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        Self { sender, inbox, questions: watch::Sender::new(0), waiting: None }
    }

    fn control(&self) -> PollerControl<F> {
        PollerControl { orders: self.sender.clone(), questions: self.questions.subscribe() }
    }

    /// Asks whether there are new keys, without waiting for the answer.
    pub(super) fn ask_for_keys(&self) {
        self.questions.send_modify(|count| *count += 1);
    }

    /// After this refusal of the last key: asks for new keys. Returns `false` if there is nothing to wait for: there is
    /// no [`PollerControl`], or the same question was asked before and not answered.
    fn waits_for_keys(&mut self, refusal: &str) -> bool {
        let was_waiting = self.waiting.take().is_some();
        let waits = !was_waiting && self.questions.receiver_count() > 0;
        if waits {
            self.waiting = Some(refusal.to_owned());
            self.ask_for_keys();
        }
        waits
    }

    /// Waits for an order. If the future is dropped, no order is lost.
    pub(super) async fn next(&mut self) -> PollMessage<F> {
        match self.inbox.recv().await {
            Some(order) => PollMessage(order),
            // The sender lives as long as this value.
            None => std::future::pending().await,
        }
    }
}

/// An order that has come.
pub(super) struct PollMessage<F>(PollOrder<F>);

impl<F: Feed> Poller<F> {
    /// Returns the control of this poller.
    pub fn control(&self) -> PollerControl<F> {
        self.orders.control()
    }

    /// Handles the refusal of the last key: waits for new keys if somebody can bring them. Otherwise reports that the
    /// API accepts no key.
    pub(super) fn last_key_refused(&mut self, refusal: &str, now: Instant) -> Option<Ending> {
        if self.orders.waits_for_keys(refusal) {
            tracing::debug!(%refusal, "the last key is refused; looking for a new one");
            self.lanes.head.wait_until(now + PATIENCE);
        } else {
            self.no_key_is_left(refusal, now);
        }
        None
    }

    pub(super) async fn carry_out(&mut self, PollMessage(order): PollMessage<F>) -> Result<(), store::Error> {
        let now = self.clock.monotonic();
        match order {
            PollOrder::Follow(settings) => {
                self.take_settings(*settings, now);
                match self.check_undecided().await {
                    // The next work that needs the disk will report the failure.
                    Err(error) if error.is_passing() => {}
                    result => return result,
                }
            }
            PollOrder::KeysAreUnchanged => {
                if let Some(refusal) = self.orders.waiting.take() {
                    self.no_key_is_left(&refusal, now);
                }
            }
        }
        Ok(())
    }

    fn take_settings(&mut self, settings: PollSettings<F>, now: Instant) {
        let PollSettings { feed, limits, rules, state, numbers } = settings;
        if rules.start != self.rules.start && self.state.coverage.is_some() {
            tell_start_is_ignored(rules.start);
        }
        self.rules = rules;
        self.link.set_limits(limits, now, self.clock.relay_time());
        self.disk.follow(&state, now);
        self.lanes.numbers.list_mut().ask_for(numbers.any(), now);
        if self.expiry.follow(numbers.expiry_terms) {
            self.lanes.numbers.list_mut().read_again(now);
        }
        // The due time of the next poll needs no change here: it is computed from the budget each time the loop chooses
        // the requests that leave.
        self.lanes.head.forget_spacing();
        let Some(feed) = feed else { return };
        if self.link.replace_feed(feed) {
            self.account.key_changed();
            self.orders.waiting = None;
        }
        // Earlier failures may have had a cause that the new feed does not have, so the next poll comes at once.
        self.lanes.head.next_poll_from_head();
        self.lanes.head.wait_until(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_asked_for_once_for_each_refusal_of_the_last_key() {
        let mut orders = Orders::<()>::new();
        assert!(!orders.waits_for_keys("401"), "nobody can answer");
        let control = orders.control();
        assert!(orders.waits_for_keys("401"));
        assert!(control.questions.has_changed().unwrap());
        assert!(!orders.waits_for_keys("401"), "the previous question was not answered");
        assert!(orders.waits_for_keys("401"), "a later refusal");
    }
}
