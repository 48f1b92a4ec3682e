//! Finds out which time is right: from the API's answers, from the machine's clock, and from what an earlier process
//! left.

use super::correction::{ClockCorrection, MachineJump};
use super::memory::ClockMemory;
use super::relay_time::Trust;
use super::{Clock, TimeSource};
use crate::domain::UnixMs;
use crate::time::boot_id;
use crate::time::trust::{self, ClockEvidence, ClockVerdict, MIN_CORRECTION};

impl Clock {
    /// Lets the relay's time go on from the previous process. `before` is the memory that the previous process left,
    /// and `newest` is the newest stored instant. Within one boot of the machine the previous process's time goes on
    /// exactly. Otherwise the relay's time begins with the machine's clock, but never before the newest stored instant.
    pub fn resume(&self, before: Option<ClockMemory>, newest: UnixMs) {
        self.go_on(before, newest, false);
    }

    fn go_on(&self, before: Option<ClockMemory>, newest: UnixMs, runs: bool) {
        if let TimeSource::Tokio = self.source {
            return;
        }
        let (elapsed, machine) = (self.elapsed(), self.machine_time());
        let same_boot = before.as_ref().is_some_and(|before| runs || self.is_of_this_boot(before, elapsed));
        let is_left = before.is_some();
        let mut before = before.unwrap_or_default();
        if !same_boot && !before.confirmed {
            // This difference is relative to a relay's time that was only a guess.
            before.messages_ahead_ms = None;
        }
        let mut relay = self.lock();
        relay.newest = newest.max(UnixMs(before.written_at));
        relay.proven = match is_left {
            true if !before.confirmed => before.confirmed_at.map_or(UnixMs::MIN, UnixMs),
            _ => relay.newest,
        };
        if same_boot {
            relay.base = before.booted_at;
            relay.by_api = before.confirmed;
            relay.state = if before.confirmed { Trust::Confirmed } else { Trust::Unconfirmed };
        } else {
            relay.base = machine.max(relay.newest).0.saturating_sub(elapsed);
        }
        relay.began = UnixMs(relay.base.saturating_add(elapsed));
        relay.before = before;
    }

    /// Returns whether `before` was written in the machine's present boot. If the machine has been running for less
    /// time now than when `before` was written, it has booted in between, even if the boot ids are the same.
    fn is_of_this_boot(&self, before: &ClockMemory, elapsed: i64) -> bool {
        let then = before.written_at.saturating_sub(before.booted_at);
        boot_id::is_same(before.boot.as_deref(), self.boot.as_deref()) && then <= elapsed
    }

    /// Sets the relay's time for a command, by the memory that a relay left. `runs` says that the relay still runs. If
    /// so, the memory is of this boot of the machine, even if the command cannot read the boot id.
    pub fn adopt_memory(&self, left: Option<ClockMemory>, runs: bool) {
        self.go_on(left, UnixMs::MIN, runs);
    }

    /// Returns the memory to leave to other processes.
    pub fn memory(&self) -> ClockMemory {
        let written_at = self.relay_time();
        let (elapsed, machine) = (self.elapsed(), self.machine_time());
        let relay = self.lock();
        let heard = relay.messages.or_else(|| relay.doubted.and(relay.ageing_messages()));
        let messages_ahead = heard.map(|messages| messages.saturating_sub(relay.base));
        let confirmed = relay.state == Trust::Confirmed && relay.by_api;
        // The next process may rely only on a difference that was measured after the time was confirmed.
        let machine_ahead = relay.machine_ahead(elapsed, machine).filter(|_| confirmed);
        ClockMemory {
            boot: self.boot.as_deref().map(str::to_owned),
            booted_at: relay.base,
            written_at: written_at.0,
            confirmed,
            confirmed_at: Some(relay.proven.0).filter(|proven| !confirmed && *proven > UnixMs::MIN.0),
            machine_ahead_ms: machine_ahead.or(relay.before.machine_ahead_ms),
            messages_ahead_ms: messages_ahead.or(relay.before.messages_ahead_ms).or(Some(0)),
        }
    }

    /// Checks whether the right time is known by now. `api` is the `Date` of an answer of the API. Returns the
    /// correction of the relay's time once the right time is known; the correction may be zero. The caller corrects the
    /// stored times and then calls [`Clock::confirm`]. No correction is returned twice.
    pub fn synchronize(&self, api: Option<UnixMs>) -> Option<ClockCorrection> {
        let (elapsed, machine, at) = (self.elapsed(), self.machine_time(), self.monotonic());
        let mut relay = self.lock();
        // Until the time is confirmed, a jump of the API's clock is not doubted. Instead, after such a jump the watch
        // over the clocks begins again (`jump_watch`).
        let expected = relay.api.filter(|_| relay.state != Trust::Unconfirmed);
        let expected = expected.map(|base| UnixMs(base.saturating_add(elapsed)));
        let heard = api.filter(|api| {
            let vouched = trust::agree(*api, machine);
            expected.is_none_or(|expected| relay.api_doubt.believes(*api, expected, vouched, at))
        });
        relay.api = heard.map(|api| api.0.saturating_sub(elapsed)).or(relay.api);
        if relay.state != Trust::Unconfirmed {
            return None;
        }
        // Between answers, the time that has passed is added to the API's clock.
        let api = relay.api.map(|base| UnixMs(base.saturating_add(elapsed)));
        let steady = relay.jump_watch.observe(elapsed, machine, api, heard.is_some());
        let was = UnixMs(relay.base.saturating_add(elapsed));
        let ClockVerdict { now, uncounted, by_api } = trust::judge(&ClockEvidence {
            relay: was,
            machine,
            api,
            newest: relay.newest,
            proven: relay.proven,
            steady,
            told: relay.jump_watch.told(),
            known_apart: relay.before.machine_ahead_ms,
            known_confirmed: relay.before.confirmed,
        })?;
        let now = if trust::apart(now, was) <= MIN_CORRECTION { was } else { now };
        relay.state = Trust::Corrected;
        relay.by_api = by_api;
        relay.corrected_by = now.0.saturating_sub(was.0);
        relay.base = relay.base.saturating_add(relay.corrected_by);
        // The report of the correction states how far the machine's clock is off. So an earlier jump is not reported as
        // well.
        relay.machine_seen = machine.0.saturating_sub(elapsed);
        let from = if uncounted { UnixMs::MIN } else { relay.began };
        Some(ClockCorrection { was, now, from, machine_ahead_ms: relay.machine_ahead(elapsed, machine) })
    }

    /// Returns the jump of the machine's clock, if the clock has jumped by more than 5 minutes since the start. Each
    /// jump is returned once. A jump before the correction of the relay's time is not returned after that correction.
    pub fn machine_jump(&self) -> Option<MachineJump> {
        let (elapsed, machine) = (self.elapsed(), self.machine_time());
        let mut relay = self.lock();
        let seen = machine.0.saturating_sub(elapsed);
        if trust::agree(UnixMs(seen), UnixMs(relay.machine_seen)) {
            return None;
        }
        let by_ms = seen.saturating_sub(relay.machine_seen);
        relay.machine_seen = seen;
        Some(MachineJump { by_ms, ahead_ms: relay.machine_ahead(elapsed, machine) })
    }

    /// Records that the stored times were corrected, so that the relay's time is confirmed.
    pub fn confirm(&self) {
        self.lock().state = Trust::Confirmed;
    }
}
