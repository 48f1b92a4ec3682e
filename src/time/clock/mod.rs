//! The type [`Clock`], which reads time in three ways:
//!
//! - [`Clock::monotonic`] is for waits.
//! - [`Clock::machine_time`] is this machine's clock as it is at this moment; it goes back when the machine's clock
//!   goes back. It is for the lines of the log, and for times that are compared with the clocks of other machines, such
//!   as the times in signatures and the dates in answers.
//! - [`Clock::relay_time`] is the relay's time, for all times that are stored and shown.
//!
//! A further clock, the *clock of the messages*, is the one by which the API dates messages. The relay learns it from
//! the API's answers ([`Clock::message_time`]).
//!
//! Invariants: changes of the machine's clock do not change the relay's time. While the machine is suspended, the
//! relay's time goes on. The relay's time is corrected at most once in a process, by [`Clock::synchronize`]. Until the
//! relay's time is confirmed ([`Clock::is_confirmed`]), no code may end a delivery or remove anything because time has
//! passed.

mod correction;
mod memory;
mod relay_time;
mod synchronize;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

pub use self::correction::{ClockCorrection, MachineJump};
pub use self::memory::ClockMemory;
use self::relay_time::{RelayTime, Trust};
use super::boot_id;
use super::trust::{ClockDoubt, JumpWatch};
use crate::domain::{UnixMs, whole_ms};

/// The source of all times. Clones are cheap and agree with each other.
#[derive(Clone, Debug)]
pub struct Clock {
    source: TimeSource,
    origin: Instant,
    /// The id of the machine's present boot; `None` if it is not known.
    boot: Option<Arc<str>>,
    relay: Arc<Mutex<RelayTime>>,
}

#[derive(Clone, Copy, Debug)]
enum TimeSource {
    System,
    /// The clock of another machine, whose reading was passed in when this clock was made.
    Told,
    /// Tokio's clock alone, so that paused time drives all readings.
    Tokio,
}

/// The relay's time at one moment, as [`Clock::relay_moment`] returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayMoment {
    /// The relay's time.
    pub time: UnixMs,
    /// By how many milliseconds the relay's time was corrected in this process before this moment.
    pub corrected_by: i64,
    /// Whether the relay's time was corrected, but not all stored times were corrected yet.
    pub is_correcting: bool,
}

impl Clock {
    /// Makes a clock on the machine's clock. The relay's time begins with the machine's clock and is not confirmed.
    pub fn system() -> Self {
        Self::new(TimeSource::System, system_wall(), Trust::Unconfirmed)
    }

    /// Makes a clock that uses the clock of another machine, such as the database server, instead of this machine's
    /// clock. `now` is the present time by that other clock. So relays on machines whose clocks differ have the same
    /// time. Later jumps of the two machines' clocks have no effect. The relay's time is not confirmed.
    pub fn told(now: UnixMs) -> Self {
        Self::new(TimeSource::Told, now, Trust::Unconfirmed)
    }

    /// Makes a clock that stands at `start` now and moves with tokio's time only, for tests with paused time. Its time
    /// is confirmed.
    pub fn starting_at(start: UnixMs) -> Self {
        let clock = Self::new(TimeSource::Tokio, start, Trust::Confirmed);
        clock.hear_messages(start);
        clock
    }

    /// Makes a clock of paused time whose time is not confirmed yet, as at the start of a process.
    #[cfg(test)]
    pub(crate) fn unconfirmed_at(start: UnixMs) -> Self {
        Self::new(TimeSource::Tokio, start, Trust::Unconfirmed)
    }

    /// Sets the machine's clock, as people and NTP do.
    #[cfg(test)]
    pub(crate) fn set_machine(&self, to: UnixMs) {
        let unset = self.origin_machine();
        self.lock().machine_off = to.0 - unset.0;
    }

    fn new(source: TimeSource, now: UnixMs, state: Trust) -> Self {
        let origin = monotonic();
        let relay = RelayTime {
            base: 0,
            began: now,
            state,
            corrected_by: 0,
            by_api: state == Trust::Confirmed,
            jump_watch: JumpWatch::default(),
            newest: UnixMs::MIN,
            proven: UnixMs::MIN,
            before: ClockMemory::default(),
            api: None,
            messages: None,
            messages_least: None,
            api_doubt: ClockDoubt::default(),
            doubted: None,
            machine_seen: 0,
            machine_off: 0,
        };
        let boot = boot_id::read(None).map(Into::into);
        let clock = Self { source, origin, boot, relay: Arc::new(Mutex::new(relay)) };
        let base = now.0.saturating_sub(clock.elapsed());
        {
            let mut relay = clock.lock();
            relay.base = base;
            relay.machine_seen = base;
            relay.machine_off = base;
        }
        clock
    }

    /// Takes the id of the machine's present boot that was passed to the process at its start. This id counts if the
    /// process may not read the id from the kernel.
    #[must_use]
    pub fn with_boot_id(mut self, told: Option<String>) -> Self {
        self.boot = boot_id::read(told).map(Into::into);
        self
    }

    /// Returns monotonic time, for waits and time-outs. Monotonic time stands still while the machine is suspended.
    pub fn monotonic(&self) -> Instant {
        monotonic()
    }

