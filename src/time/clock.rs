//! Three readings of time behind one type, each with a name of its own.
//!
//! - [`Clock::monotonic`]: for waits.
//! - [`Clock::machine_time`]: this machine's clock as it is at this moment, which goes back when the machine's does. Only for what
//!   other machines compare with theirs: signatures and dates.
//! - [`Clock::relay_time`]: the relay's time, for all that is stored and shown.
//!
//! Invariants: the relay's time passes as fast as time does, whatever is done to the machine's clock; a suspended machine's
//! sleep counts. It is put right at most once in a process, by [`Clock::consider`]; until [`Clock::confirm`] nobody may end
//! or remove anything because time has passed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::boot;
use super::trust::{self, ClockDoubt, ClockVerdict, Steadiness, TRIFLE, Witnesses};
use crate::domain::{UnixMs, whole_ms};

/// Tells the time. Cheap to clone; clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    source: TimeSource,
    origin: Instant,
    /// Names this start of the machine, where that is known.
    boot: Option<Arc<str>>,
    relay: Arc<Mutex<RelayTime>>,
}

#[derive(Clone, Copy, Debug)]
enum TimeSource {
    System,
    /// Follows tokio's clock alone, so that paused time drives all readings.
    Tokio,
}

/// The relay's time, and what is known of it. Its instants are kept as what they were when elapsed time was 0.
#[derive(Debug)]
struct RelayTime {
    base: i64,
    /// When this process began, by the relay's time of then.
    began: UnixMs,
    state: Trust,
    /// By how many milliseconds it was put right.
    rebased_by: i64,
    /// Whether the API has said so.
    by_api: bool,
    steadiness: Steadiness,
    newest: UnixMs,
    /// The newest instant that the state held from a process that knew the time from the API.
    proven: UnixMs,
    /// What an earlier process knew.
    before: ClockMemory,
    /// The API's clock, by the last `Date` that was believed.
    api: Option<i64>,
    api_doubt: ClockDoubt,
    /// The clock of the messages, once the API was heard in this process.
    messages: Option<i64>,
    /// The least that it may be, where the API tells no time but that of its messages.
    messages_least: Option<i64>,
    /// What the API last said of the clock of the messages, where that is not believed.
    doubted: Option<i64>,
    /// The machine's clock when its jumps were last looked for.
    machine_seen: i64,
    /// With [`TimeSource::Tokio`]: how far the machine's clock is off.
    machine_off: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Unconfirmed,
    /// It was put right; what is stored is still to follow.
    Rebased,
    Confirmed,
}

/// What a process leaves to others about the relay's time: to the next process, and to commands beside this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockMemory {
    /// Names the time from one start of the machine to the next; `None` where that is not known.
    pub boot: Option<String>,
    /// The relay's time when the machine started.
    pub booted_at: i64,
    /// The relay's time when this was written.
    pub written_at: i64,
    /// Whether the API had confirmed it.
    pub confirmed: bool,
    /// Where it had not: the newest relay's time that it had confirmed before.
    pub confirmed_at: Option<i64>,
    /// By how many milliseconds the machine's clock was ahead of the API's.
    pub machine_ahead_ms: Option<i64>,
    /// By how many milliseconds the clock of the messages was ahead of the relay's time.
    pub messages_ahead_ms: Option<i64>,
}

/// The relay's time was put right: what was stored by the old one is to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebase {
    /// The relay's time that it was.
    pub was: UnixMs,
    /// The same moment by the relay's time that is right.
    pub now: UnixMs,
    /// What was stored from here on up to `was` moves by the difference. What lies later moves to now.
    pub from: UnixMs,
    /// By how much the machine's clock is ahead of the API's; `None`: the API was not heard.
    pub machine_ahead_ms: Option<i64>,
}

/// The machine's clock has jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineJump {
    /// By how many milliseconds it was set ahead.
    pub by_ms: i64,
    /// By how many milliseconds it is ahead of the API's clock now; `None`: the API was not heard.
    pub ahead_ms: Option<i64>,
}

impl RelayTime {
    /// The clock of the messages as the API told it and was believed; or, if the relay's time is confirmed, as an earlier
    /// process left it.
    fn known_messages(&self) -> Option<i64> {
        let heard = self.messages.or(self.messages_least);
        heard.or_else(|| (self.state == Trust::Confirmed).then(|| self.remembered_messages()))
    }

    /// The clock of the messages as an earlier process left it, beside the relay's time of this one.
    fn remembered_messages(&self) -> i64 {
        self.base.saturating_add(self.before.messages_ahead_ms.unwrap_or(0))
    }

