//! The poller's part in keeping time. It learns two times from the API's answers: the API's time, and the time by the
//! *messages' clock*, which dates the messages (coverage calls it the rows' clock). It corrects the stored times when
//! the relay's time is corrected, and logs jumps of the machine's clock.
//!
//! Invariant: the relay's time counts as confirmed only after the stored times were corrected.

use std::time::Duration;

use crate::api::Error;
use crate::domain::{Seq, UnixMs};
use crate::ingest::coverage::{CoverageState, Now};
use crate::store::{self, Store};
use crate::time::{Clock, ClockCorrection, ClockDoubt, Instant, Liveness, MachineJump, agree, is_plausible};

/// How often the differences between the clocks are stored for other processes. They are also stored when the relay's
/// time or the messages' clock changes.
const REMEMBER: Duration = Duration::from_secs(3600);

/// A greater difference between clocks is logged.
const APART: Duration = Duration::from_secs(5 * 60);

/// The correction of stored times begins after this sequence number, which is lower than that of every message.
const FIRST: Seq = Seq(i64::MIN);

/// A message that the previous poll did not show was ingested after that poll. So if that poll was at most this long
/// ago, the `ingestedAt` of the message is about the present time.
const RECENT: Duration = Duration::from_secs(5 * 60);

/// The poller's knowledge of the time.
pub(super) struct Timing {
    clock: Clock,
    /// The time that the API stated last, until `Clock::synchronize` takes it.
    heard: Option<UnixMs>,
    /// Whether any answer of the API in this process had a `Date`.
    dated: bool,
    /// When the newest messages were last read.
    looked_at: Option<Instant>,
    messages_doubt: ClockDoubt,
    /// By how many milliseconds the messages' clock was ahead of the relay's time at the last page with a `Date`.
    messages_told: Option<i64>,
    /// A correction of the relay's time that is not yet applied to all stored times. The work goes on after the message
    /// with this sequence number.
    following: Option<(ClockCorrection, Seq)>,
    remember_at: Instant,
}

impl Timing {
    pub(super) fn new(clock: Clock) -> Self {
        let now = clock.monotonic();
        Self {
            clock,
            heard: None,
            dated: false,
            looked_at: None,
            messages_doubt: ClockDoubt::default(),
            messages_told: None,
            following: None,
            remember_at: now + REMEMBER,
        }
    }

    /// Records the `Date` of an answer, if it has one. The `Date` of an error counts only with a 429 or a refused key:
    /// other errors may come from a proxy, whose clock may be wrong.
    pub(super) fn hear_date<T>(&mut self, date: Option<UnixMs>, page: &Result<T, Error>) {
        if matches!(page, Ok(_) | Err(Error::RateLimited | Error::KeyRefused(_))) {
            self.heard = date.or(self.heard);
            self.dated |= date.is_some();
        }
    }

    /// Takes the latest `ingestedAt` of the messages on the newest page, without those that the state knew before. If
    /// no answer had a `Date`, and the previous poll is recent ([`RECENT`]), this time counts as the API's time. Known
    /// messages do not show what time it is: on a quiet account the newest of them may be days old.
    pub(super) fn hear_arrivals(&mut self, ingested: Option<UnixMs>, at: Instant) {
        let before = self.looked_at.replace(at);
        let arrived = ingested.filter(|_| before.is_some_and(|before| at.saturating_duration_since(before) <= RECENT));
        if !self.dated {
            self.heard = arrived.or(self.heard);
        }
    }

    /// Takes the time of the newest message on a page without a `Date`, if no answer had a `Date`: the messages' clock
    /// now shows this time or a later one. One message with a wrong time must not make all other messages look old. So
    /// if the time is later than the machine's clock and the relay's time, the later one of these two takes its place.
    pub(super) fn hear_undated_messages(&mut self, newest: Option<UnixMs>) {
        if let Some(newest) = newest.filter(|_| !self.dated) {
            let latest = self.clock.machine_time().max(self.clock.relay_time());
            self.clock.hear_messages_since(newest.min(latest));
        }
    }