    /// Returns the machine's clock as it is now, for times that other machines compare with their clocks.
    pub fn machine_time(&self) -> UnixMs {
        match self.source {
            TimeSource::System => system_wall(),
            TimeSource::Told | TimeSource::Tokio => {
                UnixMs(self.origin_machine().0.saturating_add(self.lock().machine_off))
            }
        }
    }

    fn origin_machine(&self) -> UnixMs {
        UnixMs(self.elapsed())
    }

    /// Returns the relay's time, for times that are stored and shown.
    pub fn relay_time(&self) -> UnixMs {
        let elapsed = self.elapsed();
        UnixMs(self.lock().base.saturating_add(elapsed))
    }

    /// Returns whether the relay's time is known to be right. As long as it is not, no delivery may end and nothing may
    /// be removed because time has passed.
    pub fn is_confirmed(&self) -> bool {
        self.lock().state == Trust::Confirmed
    }

    /// Returns the relay's time together with its correction, which a caller needs to compare this time with stored
    /// times. All parts of the returned value are from the same moment.
    pub fn relay_moment(&self) -> RelayMoment {
        let elapsed = self.elapsed();
        let relay = self.lock();
        RelayMoment {
            time: UnixMs(relay.base.saturating_add(elapsed)),
            corrected_by: relay.corrected_by,
            is_correcting: relay.state == Trust::Corrected && relay.corrected_by != 0,
        }
    }

    /// Returns by how many milliseconds the relay's time was corrected in this process so far.
    pub fn corrected_by(&self) -> i64 {
        self.lock().corrected_by
    }

    /// Returns the time by the clock of the messages; `None` if it is not known yet. While the API states a time that
    /// is not believed, this is the earlier one of two times: the stated time and the expected time. So a message is
    /// too old only if it is too old by both. If no time of the API was ever believed, the stated time counts only if
    /// it is earlier than the expected time; otherwise the result is `None`.
    pub fn message_time(&self) -> Option<UnixMs> {
        let elapsed = self.elapsed();
        self.lock().ageing_messages().map(|base| UnixMs(base.saturating_add(elapsed)))
    }

    /// Returns [`Self::message_time`] or, while that time is not known, the likely time by the [`ClockMemory`] of an
    /// earlier process.
    pub fn likely_message_time(&self) -> UnixMs {
        let elapsed = self.elapsed();
        let relay = self.lock();
        UnixMs(relay.ageing_messages().unwrap_or_else(|| relay.remembered_messages()).saturating_add(elapsed))
    }

    /// Returns the time that the API is expected to state for the clock of the messages. The expectation follows from
    /// the API's earlier times that were believed, or from the memory of an earlier process.
    pub fn expected_message_time(&self) -> UnixMs {
        let elapsed = self.elapsed();
        let relay = self.lock();
        UnixMs(relay.known_messages().unwrap_or_else(|| relay.remembered_messages()).saturating_add(elapsed))
    }

    /// Returns [`Self::message_time`] or, while that time is not known, the latest time that the clock of the messages
    /// may show now: the likely time or the doubted time, whichever is later. If a message is not too old by this time,
    /// it is certainly not too old.
    pub fn latest_message_time(&self) -> UnixMs {
        let (likely, elapsed) = (self.likely_message_time(), self.elapsed());
        let relay = self.lock();
        let doubted = relay.doubted.filter(|_| relay.ageing_messages().is_none());
        doubted.map_or(likely, |base| likely.max(UnixMs(base.saturating_add(elapsed))))
    }

    /// Records that the API states `now` for the clock of the messages, but that this time is not believed yet.
    pub fn doubt_messages(&self, now: UnixMs) {
        let elapsed = self.elapsed();
        self.lock().doubted = Some(now.0.saturating_sub(elapsed));
    }

    /// Records that the API states `now` for the clock of the messages, and that this time is believed.
    pub fn hear_messages(&self, now: UnixMs) {
        let elapsed = self.elapsed();
        let mut relay = self.lock();
        relay.messages = Some(now.0.saturating_sub(elapsed));
        relay.doubted = None;
    }

    /// Records that the API was read and stated no time, and that the clock of the messages shows `least` or later.
    /// `least` plus the time that passes stays a lower bound. This lower bound counts as the time of that clock until
    /// a time of the API is believed. It is not passed on to other processes.
    pub fn hear_messages_since(&self, least: UnixMs) {
        let elapsed = self.elapsed();
        let mut relay = self.lock();
        relay.messages_least = relay.messages_least.max(Some(least.0.saturating_sub(elapsed)));
    }

    fn lock(&self) -> MutexGuard<'_, RelayTime> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the elapsed time in milliseconds: the time since the machine's start. In tests with paused time, and
    /// where the machine's start is not known, this is the time since this clock was made. The elapsed time never
    /// jumps.
    fn elapsed(&self) -> i64 {
        let since_origin = || whole_ms(monotonic().saturating_duration_since(self.origin));
        match self.source {
            TimeSource::System | TimeSource::Told => since_boot().map_or_else(since_origin, whole_ms),
            TimeSource::Tokio => since_origin(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
fn monotonic() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
fn system_wall() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(whole_ms(since))
}

/// Returns how long ago the machine started, including the time during which it was suspended.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is no such clock")]
fn since_boot() -> Option<Duration> {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    Some(Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(since.tv_nsec).unwrap_or(0)))
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests;