    /// The clock of the messages for their age. A doubted time of the API makes no message older. `None`: not known yet.
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

impl Rebase {
    /// By how many milliseconds the relay's time was put ahead.
    pub fn shift(&self) -> i64 {
        self.now.0.saturating_sub(self.was.0)
    }

    /// What becomes of an instant that was written down; `now` is the relay's time now.
    pub fn moved(&self, at: UnixMs, now: UnixMs) -> UnixMs {
        let shift = if self.from <= at && at <= self.was { self.shift() } else { 0 };
        now.min(UnixMs(at.0.saturating_add(shift)))
    }
}

impl Clock {
    /// The machine's clock. The relay's time begins with it and is not confirmed.
    pub fn system() -> Self {
        Self::new(TimeSource::System, system_wall(), Trust::Unconfirmed)
    }

    /// A clock that stands at `start` now and moves with tokio's time only: for paused time. It is right.
    pub fn starting_at(start: UnixMs) -> Self {
        let clock = Self::new(TimeSource::Tokio, start, Trust::Confirmed);
        clock.hear_messages(start);
        clock
    }

    /// A clock of paused time as at the start of a process: nobody knows whether it is right.
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
            rebased_by: 0,
            by_api: state == Trust::Confirmed,
            steadiness: Steadiness::default(),
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
        let boot = boot::boot_id(None).map(Into::into);
        let clock = Self { source, origin, boot, relay: Arc::new(Mutex::new(relay)) };
        let base = now.0.saturating_sub(clock.elapsed());
        {
            let mut relay = clock.lock();
            relay.base = base;
            relay.machine_seen = base;
            if let TimeSource::Tokio = source {
                relay.machine_off = base;
            }
        }
        clock
    }

    /// Takes the name of this boot of the machine from whoever started the process, for the case that the kernel may not be
    /// asked.
    #[must_use]
    pub fn in_boot(mut self, told: Option<String>) -> Self {
        self.boot = boot::boot_id(told).map(Into::into);
        self
    }

    /// Monotonic time: for waits and time-outs. It stands still while the machine is suspended.
    pub fn monotonic(&self) -> Instant {
        monotonic()
    }

    /// The machine's clock as it is now: for what other machines compare with theirs.
    pub fn machine_time(&self) -> UnixMs {
        match self.source {
            TimeSource::System => system_wall(),
            TimeSource::Tokio => UnixMs(self.origin_machine().0.saturating_add(self.lock().machine_off)),
        }
    }

    fn origin_machine(&self) -> UnixMs {
        UnixMs(self.elapsed())
    }

    /// The relay's time: for what is stored and shown.
    pub fn relay_time(&self) -> UnixMs {
        let elapsed = self.elapsed();
        UnixMs(self.lock().base.saturating_add(elapsed))
    }

    /// Whether the relay's time is known to be right, so that things may end and go because time has passed.
    pub fn is_confirmed(&self) -> bool {
        self.lock().state == Trust::Confirmed
    }

    /// By how many milliseconds the relay's time was put right in this process, so far.
    pub fn rebased_by(&self) -> i64 {
        self.lock().rebased_by
    }

    /// What time it is by the clock that dates the messages; `None`: nobody knows yet. While the API says something that is
    /// not believed, it is the earlier of both: what is too old is too old by either.
    pub fn message_time(&self) -> Option<UnixMs> {
        let elapsed = self.elapsed();
        self.lock().ageing_messages().map(|base| UnixMs(base.saturating_add(elapsed)))
    }

    /// [`Self::message_time`], or while nobody knows that time, the likely one by the memory of an earlier process.
    pub fn likely_message_time(&self) -> UnixMs {
        let elapsed = self.elapsed();
        let relay = self.lock();
        UnixMs(relay.ageing_messages().unwrap_or_else(|| relay.remembered_messages()).saturating_add(elapsed))
    }

    /// What the API is expected to tell of that clock now, by what it told before and was believed.
    pub fn expected_message_time(&self) -> UnixMs {
        let elapsed = self.elapsed();
        let relay = self.lock();
        UnixMs(relay.known_messages().unwrap_or_else(|| relay.remembered_messages()).saturating_add(elapsed))
    }

    /// The latest time that it may be by that clock, while nobody knows: a message that is not too old then is not too old.
    pub fn latest_message_time(&self) -> UnixMs {
        let (likely, elapsed) = (self.likely_message_time(), self.elapsed());
        let relay = self.lock();
        let doubted = relay.doubted.filter(|_| relay.ageing_messages().is_none());
        doubted.map_or(likely, |base| likely.max(UnixMs(base.saturating_add(elapsed))))
    }

    /// The API told that it is `now` by the clock that dates the messages, but that is not believed yet.
    pub fn doubt_messages(&self, now: UnixMs) {
        let elapsed = self.elapsed();
        self.lock().doubted = Some(now.0.saturating_sub(elapsed));
    }