    /// Reads the messages' clock from a page with a `Date`. `server` is the API's time by the page ([`page_time`]).
    /// `told` is the time by the messages' clock: `server`, corrected by the lag.
    ///
    /// If answers have a wrong `Date` for a short while, messages must not look old. So a time far from the expected
    /// time is believed only after it was repeated for 15 minutes. There are two exceptions: the machine's clock agrees
    /// with the API's time; or `told` is later than expected, and the latest `ingestedAt` of the page confirms the
    /// API's time.
    pub(super) fn hear_messages(&mut self, told: UnixMs, server: UnixMs, newest_ingested: Option<UnixMs>, at: Instant) {
        let expected = self.clock.expected_message_time();
        let vouched = agree(server, self.clock.machine_time())
            || (told > expected && newest_ingested.is_some_and(|ingested| is_plausible(server, ingested)));
        if self.messages_doubt.believes(told, expected, vouched, at) {
            self.clock.hear_messages(told);
        } else {
            self.clock.doubt_messages(told);
        }
        let ahead = self.clock.memory().messages_ahead_ms;
        let differs = |told: Option<i64>| !agree(UnixMs(told.unwrap_or(0)), UnixMs(ahead.unwrap_or(0)));
        if differs(self.messages_told.replace(ahead.unwrap_or(0))) {
            // Commands read the stored difference while this relay runs, so a large change of it is stored at once.
            self.remember_at = at;
        }
    }

    /// Corrects the relay's time once the right time is known. Returns the shift in milliseconds if this call has
    /// corrected it. Then [`follow`](Self::follow) has to correct the stored times.
    pub(super) fn put_right(&mut self) -> Option<i64> {
        let rebase = self.clock.synchronize(self.heard.take());
        if let Some(rebase) = rebase {
            say(&rebase);
            self.following = Some((rebase, FIRST));
        }
        if let Some(jump) = self.clock.machine_jump() {
            say_jump(&jump);
        }
        rebase.map(|rebase| rebase.shift())
    }

    /// After a correction of the relay's time: corrects the stored times, then confirms the relay's time. Returns
    /// whether there was a correction.
    pub(super) async fn follow(
        &mut self,
        store: &Store,
        state: &mut CoverageState,
        liveness: &Liveness,
    ) -> Result<bool, store::Error> {
        let Some((rebase, _)) = self.following else { return Ok(false) };
        let clock = self.clock.clone();
        let needs_it = rebase.shift() != 0 || store.read(move |spool| spool.is_ahead_of(clock.relay_time())).await?;
        while let Some((rebase, after)) = self.following.filter(|_| needs_it) {
            let now = self.clock.relay_time();
            let next = store.write(move |spool| spool.apply_correction(rebase, now, after)).await?;
            if after == FIRST {
                state.move_local_times(|at| rebase.moved(at, now));
            }
            self.following = next.map(|next| (rebase, next));
            liveness.tick();
        }
        self.following = None;
        self.clock.confirm();
        self.remember_at = self.clock.monotonic();
        Ok(true)
    }

    /// Stores the differences between the clocks for other processes, if this is due and the stored times are correct.
    pub(super) async fn remember_clock(&mut self, store: &Store) -> Result<(), store::Error> {
        let now = self.clock.monotonic();
        if self.following.is_some() || self.remember_at > now {
            return Ok(());
        }
        self.remember_at = now + REMEMBER;
        let memory = self.clock.memory();
        store.write(move |spool| spool.remember_clock(&memory)).await
    }
}

/// Returns `now` with the API's time that is to be used for a page with this `Date`. Usually this is `now.server`, the
/// estimate of the API's time, which is more exact than the `Date`. If the two are more than an hour apart, because the
/// estimate does not follow a doubted `Date`, it is the `Date`.
pub(super) fn page_time(now: Now, date: UnixMs) -> Now {
    Now { server: if is_plausible(date, now.server) { now.server } else { date }, ..now }
}

fn apart(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.unsigned_abs())
}

fn seconds(milliseconds: i64) -> i64 {
    milliseconds / 1000
}

fn say_jump(jump: &MachineJump) {
    let jumped_s = seconds(jump.by_ms);
    match jump.ahead_ms {
        Some(ahead) if apart(ahead) > APART => tracing::warn!(
            jumped_s,
            ahead_s = seconds(ahead),
            "this machine's clock jumped and differs from the API's: set it right; until then signatures carry its time"
        ),
        Some(_) => tracing::info!(jumped_s, "this machine's clock jumped and agrees with the API's now"),
        None => tracing::info!(jumped_s, "this machine's clock jumped; the API has not told the time yet"),
    }
}

fn say(rebase: &ClockCorrection) {
    let shift = rebase.shift();
    if let Some(ahead) = rebase.machine_ahead_ms.filter(|ahead| apart(*ahead) > APART) {
        tracing::warn!(
            ahead_s = seconds(ahead),
            "this machine's clock differs from the API's: set it right; until then signatures carry its time"
        );
    }
    if apart(shift) > APART {
        tracing::info!(
            ahead_s = seconds(shift.saturating_neg()),
            "this machine's clock was wrong at the start: the relay's time was put right, waits go on as they were"
        );
    }
}
