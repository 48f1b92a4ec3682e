//! A reload: sinks are added, changed and removed while delivery runs.
//!
//! Invariants:
//! - A reload that fails has changed nothing.
//! - Sinks do not wait for each other: a changed sink goes on at once, and the deliveries under way of a removed sink
//!   end while the other sinks go on.

use std::sync::atomic::Ordering;

use super::registration::{lift_closed, register};
use super::running::{Delivery, RunningSink};
use super::setup::Setup;
use super::supervisor::{NewSettings, SinkOrder};
use crate::store::{Error, Pause, RegisteredSink, SinkId, Spool, Store};
use crate::time::Clock;

/// How a sink of the new configuration compares with the sink of the same name in the previous configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkChange {
    /// Nothing has changed.
    Same,
    /// Settings have changed, and messages go to the same receiver as before.
    Settings,
    /// Messages go to another receiver, or are sent with other credentials.
    Receiver,
}

/// Registers sinks in the store while delivery runs.
#[derive(Clone, Debug)]
pub struct Registrar {
    store: Store,
    clock: Clock,
    running: Vec<SinkId>,
}

/// The sinks of a new configuration, after they were registered in the store.
pub struct NewSinks(Vec<NewSink>);

struct NewSink {
    setup: Setup,
    change: SinkChange,
    registered: RegisteredSink,
    pause: Option<Pause>,
}

impl Registrar {
    /// Returns the store in which the sinks are registered.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Registers the sinks of a new configuration in the store. Messages that are released from now on go to these
    /// sinks, so [`Delivery::follow`] has to be called next.
    ///
    /// # Errors
    /// Errors of the store. In this case nothing was changed.
    pub async fn register(self, setups: Vec<(Setup, SinkChange)>) -> Result<NewSinks, Error> {
        let known: Vec<&Setup> = setups.iter().map(|(setup, _)| setup).collect();
        let registered = register(&self.store, &self.clock, &known).await?;
        let pauses = self.pauses(registered.iter().map(|registered| registered.id).collect()).await;
        let sinks = setups.into_iter().zip(registered).zip(pauses);
        let sinks = sinks.map(|(((setup, change), registered), pause)| NewSink { setup, change, registered, pause });
        Ok(NewSinks(sinks.collect()))
    }

    /// Returns the pause of each sink. If the store fails, no sink counts as paused for now. The registration is on the
    /// disk already, so the reload must go on. The loop of each sink asks the store for the pause again within seconds.
    async fn pauses(&self, ids: Vec<SinkId>) -> Vec<Option<Pause>> {
        let beginning = ids.iter().copied().filter(|id| !self.running.contains(id));
        if let Err(error) = lift_closed(&self.store, &self.clock, beginning).await {
            tracing::debug!(%error, "pauses of closed outputs could not be ended");
        }
        let count = ids.len();
        let read = move |spool: &Spool| ids.iter().map(|id| spool.pause_of(*id)).collect::<Result<Vec<_>, Error>>();
        self.store.read(read).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the pauses of the sinks could not be read");
            vec![None; count]
        })
    }
}

impl Delivery {
    /// Returns the handle that registers the sinks of a new configuration.
    pub fn registrar(&self) -> Registrar {
        let running = self.sinks.iter().map(|sink| sink.id).collect();
        Registrar { store: self.shared().store.clone(), clock: self.shared().clock.clone(), running }
    }

    /// Goes on with the sinks of a new configuration. Deliveries under way end with the settings with which they began.
    pub fn follow(&mut self, sinks: NewSinks) {
        self.shared().sink_count.store(sinks.0.len(), Ordering::Relaxed);
        let mut before: Vec<(RunningSink, bool)> = std::mem::take(&mut self.sinks)
            .into_iter()
            .map(|sink| (sink, false))
            .chain(std::mem::take(&mut self.retired).into_iter().map(|sink| (sink, true)))
            .collect();
        for NewSink { setup, change, registered, pause } in sinks.0 {
            // A sink is recognised by its id and not by its name: an operator may have renamed the sink in the store,
            // and the configuration may have the new name by now.
            let found = before.iter().position(|(sink, _)| sink.id == registered.id);
            let sink = match found.map(|at| before.swap_remove(at)) {
                Some((sink, was_retired)) => {
                    let has_its_name = sink.published.borrow().status.name == setup.name;
                    if was_retired || change != SinkChange::Same || !has_its_name {
                        order_to_follow(sink, setup, change, (registered, pause))
                    } else {
                        sink
                    }
                }
                None => self.begin_sink(setup, registered, pause),
            };
            self.sinks.push(sink);
        }
        for (sink, _) in before {
            // A loop that has ended needs no order.
            sink.orders.send(SinkOrder::Retire).ok();
            self.retired.push(sink);
        }
        self.waker().wake();
    }

    /// Ends the loops of removed sinks that have no delivery under way any more.
    pub fn end_retired_sinks(&mut self) {
        self.retired.retain(|sink| {
            let is_done = {
                let published = sink.published.borrow();
                published.is_retired && published.status.in_flight == 0
            };
            if is_done {
                sink.orders.send(SinkOrder::End).ok();
            }
            !is_done
        });
        self.reap_loops();
    }
}

fn order_to_follow(
    sink: RunningSink,
    setup: Setup,
    change: SinkChange,
    (registered, pause): (RegisteredSink, Option<Pause>),
) -> RunningSink {
    let Setup { name, options, format, mask, sink: target, metrics, .. } = setup;
    let enabled = options.enabled;
    let is_other_receiver = change == SinkChange::Receiver;
    let settings =
        NewSettings { registered, pause, name, options, format, mask, sink: target, metrics, is_other_receiver };
    // Sending fails only after the loop has panicked, which ends the relay.
    sink.orders.send(SinkOrder::Follow(Box::new(settings))).ok();
    RunningSink { enabled, ..sink }
}