    /// The API told that it is `now` by the clock that dates the messages.
    pub fn hear_messages(&self, now: UnixMs) {
        let elapsed = self.elapsed();
        let mut relay = self.lock();
        relay.messages = Some(now.0.saturating_sub(elapsed));
        relay.doubted = None;
    }

    /// The API was read and told no time: by the clock that dates the messages it is not before this. Carried on it stays
    /// so, and it counts as what time it is until the API tells that. Other processes do not learn of it.
    pub fn hear_messages_since(&self, least: UnixMs) {
        let elapsed = self.elapsed();
        let mut relay = self.lock();
        relay.messages_least = relay.messages_least.max(Some(least.0.saturating_sub(elapsed)));
    }

    /// Begins where the process before this one was, by what it left and by the newest instant that is stored. Within one
    /// start of the machine its time goes on exactly; otherwise the machine's clock counts, but never less than what is
    /// stored.
    pub fn resume(&self, before: Option<ClockMemory>, newest: UnixMs) {
        self.go_on(before, newest, false);
    }

    fn go_on(&self, before: Option<ClockMemory>, newest: UnixMs, runs: bool) {
        let TimeSource::System = self.source else { return };
        let elapsed = self.elapsed();
        let same_boot = before.as_ref().is_some_and(|before| runs || self.is_of_this_boot(before, elapsed));
        let is_left = before.is_some();
        let mut before = before.unwrap_or_default();
        if !same_boot && !before.confirmed {
            // It was told beside a time that was only a guess.
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
            relay.base = system_wall().max(relay.newest).0.saturating_sub(elapsed);
        }
        relay.began = UnixMs(relay.base.saturating_add(elapsed));
        relay.before = before;
    }

    /// Whether `before` was written in this boot of the machine. If the machine now runs for less time than it did then, a
    /// boot lies in between, whatever the names of the boots say.
    fn is_of_this_boot(&self, before: &ClockMemory, elapsed: i64) -> bool {
        let then = before.written_at.saturating_sub(before.booted_at);
        boot::is_same(before.boot.as_deref(), self.boot.as_deref()) && then <= elapsed
    }

    /// The relay's time for a command, by what a relay left. One that runs has left it since the machine started, also
    /// where nobody may ask which start of the machine that was.
    pub fn reckon(&self, left: Option<ClockMemory>, runs: bool) {
        self.go_on(left, UnixMs::MIN, runs);
    }

