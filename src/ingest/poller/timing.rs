//! The poller's part in keeping time: it hears the API's clock, lets the state follow when the relay's time is put
//! right, and logs jumps of the machine's clock.

use std::time::Duration;

use super::{PollError, Poller};
use crate::api::Error;
use crate::domain::{Seq, UnixMs};
use crate::ingest::coverage::Now;
use crate::ingest::feed::Feed;
use crate::time::{ClockCorrection, ClockDoubt, Instant, MachineJump, agree, is_plausible};

/// How often the clock memory for other processes is stored. It is also stored when the relay's time or the messages'
/// clock changes.
const REMEMBER: Duration = Duration::from_secs(3600);

/// The greatest difference between clocks that is not logged.
const APART: Duration = Duration::from_secs(5 * 60);

/// The place where the state begins to follow: before the first message.
const FIRST: Seq = Seq(i64::MIN);

/// If the poll before lies no longer back than this, a message that it did not show was ingested at about the time that
/// the message tells.
const RECENT: Duration = Duration::from_secs(5 * 60);

/// The poller's knowledge of the time.
pub(super) struct Timing {
    /// The last time that the API told, until `Clock::synchronize` takes it.
    heard: Option<UnixMs>,
    /// Whether the API has told a `Date` in this process.
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
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: None,
            dated: false,
            looked_at: None,
            messages_doubt: ClockDoubt::default(),
            messages_told: None,
            following: None,
            remember_at: now + REMEMBER,
        }
    }
}

impl<F: Feed> Poller<F> {
    /// Takes in the `Date` of an answer. The `Date` of a proxy's error does not count. An answer without a `Date` tells
    /// nothing.
    pub(super) fn hear_date<T>(&mut self, date: Option<UnixMs>, page: &Result<T, Error>) {
        if matches!(page, Ok(_) | Err(Error::RateLimited | Error::KeyRefused(_))) {
            self.timing.heard = date.or(self.timing.heard);
            self.timing.dated |= date.is_some();
        }
    }

    /// Takes in the latest ingestion time of the messages that the poll before did not show. If the API has never told
    /// a `Date`, this time counts as the API's time. Older messages tell nothing, since an account may be quiet.
    pub(super) fn hear_arrivals(&mut self, ingested: Option<UnixMs>, at: Instant) {
        let before = self.timing.looked_at.replace(at);
        let arrived = ingested.filter(|_| before.is_some_and(|before| at.saturating_duration_since(before) <= RECENT));
        if !self.timing.dated {
            self.timing.heard = arrived.or(self.timing.heard);
        }
    }

    /// Takes in the time of the newest message on a page without a `Date`: by the clock of the messages it is at least
    /// that time now. The time counts only up to the machine's clock or the relay's time, since one message with a
    /// wrong time must not make all other messages old. So a message whose age nobody can tell is not too old.
    pub(super) fn hear_undated_messages(&mut self, newest: Option<UnixMs>) {
        if let Some(newest) = newest.filter(|_| !self.timing.dated) {
            let latest = self.clock.machine_time().max(self.clock.relay_time());
            self.clock.hear_messages_since(newest.min(latest));
        }
    }

    /// Takes in a page with this `Date`, which tells the clock that dates the messages. Some seconds of answers with a
    /// wrong `Date` must not make messages old. So a `Date` far from the expected one is doubted until it was told for
    /// 15 minutes. It is believed at once if the machine's clock agrees with it, or if it leads ahead and the newest
    /// message was ingested at about that time.
    pub(super) fn hear_messages(&mut self, now: Now, date: UnixMs, newest_ingested: Option<UnixMs>, at: Instant) {
        // Coverage knows the time more exactly than a `Date` does, unless coverage doubts this `Date`.
        let server = if is_plausible(date, now.server) { now.server } else { date };
        let told = self.state.messages_now(&self.rules, Now { server, ..now });
        let expected = self.clock.expected_message_time();
        let vouched = agree(server, self.clock.machine_time())
            || (told > expected && newest_ingested.is_some_and(|ingested| is_plausible(server, ingested)));
        if self.timing.messages_doubt.believes(told, expected, vouched, at) {
            self.clock.hear_messages(told);
        } else {
            self.clock.doubt_messages(told);
        }
        let ahead = self.clock.memory().messages_ahead_ms;
        let differs = |told: Option<i64>| !agree(UnixMs(told.unwrap_or(0)), UnixMs(ahead.unwrap_or(0)));
        if differs(self.timing.messages_told.replace(ahead.unwrap_or(0))) {
            // Commands read the clock memory while this relay runs.
            self.timing.remember_at = at;
        }
    }

    /// Puts the relay's time right once the right time is known, and then lets the state follow.
    pub(super) async fn tell_the_time(&mut self) -> Result<(), PollError> {
        if let Some(rebase) = self.clock.synchronize(self.timing.heard.take()) {
            say(&rebase);
            self.lanes.head.shift_times(rebase.shift());
            self.key_in_use.rebase(rebase.shift());
            self.report.shift_times(rebase.shift());
            self.timing.following = Some((rebase, FIRST));
        }
        if let Some(jump) = self.clock.machine_jump() {
            say_jump(&jump);
        }
        match self.follow().await {
            Ok(()) => Ok(()),
            Err(PollError::Store(error)) if error.is_passing() => {
                // The next work that needs the disk will report the failure. Nothing ends or is removed by time until
                // the state has followed.
                tracing::debug!(%error, "the state cannot follow the clock yet");
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn follow(&mut self) -> Result<(), PollError> {
        let now = self.clock.monotonic();
        let Some((rebase, _)) = self.timing.following else {
            if self.timing.remember_at <= now {
                self.timing.remember_at = now + REMEMBER;
                self.remember_clock().await?;
            }
            return Ok(());
        };
        let clock = self.clock.clone();
        let needs_it =
            rebase.shift() != 0 || self.disk.store().read(move |spool| spool.is_ahead_of(clock.relay_time())).await?;
        while let Some((rebase, after)) = self.timing.following.filter(|_| needs_it) {
            let clock = self.clock.clone();
            let now = clock.relay_time();
            let next = self.disk.store().write(move |spool| spool.apply_correction(rebase, now, after)).await?;
            if after == FIRST {
                self.state.move_local_times(|at| rebase.moved(at, now));
            }
            self.timing.following = next.map(|next| (rebase, next));
            self.liveness.tick();
        }
        self.timing.following = None;
        self.clock.confirm();
        // This call makes deliveries look again at the messages that they have claimed.
        (self.released)();
        self.remember_clock().await?;
        Ok(())
    }

    async fn remember_clock(&mut self) -> Result<(), PollError> {
        let memory = self.clock.memory();
        Ok(self.disk.store().write(move |spool| spool.remember_clock(&memory)).await?)
    }
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
