//! The pauses of a sink. A pause begins because of an answer of the receiver, because nobody reads the output, because
//! the configuration switches the sink off, or because an operator writes the pause to the store. Operators end pauses
//! in the store, too. They may also rename the sink there, so its name is read together with the pauses.
//!
//! Invariants:
//! - The store is asked at each slow poll, and each time that a command has woken delivery up. So a command takes
//!   effect within seconds.
//! - A pause that begins in this process takes effect at once, and is written to the store as soon as the disk accepts
//!   writes. Until it is written, the store is not asked for pauses, so nothing that is read there ends it.
//! - A sink that the configuration switches off stays off, even if an operator resumes it.

use super::store_retry::StoreRetry;
use crate::delivery::context::SinkContext;
use crate::delivery::log_sentences as log;
use crate::domain::PauseReason;
use crate::store::{Pause, ResumeCount, Spool};

/// Whether and why a sink is paused, as far as this process knows.
#[derive(Debug)]
pub(super) struct Pauses {
    /// Whether the configuration lets the sink run.
    enabled: bool,
    pause: Option<PauseReason>,
    /// A pause that began in this process and is not in the store yet.
    unwritten: Option<PauseReason>,
    /// Whether the store is to be asked at the next step.
    asks: bool,
    /// How often operators had resumed the sink when the store was asked last.
    resumes: ResumeCount,
}

/// The changes by operators that this process has just read from the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OperatorRequests {
    /// The new name of the sink.
    pub(super) renamed: Option<String>,
    /// Whether somebody resumed the sink and no pause is left.
    pub(super) is_resumed: bool,
}

/// What follows from the pause that the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PauseChange {
    Unchanged,
    Paused,
    Resumed,
    /// Somebody resumed a sink that is switched off. The sink stays switched off, and its pause is to be written to the
    /// store again.
    StaysSwitchedOff,
}

impl Pauses {
    /// Makes the value at the start and after a reload, with the pause and the number of resumes that the store has.
    /// Logs the pause.
    pub(super) fn at_start(context: &SinkContext, pause: Option<Pause>) -> Self {
        match pause {
            Some(Pause { reason: PauseReason::Disabled, .. }) => log::sink_is_switched_off(context.name()),
            Some(Pause { reason, since }) => {
                log::sink_is_paused(context.name(), &context.shared.invocation, reason, since);
            }
            None => {}
        }
        let enabled = context.identity.options.enabled;
        Self::new(enabled, pause.map(|pause| pause.reason), context.identity.registered.resumes)
    }

    fn new(enabled: bool, pause: Option<PauseReason>, resumes: ResumeCount) -> Self {
        Self { enabled, pause, unwritten: None, asks: false, resumes }
    }

    /// Why the sink is paused; `None`: the sink is not paused.
    pub(super) fn reason(&self) -> Option<PauseReason> {
        if self.enabled { self.pause } else { Some(PauseReason::Disabled) }
    }

    /// Notes that an attempt showed a reason to pause: the receiver is gone, or nobody reads the output. Returns
    /// whether the sink was not paused before.
    pub(super) fn begin(&mut self, reason: PauseReason) -> bool {
        let is_new = self.pause.is_none();
        if is_new {
            self.pause = Some(reason);
            self.unwritten = Some(reason);
        }
        is_new
    }

    /// Notes that the output of the only sink is closed. The relay then ends, so the pause is not written to the store.
    /// Returns whether the output was open before.
    pub(super) fn output_closed(&mut self) -> bool {
        self.pause.replace(PauseReason::Closed) != Some(PauseReason::Closed)
    }

    /// Makes the next step ask the store.
    pub(super) fn ask_again(&mut self) {
        self.asks = true;
    }

