//! The type [`Clock`], which reads time in three ways:
//!
//! - [`Clock::monotonic`] is for waits.
//! - [`Clock::machine_time`] is this machine's clock as it is at this moment; it goes back when the machine's clock
//!   goes back. It is for times that are compared with the clocks of other machines, such as the times in signatures
//!   and the dates in answers, and for the lines of the log.
//! - [`Clock::relay_time`] is the relay's time, for all times that are stored and shown.
//!
//! A further clock, the *clock of the messages*, is the one by which the API dates messages. The relay learns it from
//! the API's answers ([`Clock::message_time`]).
//!
//! Invariants: changes of the machine's clock do not change the relay's time, and the sleep of a suspended machine
//! counts in it. The relay's time is corrected at most once in a process, by [`Clock::synchronize`]. Until
//! [`Clock::confirm`] was called, no code may end a delivery or remove anything because time has passed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::boot_id;
use super::trust::{self, ClockDoubt, ClockEvidence, ClockVerdict, JumpWatch, MIN_CORRECTION};
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

/// The relay's time, and the knowledge about it. Each clock is stored as the reading that it had, or would have had,
/// when the elapsed time ([`Clock::elapsed`]) was 0.
#[derive(Debug)]
struct RelayTime {
    base: i64,
    /// The instant at which this process began, by the relay's time before any correction.
    began: UnixMs,
    state: Trust,
    /// By how many milliseconds the relay's time was corrected in this process.
    corrected_by: i64,
    /// Whether the API has confirmed the relay's time.
    by_api: bool,
    jump_watch: JumpWatch,
    newest: UnixMs,
    /// The newest stored instant from a process whose relay's time the API had confirmed.
    proven: UnixMs,
    /// What an earlier process left in the state about the relay's time.
    before: ClockMemory,
    /// The API's clock, by the last `Date` that was believed.
    api: Option<i64>,
    api_doubt: ClockDoubt,
    /// The clock of the messages, by the last time of the API that was believed; `None` if no time of the API was
    /// believed in this process.
    messages: Option<i64>,
    /// The earliest time that the clock of the messages may show, if the API states no time except the times of its
    /// messages.
    messages_least: Option<i64>,
    /// The time that the API last stated for the clock of the messages, while this time is not believed.
    doubted: Option<i64>,
    /// The machine's clock when the relay last looked for jumps of this clock.
    machine_seen: i64,
    /// Except with [`TimeSource::System`]: how far the machine's clock is ahead of the elapsed time.
    machine_off: i64,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Unconfirmed,
    /// The relay's time was corrected, and the stored times still have to be corrected.
    Corrected,
    Confirmed,
}

/// The knowledge about the relay's time that a process leaves to the next process, and to commands that run beside it.
/// Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockMemory {
    /// The id of the machine's present boot; `None` if it is not known.
    pub boot: Option<String>,
    /// The relay's time when the machine started.
    pub booted_at: i64,
    /// The relay's time when this memory was written.
    pub written_at: i64,
    /// Whether the API had confirmed the relay's time.
    pub confirmed: bool,
    /// If the API had not confirmed the relay's time: the newest instant at which an earlier process had a confirmed
    /// time.
    pub confirmed_at: Option<i64>,
    /// By how many milliseconds the machine's clock was ahead of the API's clock.
    pub machine_ahead_ms: Option<i64>,
    /// By how many milliseconds the clock of the messages was ahead of the relay's time.
    pub messages_ahead_ms: Option<i64>,
}

/// A correction of the relay's time. Times that were stored by the wrong relay's time have to be corrected, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockCorrection {
    /// The wrong relay's time at the moment of the correction.
    pub was: UnixMs,
    /// The right relay's time at the same moment.
    pub now: UnixMs,
    /// Stored instants from this instant up to `was` move by the difference of `was` and `now`. Stored instants later
    /// than `was` become the present time.
    pub from: UnixMs,
    /// By how many milliseconds the machine's clock is ahead of the API's clock; `None` if the API has stated no time.
    pub machine_ahead_ms: Option<i64>,
}

/// A jump of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineJump {
    /// By how many milliseconds the machine's clock was set ahead.
    pub by_ms: i64,
    /// By how many milliseconds the machine's clock is ahead of the API's clock now; `None` if the API has stated no
    /// time.
    pub ahead_ms: Option<i64>,
}

impl RelayTime {
    /// Returns the clock of the messages by the last time of the API that was believed. If there is no such time, and
    /// the relay's time is confirmed, returns this clock as an earlier process left it.
    fn known_messages(&self) -> Option<i64> {
        let heard = self.messages.or(self.messages_least);
        heard.or_else(|| (self.state == Trust::Confirmed).then(|| self.remembered_messages()))
    }

