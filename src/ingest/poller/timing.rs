//! The poller's part in keeping time: it hears the API's clock and the clock of the messages, lets the state follow when
//! the relay's time is put right, and logs jumps of the machine's clock.
//!
//! Invariant: the relay's time is confirmed only when the state has followed.

use std::time::Duration;

use crate::api::Error;
use crate::domain::{Seq, UnixMs};
use crate::ingest::coverage::{CoverageState, Now};
use crate::store::{self, Store};
use crate::time::{Clock, ClockCorrection, ClockDoubt, Instant, Liveness, MachineJump, agree, is_plausible};

/// How often the clock memory for other processes is stored. It is also stored when the relay's time or the messages'
/// clock changes.
const REMEMBER: Duration = Duration::from_secs(3600);

/// The greatest difference between clocks that is not logged.
const APART: Duration = Duration::from_secs(5 * 60);

/// The place where the state begins to follow: before the first message.
const FIRST: Seq = Seq(i64::MIN);

/// If the previous poll was no longer ago than this, a message that it did not show was ingested only now: at about the
/// time that the message states.
const RECENT: Duration = Duration::from_secs(5 * 60);

/// The poller's knowledge of the time.
pub(super) struct Timing {
    clock: Clock,
    /// The last time that the API stated, until `Clock::synchronize` takes it.
    heard: Option<UnixMs>,
    /// Whether an answer of the API had a `Date` in this process.
    dated: bool,
    /// When the newest messages were last read.
    looked_at: Option<Instant>,
    messages_doubt: ClockDoubt,
    /// By how many milliseconds the clock of the messages was ahead when this difference was last stored.
    messages_told: Option<i64>,
    /// A correction that the state still has to follow, with the message behind which this work goes on.
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

    /// Records the `Date` of an answer. The `Date` of a proxy's error does not count. An answer without a `Date`
    /// changes nothing.
    pub(super) fn hear_date<T>(&mut self, date: Option<UnixMs>, page: &Result<T, Error>) {
        if matches!(page, Ok(_) | Err(Error::RateLimited | Error::KeyRefused(_))) {
            self.heard = date.or(self.heard);
            self.dated |= date.is_some();
        }
    }

    /// Records the latest ingestion time of the messages that the poll before did not show. If no answer had a `Date`,
    /// this time counts as the API's time. Older messages do not show what time it is, since an account may be quiet.
    pub(super) fn hear_arrivals(&mut self, ingested: Option<UnixMs>, at: Instant) {
        let before = self.looked_at.replace(at);
        let arrived = ingested.filter(|_| before.is_some_and(|before| at.saturating_duration_since(before) <= RECENT));
        if !self.dated {
            self.heard = arrived.or(self.heard);
        }
    }

    /// Records the time of the newest message on a page without a `Date`: by the clock of the messages it is now that
    /// time or later. The time counts only up to the machine's clock or the relay's time, whichever is later, since one
    /// message with a wrong time must not make all other messages old. So a message of unknown age is not too old.
    pub(super) fn hear_undated_messages(&mut self, newest: Option<UnixMs>) {
        if let Some(newest) = newest.filter(|_| !self.dated) {
            let latest = self.clock.machine_time().max(self.clock.relay_time());
            self.clock.hear_messages_since(newest.min(latest));
        }
    }

    /// Handles a page with this `Date`, which shows the clock that dates the messages. `told` is the time by this
    /// clock, which follows from [`page_time`] and the lag. `server` is the API's time by the page. Some seconds of
    /// answers with a wrong `Date` must not make messages old. So a `Date` far from the expected one is doubted until
    /// it was repeated for 15 minutes. It is believed at once if the machine's clock agrees with it, or if it is later
    /// than expected and the newest message was ingested at about that time.
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
            // Commands read the clock memory while this relay runs.
            self.remember_at = at;
        }
    }

    /// Puts the relay's time right once the right time is known. Returns the shift in milliseconds, if the time was put
    /// right; then the state has to [follow](Self::follow).
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

    /// Lets the state follow after the relay's time was put right, and confirms the time when the state has followed.
    /// Returns whether it has followed now.
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

    /// Stores the clock memory for other processes, if it is time to and the state has followed.
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

/// Returns the present time by a page with this `Date`. Coverage knows the time more exactly than a `Date` does, unless
/// coverage doubts this `Date`.
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
            ahead_s = seconds(shift),
            "this machine's clock was wrong at the start: the relay's time was put right, waits go on as they were"
        );
    }
}