    /// Writes a pause that began in this process. If there is no such pause, asks the store for the changes that
    /// operators made.
    pub(super) async fn step(&mut self, store: &mut StoreRetry, context: &SinkContext) -> OperatorRequests {
        let mut requests = OperatorRequests::default();
        let sink = context.id();
        if let Some(reason) = self.unwritten {
            let now = context.now().relay_time;
            let written = store.write(context, move |spool: &mut Spool| spool.pause(sink, reason, now)).await;
            self.unwritten.take_if(|_| written.is_some());
        }
        // If the output of the only sink is closed, the relay is about to end, and the store is not asked any more.
        let ends = context.is_alone() && self.pause == Some(PauseReason::Closed);
        if !self.asks || self.unwritten.is_some() || ends {
            return requests;
        }
        let ask = move |spool: &Spool| Ok((spool.pause_of(sink)?, spool.resume_count(sink)?, spool.sink_name(sink)?));
        let Some((pause, resumes, name)) = store.read(context, ask).await else { return requests };
        self.asks = false;
        let was_resumed = std::mem::replace(&mut self.resumes, resumes) != resumes;
        requests.renamed = name.filter(|name| name != context.name());
        let name = requests.renamed.as_deref().unwrap_or(context.name());
        match self.follow(pause.map(|pause| pause.reason), was_resumed) {
            PauseChange::Unchanged => {}
            PauseChange::Paused => log::sink_was_paused(name, &context.shared.invocation),
            PauseChange::Resumed => requests.is_resumed = true,
            PauseChange::StaysSwitchedOff => log::sink_is_switched_off(name),
        }
        requests
    }

    /// Follows the pause that the store has; `None`: it has no pause. `was_resumed`: somebody resumed the sink since
    /// the store was asked last. This counts even if this process saw no pause: an operator also resumes a sink to end
    /// a silence, and a pause may have begun and ended since the store was asked last.
    fn follow(&mut self, pause: Option<PauseReason>, was_resumed: bool) -> PauseChange {
        if !self.enabled {
            // If the store has a pause, it stays as it is. (A pause by an operator goes on even when the sink is
            // switched on again.) If the store has none any more, it gets a new one, because the sink is still switched
            // off.
            if pause.is_some() || self.pause.is_none() {
                return PauseChange::Unchanged;
            }
            self.unwritten = Some(PauseReason::Disabled);
            return PauseChange::StaysSwitchedOff;
        }
        let before = std::mem::replace(&mut self.pause, pause);
        match pause {
            Some(_) if pause == before => PauseChange::Unchanged,
            Some(_) => PauseChange::Paused,
            None if before.is_some() || was_resumed => PauseChange::Resumed,
            None => PauseChange::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATOR: Option<PauseReason> = Some(PauseReason::Operator);
    const GONE: Option<PauseReason> = Some(PauseReason::Gone);

    fn pauses(enabled: bool, pause: Option<PauseReason>) -> Pauses {
        Pauses::new(enabled, pause, ResumeCount::default())
    }

    #[test]
    fn what_the_store_says_is_followed() {
        for (before, was_resumed, now, expected) in [
            (None, false, None, PauseChange::Unchanged),
            (None, true, None, PauseChange::Resumed),
            (None, false, OPERATOR, PauseChange::Paused),
            (None, true, OPERATOR, PauseChange::Paused),
            (OPERATOR, false, OPERATOR, PauseChange::Unchanged),
            (GONE, false, OPERATOR, PauseChange::Paused),
            (OPERATOR, false, None, PauseChange::Resumed),
        ] {
            let mut pauses = pauses(true, before);
            assert_eq!(pauses.follow(now, was_resumed), expected, "{before:?} {was_resumed} {now:?}");
            assert_eq!(pauses.reason(), now);
        }
    }

    #[test]
    fn a_sink_that_is_switched_off_stays_off() {
        let mut pauses = pauses(false, Some(PauseReason::Disabled));
        for pause in [Some(PauseReason::Disabled), OPERATOR] {
            assert_eq!(pauses.follow(pause, true), PauseChange::Unchanged);
        }
        assert_eq!(pauses.follow(None, true), PauseChange::StaysSwitchedOff);
        assert_eq!((pauses.reason(), pauses.unwritten), (Some(PauseReason::Disabled), Some(PauseReason::Disabled)));
    }

    #[test]
    fn a_sink_pauses_itself_once_and_only_if_it_is_not_paused() {
        let mut free = pauses(true, None);
        assert!(free.begin(PauseReason::Gone));
        assert!(!free.begin(PauseReason::Gone));
        assert_eq!((free.reason(), free.unwritten), (Some(PauseReason::Gone), GONE));
        let mut paused = pauses(true, OPERATOR);
        assert!(!paused.begin(PauseReason::Gone));
        assert_eq!((paused.reason(), paused.unwritten), (Some(PauseReason::Operator), None));
    }

    #[test]
    fn the_closed_output_of_the_only_sink_is_not_written_to_the_store() {
        let mut pauses = pauses(true, OPERATOR);
        assert!(pauses.output_closed());
        assert!(!pauses.output_closed());
        assert_eq!((pauses.reason(), pauses.unwritten), (Some(PauseReason::Closed), None));
    }
}