    /// Returns the clock of the messages as an earlier process left it, relative to the relay's time of this process.
    fn remembered_messages(&self) -> i64 {
        self.base.saturating_add(self.before.messages_ahead_ms.unwrap_or(0))
    }

    /// Returns the clock of the messages for judging how old messages are; `None` if it is not known yet. A doubted
    /// time of the API makes no message older.
    fn ageing_messages(&self) -> Option<i64> {
        let known = self.known_messages();
        let Some(doubted) = self.doubted else { return known };
        let expected = known.unwrap_or_else(|| self.remembered_messages());
        known.or(Some(doubted)).map(|known| known.min(doubted)).filter(|time| known.is_some() || *time <= expected)
    }

    fn machine_ahead(&self, elapsed: i64, machine: UnixMs) -> Option<i64> {
        self.api.map(|base| machine.0.saturating_sub(base.saturating_add(elapsed)))
    }
}

impl ClockCorrection {
    /// Returns by how many milliseconds the relay's time was moved ahead.
    pub fn shift(&self) -> i64 {
        self.now.0.saturating_sub(self.was.0)
    }

    /// Returns the new value of a stored instant. `now` is the relay's time now.
    pub fn moved(&self, at: UnixMs, now: UnixMs) -> UnixMs {
        let shift = if self.from <= at && at <= self.was { self.shift() } else { 0 };
        now.min(UnixMs(at.0.saturating_add(shift)))
    }
}

impl Clock {
    /// Makes a clock on the machine's clock. The relay's time begins with the machine's clock and is not confirmed.
    pub fn system() -> Self {
        Self::new(TimeSource::System, system_wall(), Trust::Unconfirmed)
    }

    /// Makes a clock that uses the clock of another machine, which now shows `now`, in the place of this machine's
    /// clock. So relays on machines whose clocks differ have the same time. Later jumps of the two machines' clocks
    /// have no effect. The relay's time is not confirmed.
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

    /// Makes a clock of paused time as at the start of a process, when it is not known whether its time is right.
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

    /// Returns whether the relay's time is known to be right. Only then may deliveries end, and may data be removed,
    /// because time has passed.
    pub fn is_confirmed(&self) -> bool {
        self.lock().state == Trust::Confirmed
    }

    /// Returns the relay's time together with what is needed to compare it with stored times. No correction can come
    /// between the parts of the returned value.
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
    /// is not believed, this is the stated time or the expected time, whichever is earlier. So a message is too old
    /// only if it is too old by both times.
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
    /// the API's earlier times that were believed.
    pub fn expected_message_time(&self) -> UnixMs {
        let elapsed = self.elapsed();
        let relay = self.lock();
        UnixMs(relay.known_messages().unwrap_or_else(|| relay.remembered_messages()).saturating_add(elapsed))
    }

    /// Returns the latest time that the clock of the messages may show now. If a message is not too old by this time,
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
    /// the API states a time. It is not passed on to other processes.
    pub fn hear_messages_since(&self, least: UnixMs) {
        let elapsed = self.elapsed();
        let mut relay = self.lock();
        relay.messages_least = relay.messages_least.max(Some(least.0.saturating_sub(elapsed)));
    }

    /// Lets the relay's time go on from the previous process. `before` is the memory that the previous process left,
    /// and `newest` is the newest stored instant. Within one boot of the machine the previous process's time goes on
    /// exactly. Otherwise the machine's clock counts, but never a time before the newest stored instant.
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
        // The next process may rely only on a difference that was measured once the time was confirmed.
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
        // Until the time is confirmed, a jump of the API's clock is not doubted. Instead, the jump begins the watch
        // over the clocks again.
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
        // The report of the correction states how far the machine's clock is off. So a jump up to now is not reported
        // once more.
        relay.machine_seen = machine.0.saturating_sub(elapsed);
        let from = if uncounted { UnixMs::MIN } else { relay.began };
        Some(ClockCorrection { was, now, from, machine_ahead_ms: relay.machine_ahead(elapsed, machine) })
    }

    /// Returns how the machine's clock jumped, if it jumped by more than 5 minutes since the start, or since the last
    /// jump that was returned. Each jump is returned once.
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
mod tests {
    use super::*;