    /// What is to be left to others.
    pub fn memory(&self) -> ClockMemory {
        let written_at = self.relay_time();
        let (elapsed, machine) = (self.elapsed(), self.machine_time());
        let relay = self.lock();
        let heard = relay.messages.or_else(|| relay.doubted.and(relay.ageing_messages()));
        let messages_ahead = heard.map(|messages| messages.saturating_sub(relay.base));
        let confirmed = relay.state == Trust::Confirmed && relay.by_api;
        // Only what was settled is something that the next process may rely on.
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

    /// Looks whether it can be told by now what time it is; `api` is the `Date` of an answer of the API. Returns what was
    /// put right. Whoever gets that lets what is stored follow and then calls [`Clock::confirm`]. Nothing is ever returned
    /// twice.
    pub fn consider(&self, api: Option<UnixMs>) -> Option<Rebase> {
        let (elapsed, machine, at) = (self.elapsed(), self.machine_time(), self.monotonic());
        let mut relay = self.lock();
        // Until the time is confirmed, a jump of the API's clock begins the watch again.
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
        // Between answers the API's clock is carried on.
        let api = relay.api.map(|base| UnixMs(base.saturating_add(elapsed)));
        let steady = relay.steadiness.look(elapsed, machine, api, heard.is_some());
        let was = UnixMs(relay.base.saturating_add(elapsed));
        let ClockVerdict { now, uncounted, by_api } = trust::judge(&Witnesses {
            relay: was,
            machine,
            api,
            newest: relay.newest,
            proven: relay.proven,
            steady,
            told: relay.steadiness.told(),
            known_apart: relay.before.machine_ahead_ms,
            known_confirmed: relay.before.confirmed,
        })?;
        let now = if trust::apart(now, was) <= TRIFLE { was } else { now };
        relay.state = Trust::Rebased;
        relay.by_api = by_api;
        relay.rebased_by = now.0.saturating_sub(was.0);
        relay.base = relay.base.saturating_add(relay.rebased_by);
        // Whoever tells of the rebase tells of this, too.
        relay.machine_seen = machine.0.saturating_sub(elapsed);
        let from = if uncounted { UnixMs::MIN } else { relay.began };
        Some(Rebase { was, now, from, machine_ahead_ms: relay.machine_ahead(elapsed, machine) })
    }

    /// Returns how the machine's clock jumped, if that is by more than 5 minutes since the start, or since the last jump that
    /// was returned. Returns each jump once.
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

    /// What is stored has followed.
    pub fn confirm(&self) {
        self.lock().state = Trust::Confirmed;
    }

    fn lock(&self) -> MutexGuard<'_, RelayTime> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds on a clock that never jumps.
    fn elapsed(&self) -> i64 {
        let since_origin = || whole_ms(monotonic().saturating_duration_since(self.origin));
        match self.source {
            TimeSource::System => since_boot().map_or_else(since_origin, whole_ms),
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

/// How long ago the machine started, the time during which it was suspended included.
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

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_the_machine_is_seen_by_nobody_who_counts_time() {
        let clock = Clock::starting_at(START);
        for to in [START.after(8 * DAY), UnixMs(0), START.after(DAY)] {
            clock.set_machine(to);
            assert_eq!((clock.machine_time(), clock.relay_time(), clock.message_time()), (to, START, Some(START)));
            assert_eq!(clock.consider(Some(START)), None, "it is confirmed already");
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
        assert_eq!(clock.consider(Some(START.after(HOUR / 60))), None);
        assert!(!clock.is_confirmed());
        tokio::time::advance(HOUR / 60).await;
        let right = START.after(HOUR / 30);
        clock.set_machine(right);
        let rebase = clock.consider(Some(right)).unwrap();
        assert_eq!((rebase.was, rebase.now, rebase.from), (ahead.after(HOUR / 30), right, ahead));
        assert!(!clock.is_confirmed(), "what is stored has not followed yet");
        assert_eq!(clock.consider(Some(right)), None);
        clock.confirm();
        assert!(clock.is_confirmed());
        assert_eq!(clock.relay_time(), right);
        assert_eq!(clock.rebased_by(), -whole_ms(8 * DAY));
        clock.set_machine(ahead);
        assert_eq!(clock.relay_time(), right);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_api_the_machine_is_believed_after_an_hour_without_a_jump() {
        let clock = Clock::unconfirmed_at(START);
        assert_eq!(clock.consider(None), None);
        tokio::time::advance(HOUR / 2).await;
        clock.set_machine(START.after(DAY));
        assert_eq!(clock.consider(None), None);
        tokio::time::advance(HOUR - HOUR / 60).await;
        assert_eq!(clock.consider(None), None, "it has jumped half way");
        tokio::time::advance(HOUR / 60).await;
        assert_eq!(clock.consider(None).unwrap().now, START.after(DAY + HOUR));
        clock.confirm();
        assert_eq!(clock.message_time(), Some(clock.relay_time()));
        assert!(!clock.memory().confirmed, "the next process asks the API anew");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_was_heard_and_fell_silent_goes_on_counting() {
        let clock = Clock::unconfirmed_at(START);
        assert_eq!(clock.consider(Some(START.after(DAY))), None);
        tokio::time::advance(HOUR / 8).await;
        assert_eq!(clock.consider(Some(START.after(DAY + HOUR / 8))), None);
        tokio::time::advance(HOUR / 8).await;
        let rebase = clock.consider(None).unwrap();
        assert_eq!((rebase.now, rebase.from), (START.after(DAY + HOUR / 4), UnixMs::MIN), "the day counts for nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_told_another_time_for_a_moment_and_fell_silent_is_not_believed() {
        let clock = Clock::unconfirmed_at(START);
        for second in 0..5 {
            assert_eq!(clock.consider(Some(START.after(DAY + Duration::from_secs(second)))), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for _ in 0..48 {
            tokio::time::advance(HOUR / 2).await;
            assert_eq!(clock.consider(None), None);
        }
        let right = clock.machine_time();
        assert_eq!(clock.consider(Some(right)).unwrap().shift(), 0, "both agree");
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
        // At the start nobody knows whether the machine's clock is right.
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
        clock.consider(Some(START.after(HOUR)));
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
        // After another start of the machine only the instant of the writing is known.
        let reboot = ClockMemory { boot: Some("another".to_owned()), ..memory.clone() };
        let after = Clock::system();
        after.resume(Some(reboot.clone()), UnixMs::MIN);
        assert!(after.relay_time() >= UnixMs(reboot.written_at), "the machine's clock is behind what is stored");
        assert!(!after.is_confirmed());
        // What a process wrote by a clock that was ahead, and that nobody confirmed, proves nothing.
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
        // A name of the start that was kept by mistake: the machine cannot have been running for less time than then.
        let kept = ClockMemory { booted_at: memory.booted_at - 86_400_000, confirmed: true, ..memory };
        let after = Clock::system();
        after.resume(Some(kept), UnixMs::MIN);
        assert!(!after.is_confirmed());
    }
}
