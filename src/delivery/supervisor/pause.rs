//! Pauses of a sink: those that it takes by itself, and those that people make and end in the store. And its name, which
//! people may change there.
//!
//! The store is asked at each slow poll, so a command takes effect within seconds. Whoever resumes a sink also ends the
//! silence that its receiver has asked for. A pause that began here holds at once,
//! and is written down as soon as the disk takes it; until then the store's word does not end it. A sink that is switched
//! off stays so whatever people say of a pause.

use super::Supervisor;
use crate::delivery::health::{Moment, SinkHealth};
use crate::delivery::status::Held;
use crate::domain::{PauseReason, UnixMs};
use crate::store::{self, Pause, Spool};

impl Supervisor {
    /// How the store has it at the start.
    pub(in crate::delivery) fn starts_paused(&mut self, pause: Option<Pause>) {
        let Some(Pause { reason, since }) = pause else { return };
        self.held = Some(Held::paused(reason));
        if reason == PauseReason::Disabled {
            self.say_switched_off();
            return;
        }
        tracing::warn!(
            sink.name = self.identity.name,
            reason = reason.as_str(),
            %since,
            hint = self.how_to_resume(),
            "the sink is paused and keeps its messages"
        );
    }

    fn say_switched_off(&self) {
        tracing::info!(
            sink.name = self.identity.name,
            "the sink is switched off (enabled = false) and keeps its messages"
        );
    }

    /// A reason of its own to stop sending. Returns whether that is new.
    pub(super) fn pauses_itself(&mut self, reason: PauseReason) -> bool {
        let new = self.held.is_none();
        if new {
            self.held = Some(Held::paused(reason));
            self.pause_to_write = Some(reason);
        }
        new
    }

    /// For people.
    pub(super) fn how_to_resume(&self) -> String {
        format!("joltsms-relay sinks resume {}", self.identity.name)
    }

    pub(super) async fn write_and_ask_pause(&mut self) {
        let sink = self.identity.registered.id;
        if let Some(reason) = self.pause_to_write {
            let now = self.shared.clock.relay_time();
            let written = self.shared.store.write(move |spool| spool.pause(sink, reason, now)).await;
            self.pause_to_write = self.noted(written).map_or(Some(reason), |_| None);
        }
        // The last output of a relay that is at its end is not paused in the store.
        let is_end = self.identity.alone && self.held == Some(Held::Closed);
        if self.ask_pause && self.pause_to_write.is_none() && !is_end {
            let ask = move |spool: &Spool| Ok((spool.pause_of(sink)?, spool.resumes(sink)?, spool.sink_name(sink)?));
            let asked = self.shared.store.read(ask).await;
            if let Some((pause, resumes, name)) = self.noted(asked) {
                self.ask_pause = false;
                self.take_name(name);
                let resumed = std::mem::replace(&mut self.resumes, resumes) != resumes;
                self.take_pause(pause, resumed);
            }
        }
    }

    fn take_name(&mut self, name: Option<String>) {
        let Some(name) = name.filter(|name| *name != self.identity.name) else { return };
        let was = std::mem::replace(&mut self.identity.name, name);
        tracing::info!(
            sink.name = self.identity.name,
            was,
            "the sink was renamed: the configuration must have its new name at the next start"
        );
    }

    /// `resumed`: somebody did so since it was asked last. What that ended may have begun since, or be a silence.
    fn take_pause(&mut self, pause: Option<Pause>, resumed: bool) {
        if !self.identity.options.enabled {
            // A pause of a person's stays for when it is switched on. The end of one is no reason to begin.
            if pause.is_none() && self.held.is_some() {
                self.pause_to_write = Some(PauseReason::Disabled);
                self.say_switched_off();
            }
            return;
        }
        let held = pause.map(|pause| Held::paused(pause.reason));
        let before = std::mem::replace(&mut self.held, held);
        if held.is_some() {
            if held != before {
                tracing::warn!(
                    sink.name = self.identity.name,
                    hint = self.how_to_resume(),
                    "the sink was paused and keeps its messages"
                );
            }
            return;
        }
        if before.is_none() && !resumed {
            return;
        }
        // Whoever resumes it expects it to work: what was learnt before is forgotten, and what was claimed before does
        // not know of the pause.
        let now = Moment { monotonic: self.now(), wall: self.shared.clock.relay_time() };
        *self.standing.lock() = SinkHealth::restored(store::HealthRecord::default(), now);
        self.failing_from = None;
        // What has failed is due now, a portion at a time.
        self.bringing_forward = Some(UnixMs::MIN);
        self.queues.give_back();
        self.queues.look_everywhere();
        tracing::info!(sink.name = self.identity.name, "the sink was resumed: its messages are sent");
    }
}