    const START: UnixMs = UnixMs(1_750_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn paused_time_drives_all_readings() {
        let clock = Clock::starting_at(UnixMs(5_000));
        let before = clock.monotonic();
        tokio::time::advance(HOUR).await;
        let later = UnixMs(3_605_000);
        assert_eq!((clock.relay_time(), clock.machine_time(), clock.message_time()), (later, later, Some(later)));
        assert_eq!(clock.monotonic() - before, HOUR);
    }

    #[test]
    fn a_told_time_takes_the_place_of_the_machines_clock() {
        let clock = Clock::told(START);
        let near = |time: UnixMs| (START..START.after(HOUR)).contains(&time);
        assert!(near(clock.machine_time()) && near(clock.relay_time()));
        let elsewhere = ClockMemory { boot: Some("another machine".to_owned()), ..ClockMemory::default() };
        clock.resume(Some(elsewhere.clone()), START.before(HOUR));
        assert!(near(clock.relay_time()), "the memory is of another machine");
        clock.resume(Some(elsewhere), START.after(2 * HOUR));
        assert!(clock.relay_time() >= START.after(2 * HOUR), "never before the newest stored instant");
        assert!(near(clock.machine_time()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_the_machine_is_seen_by_nobody_who_counts_time() {
        let clock = Clock::starting_at(START);
        for to in [START.after(8 * DAY), UnixMs(0), START.after(DAY)] {
            clock.set_machine(to);
            assert_eq!((clock.machine_time(), clock.relay_time(), clock.message_time()), (to, START, Some(START)));
            assert_eq!(clock.synchronize(Some(START)), None, "it is confirmed already");
        }
        tokio::time::advance(HOUR).await;
        assert_eq!((clock.machine_time(), clock.relay_time()), (START.after(DAY + HOUR), START.after(HOUR)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_right_after_the_start_puts_the_relays_time_right_once() {
        let ahead = START.after(8 * DAY);
        let clock = Clock::unconfirmed_at(ahead);
        assert_eq!(clock.message_time(), None);
        tokio::time::advance(HOUR / 60).await;
        assert_eq!(clock.synchronize(Some(START.after(HOUR / 60))), None);
        assert!(!clock.is_confirmed());
        tokio::time::advance(HOUR / 60).await;
        let right = START.after(HOUR / 30);
        clock.set_machine(right);
        let correction = clock.synchronize(Some(right)).unwrap();
        assert_eq!((correction.was, correction.now, correction.from), (ahead.after(HOUR / 30), right, ahead));
        assert!(!clock.is_confirmed(), "what is stored has not followed yet");
        assert_eq!(clock.synchronize(Some(right)), None);
        clock.confirm();
        assert!(clock.is_confirmed());
        assert_eq!(clock.relay_time(), right);
        assert_eq!(clock.corrected_by(), -whole_ms(8 * DAY));
        clock.set_machine(ahead);
        assert_eq!(clock.relay_time(), right);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_api_the_machine_is_believed_after_an_hour_without_a_jump() {
        let clock = Clock::unconfirmed_at(START);
        assert_eq!(clock.synchronize(None), None);
        tokio::time::advance(HOUR / 2).await;
        clock.set_machine(START.after(DAY));
        assert_eq!(clock.synchronize(None), None);
        tokio::time::advance(HOUR - HOUR / 60).await;
        assert_eq!(clock.synchronize(None), None, "it has jumped half way");
        tokio::time::advance(HOUR / 60).await;
        assert_eq!(clock.synchronize(None).unwrap().now, START.after(DAY + HOUR));
        clock.confirm();
        assert_eq!(clock.message_time(), Some(clock.relay_time()));
        assert!(!clock.memory().confirmed, "the next process asks the API anew");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_was_heard_and_fell_silent_goes_on_counting() {
        let clock = Clock::unconfirmed_at(START);
        assert_eq!(clock.synchronize(Some(START.after(DAY))), None);
        tokio::time::advance(HOUR / 8).await;
        assert_eq!(clock.synchronize(Some(START.after(DAY + HOUR / 8))), None);
        tokio::time::advance(HOUR / 8).await;
        let correction = clock.synchronize(None).unwrap();
        assert_eq!(
            (correction.now, correction.from),
            (START.after(DAY + HOUR / 4), UnixMs::MIN),
            "the day counts for nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_told_another_time_for_a_moment_and_fell_silent_is_not_believed() {
        let clock = Clock::unconfirmed_at(START);
        for second in 0..5 {
            assert_eq!(clock.synchronize(Some(START.after(DAY + Duration::from_secs(second)))), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for _ in 0..48 {
            tokio::time::advance(HOUR / 2).await;
            assert_eq!(clock.synchronize(None), None);
        }
        let right = clock.machine_time();
        assert_eq!(clock.synchronize(Some(right)).unwrap().shift(), 0, "both agree");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_api_says_and_is_not_believed_makes_no_message_older() {
        let clock = Clock::starting_at(START);
        clock.doubt_messages(START.after(DAY));
        assert_eq!(clock.message_time(), Some(START));
        clock.doubt_messages(START.before(DAY));
        assert_eq!(clock.message_time(), Some(START.before(DAY)), "what is too old is so by both");
        assert_eq!(clock.expected_message_time(), START);
        clock.hear_messages(START);
        assert_eq!(clock.message_time(), Some(START));
        // At the start it is not known whether the machine's clock is right.
        let clock = Clock::unconfirmed_at(START);
        clock.doubt_messages(START.after(DAY));
        assert_eq!((clock.message_time(), clock.latest_message_time()), (None, START.after(DAY)));
        clock.doubt_messages(START.before(DAY));
        assert_eq!(clock.message_time(), Some(START.before(DAY)));
        assert_eq!(clock.memory().messages_ahead_ms, Some(-whole_ms(DAY)), "commands are told");
    }

    #[tokio::test(start_paused = true)]
    async fn each_jump_of_the_machine_is_told_once() {
        let clock = Clock::starting_at(START);
        let jump = |by_ms, ahead_ms| Some(MachineJump { by_ms, ahead_ms });
        let day = whole_ms(DAY);
        assert_eq!(clock.machine_jump(), None);
        clock.set_machine(START.after(DAY));
        assert_eq!(clock.machine_jump(), jump(day, None), "the API was not heard");
        assert_eq!(clock.machine_jump(), None);
        tokio::time::advance(HOUR).await;
        clock.synchronize(Some(START.after(HOUR)));
        assert_eq!(clock.machine_jump(), None, "an hour has passed by both");
        clock.set_machine(START.after(HOUR).before(DAY));
        assert_eq!(clock.machine_jump(), jump(-2 * day, Some(-day)));
        clock.set_machine(START.after(HOUR));
        assert_eq!(clock.machine_jump(), jump(day, Some(0)));
        clock.set_machine(START.after(HOUR + HOUR / 12));
        assert_eq!(clock.machine_jump(), None, "5 minutes are no jump");
        clock.set_machine(START.after(HOUR + HOUR / 6));
        assert_eq!(clock.machine_jump(), jump(600_000, Some(600_000)), "nor is it lost in two halves");
    }

    #[test]
    fn the_next_process_goes_on_where_this_one_was() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _guard = runtime.enter();
        let before = Clock::system();
        before.lock().base += 3_600_000;
        before.confirm();
        let memory = before.memory();
        let after = Clock::system();
        after.resume(Some(memory.clone()), UnixMs::MIN);
        let off = trust::apart(before.relay_time(), after.relay_time());
        assert!(off < HOUR / 120, "{off:?}: time goes on, whatever the machine's clock says");
        assert!(!after.is_confirmed(), "nobody had asked the API");
        // After another boot of the machine, only the instant at which the memory was written is known.
        let reboot = ClockMemory { boot: Some("another".to_owned()), ..memory.clone() };
        let after = Clock::system();
        after.resume(Some(reboot.clone()), UnixMs::MIN);
        assert!(after.relay_time() >= UnixMs(reboot.written_at), "the machine's clock is behind what is stored");
        assert!(!after.is_confirmed());
        // Instants prove nothing if a process wrote them by a clock that was ahead and was not confirmed.
        let day = 86_400_000;
        let (proven, guess) = (memory.written_at - day, memory.written_at + 8 * day);
        let guessed = ClockMemory { boot: None, written_at: guess, confirmed_at: Some(proven), ..memory.clone() };
        let after = Clock::system();
        after.resume(Some(guessed.clone()), UnixMs(guess));
        assert_eq!(after.lock().proven, UnixMs(proven));
        assert_eq!(after.memory().confirmed_at, Some(proven));
        after.resume(Some(ClockMemory { confirmed: true, ..guessed }), UnixMs(guess));
        assert_eq!(after.lock().proven, UnixMs(guess));
        after.resume(None, UnixMs(guess));
        assert_eq!(after.lock().proven, UnixMs(guess), "nobody left anything");
        // The boot id stayed the same by mistake: within one boot, the machine cannot have been running for less time
        // than when the memory was written.
        let kept = ClockMemory { booted_at: memory.booted_at - 86_400_000, confirmed: true, ..memory };
        let after = Clock::system();
        after.resume(Some(kept), UnixMs::MIN);
        assert!(!after.is_confirmed());
    }
}
