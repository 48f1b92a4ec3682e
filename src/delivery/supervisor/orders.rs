//! Orders that a reload of the configuration gives to the loop of one sink.
//!
//! Invariants:
//! - An order never touches a delivery under way: the delivery ends with the settings with which it began. Until then
//!   its message stays excluded from claims, so no message is ever attempted twice at once.
//! - Until the relay stops, only [`SinkOrder::End`] ends the loop. The loop never ends by itself, so it misses no
//!   order.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Supervisor;
use super::backfill::Backfill;
use super::expiry::Expiry;
use super::pauses::Pauses;
use crate::codes::CodeMask;
use crate::delivery::queues::Queues;
use crate::delivery::settings::Options;
use crate::formats::Format;
use crate::metrics::SinkMetrics;
use crate::sinks::Sink;
use crate::store::{Pause, RegisteredSink};

/// An order to the loop of one sink.
pub(in crate::delivery) enum SinkOrder {
    /// The sink has new settings, or is in the configuration again.
    Follow(Box<NewSettings>),
    /// The sink is no longer in the configuration: no delivery begins any more, and the deliveries under way end.
    Retire,
    /// The loop of a retired sink without deliveries under way ends.
    End,
}

/// The new settings of a sink, and what the store knew of the sink when the sink was registered with these settings.
pub(in crate::delivery) struct NewSettings {
    pub(in crate::delivery) registered: RegisteredSink,
    pub(in crate::delivery) pause: Option<Pause>,
    pub(in crate::delivery) name: String,
    pub(in crate::delivery) options: Options,
    pub(in crate::delivery) format: Format,
    pub(in crate::delivery) mask: Option<CodeMask>,
    pub(in crate::delivery) sink: Arc<dyn Sink>,
    pub(in crate::delivery) metrics: SinkMetrics,
    /// Whether the messages go to another receiver from now on, or are sent with other credentials.
    pub(in crate::delivery) is_other_receiver: bool,
}

impl Supervisor {
    /// Follows the orders that have come. Returns `Break` if the loop is to end.
    pub(super) fn follow_orders(&mut self) -> ControlFlow<()> {
        while let Ok(order) = self.orders.try_recv() {
            self.follow(order)?;
        }
        ControlFlow::Continue(())
    }

    /// Follows one order. Returns `Break` if the loop is to end.
    pub(super) fn follow(&mut self, order: SinkOrder) -> ControlFlow<()> {
        match order {
            SinkOrder::Follow(settings) => {
                self.is_retired = false;
                self.take_settings(*settings);
            }
            SinkOrder::Retire => {
                self.is_retired = true;
                self.queues.give_back();
            }
            SinkOrder::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Goes on with new settings. The loop begins from the state of the sink in the store, as it does at a start.
    fn take_settings(&mut self, settings: NewSettings) {
        let NewSettings { registered, pause, name, options, format, mask, sink, metrics, is_other_receiver } = settings;
        let was_ordered = self.context.is_ordered();
        let identity = &mut self.context.identity;
        (identity.registered, identity.name, identity.metrics) = (registered, name, metrics);
        (identity.options, identity.format, identity.mask, identity.sink) = (options, format, mask, sink);
        let now = self.context.now();
        if is_other_receiver {
            // An operator who corrects an address or a secret expects the relay to send the waiting messages now.
            self.context.health.lock().forget_receiver(now);
            self.outage.resumed();
            self.bring_forward.resumed();
        } else {
            self.context.health.lock().begin_again(now);
        }
        let options = &self.context.identity.options;
        self.dispatch.follow(options, now.monotonic);
        self.queues = Queues::new(options.order);
        self.queues.expect_claims_everywhere();
        self.has_unordered_in_flight |= !was_ordered && self.dispatch.in_flight() > 0;
        self.pauses = Pauses::at_start(&self.context, pause);
        self.pauses.ask_again();
        self.expiry = Expiry::new(&self.context);
        self.backfill = Backfill::new(&self.context.identity.registered);
    }
}
