//! The reader: finds the state in which messages arrive, changes over when a relay starts or ends, and returns each new
//! message once.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use super::baseline::{Baseline, Since};
use super::error::ArrivalError;
use super::scratch::{self, PollingOptions, ScratchPoller};
use crate::domain::{Coverage, UnixMs};
use crate::ingest::WaitingReaders;
use crate::status::Live;
use crate::store::{self, Arrival, ReaderRegistration, Spool, is_running, open_reader, registered_readers};
use crate::time::{Clock, Instant};

/// The time between two looks for new messages.
const LOOK: Duration = Duration::from_millis(10);

/// The time between two looks for a relay that has started or ended.
const CHECK: Duration = Duration::from_millis(100);

/// How long a relay may be away, for a restart, before the reader polls without it.
const RESTART: Duration = Duration::from_secs(3);

/// How long the reader waits until the relay has noticed it, where the relay would erase texts at once otherwise.
const NOTICE: Duration = Duration::from_secs(2);

/// How long before its last poll the ids of a state are compared with the messages of the next state.
const OVERLAP: Duration = Duration::from_secs(20 * 60);

/// How many messages are read in one portion.
const PORTION: usize = 200;

/// The options of a reader.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// The relay's state directory.
    pub dir: PathBuf,
    /// Whether the relay erases each text when every sink has it (`keep_delivered = "0s"`).
    pub erases_at_once: bool,
    /// From which time on older messages count, too.
    pub since: Option<Since>,
    /// For how long the newest page is polled fast for this reader.
    pub fast_for: Duration,
    /// The name of the machine's present start, if the service manager tells it.
    pub boot_id: Option<String>,
}

/// Which state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StateKind {
    /// The relay's.
    Relay,
    /// The scratch state of commands without a relay.
    Scratch,
}

/// A state that is read, and how far it is read.
struct OpenState {
    kind: StateKind,
    spool: Box<Spool>,
    progress: ReadingProgress,
    /// Whether the state was read since it was opened.
    is_read: bool,
}

/// How far a state is read.
#[derive(Clone)]
struct ReadingProgress {
    /// The last place in the order of release that was read.
    place: i64,
    baseline: Baseline,
    /// Messages that were received earlier are old, because the state before this one had read them.
    floor: UnixMs,
}

/// Reads the messages that arrive.
pub struct ArrivalReader {
    options: ReaderOptions,
    load_polling: Box<dyn Fn() -> Result<PollingOptions, String> + Send>,
    clock: Clock,
    began: Instant,
    registration: Option<ReaderRegistration>,
    state: Option<OpenState>,
    poller: Option<ScratchPoller>,
    readers: watch::Sender<WaitingReaders>,
    /// The line of the first state.
    baseline: Option<Baseline>,
    /// How far the relay's state was read before the reader left it.
    in_relay: Option<ReadingProgress>,
    /// Ids that were read in another state.
    known: HashSet<String>,
    /// The oldest time that the last scratch state has read.
    scratch_floor: UnixMs,
    check_at: Instant,
    /// Since when the relay is away.
    away_since: Option<Instant>,
}

impl ArrivalReader {
    /// Registers a reader. `load_polling` reads the configuration that is needed to poll without a relay; it is called
    /// only then.
    ///
    /// # Errors
    /// None today; a state directory that takes no file only makes the reader slower.
    pub fn begin(
        options: ReaderOptions,
        load_polling: impl Fn() -> Result<PollingOptions, String> + Send + 'static,
    ) -> Self {
        let clock = Clock::system().with_boot_id(options.boot_id.clone());
        let began = clock.monotonic();
        // Without a registration the relay polls at its usual pace, and the state can still be read.
        let registration = ReaderRegistration::make(&options.dir, options.fast_for).ok();
        let fast_until = (!options.fast_for.is_zero()).then(|| began + options.fast_for);
        let (readers, _) = watch::channel(WaitingReaders { present: true, fast_until });
        Self {
            options,
            load_polling: Box::new(load_polling),
            clock,
            began,
            registration,
            state: None,
            poller: None,
            readers,
            baseline: None,
            in_relay: None,
            known: HashSet::new(),
            scratch_floor: UnixMs::MIN,
            check_at: began,
            away_since: None,
        }
    }

    /// Waits until every message that arrives from now on will be returned.
    ///
    /// # Errors
    /// [`ArrivalError`] says why the reader cannot go on.
    pub async fn arm(&mut self) -> Result<(), ArrivalError> {
        loop {
            self.check().await?;
            if self.state.is_some() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for new messages. Returns them in the order in which the state released them. Dropping the future loses
    /// no message.
    ///
    /// # Errors
    /// [`ArrivalError`] says why the reader cannot go on.
    pub async fn next(&mut self) -> Result<Vec<Arrival>, ArrivalError> {
        loop {
            self.check().await?;
            let found = self.read()?;
            if !found.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns whether this reader polls the API itself.
    pub fn is_polling(&self) -> bool {
        self.poller.is_some()
    }

    /// Returns why the API gives no pages, if this reader polls it.
    pub fn trouble(&self) -> Option<String> {
        self.poller.as_ref().and_then(ScratchPoller::trouble)
    }

    /// Ends reading. If no other command uses the scratch state, its texts are erased. The same happens to the texts that
    /// a relay kept for readers and could not erase before it ended.
    ///
    /// # Errors
    /// [`ArrivalError::Store`] if the texts cannot be erased.
    pub async fn end(mut self) -> Result<(), ArrivalError> {
        // Without a registration no text was kept for this reader, whose user may not be allowed to write.
        let was_registered = self.registration.take().is_some();
        self.state = None;
        let erased = if was_registered { self.erase_kept_texts() } else { Ok(()) };
        self.stop_polling().await.and(erased)
    }

    /// Erases the texts that the relay kept for readers. Nothing happens while a relay runs or another command reads,
    /// because they erase these texts later.
    fn erase_kept_texts(&self) -> Result<(), ArrivalError> {
        let dir = &self.options.dir;
        if self.options.erases_at_once && self.is_alone() && is_running(dir)? == Some(false) {
            store::erase_delivered(dir)?;
        }
        Ok(())
    }

    /// Returns whether no other command reads.
    fn is_alone(&self) -> bool {
        let own = usize::from(self.registration.is_some());
        registered_readers(&self.options.dir).is_ok_and(|readers| readers.len() <= own)
    }

    /// Looks for a relay that has started or ended, and changes over.
    async fn check(&mut self) -> Result<(), ArrivalError> {
        let now = self.clock.monotonic();
        if now < self.check_at {
            return Ok(());
        }
        // A user without the permission to find out may still be able to read the relay's state.
        let runs = is_running(&self.options.dir)? != Some(false);
        match self.state.as_ref().map(|state| state.kind) {
            None if runs => {
                self.stop_polling().await?;
                self.open_relay_state().await?;
            }
            Some(StateKind::Relay) if runs => self.away_since = None,
            Some(StateKind::Relay) if now - *self.away_since.get_or_insert(now) < RESTART => {}
            Some(StateKind::Scratch) if runs => {
                self.leave_state()?;
                self.stop_polling().await?;
                self.open_relay_state().await?;
            }
            Some(StateKind::Relay) => {
                self.leave_state()?;
                self.open_scratch_state().await?;
            }
            None | Some(StateKind::Scratch) => self.open_scratch_state().await?,
        }
        self.check_at = self.clock.monotonic() + if self.state.is_some() { CHECK } else { Duration::ZERO };
        Ok(())
    }

    async fn stop_polling(&mut self) -> Result<(), ArrivalError> {
        match self.poller.take() {
            Some(poller) => poller.stop(self.is_alone()).await,
            None => Ok(()),
        }
    }

    /// Leaves the state that is read, because messages will arrive in another state.
    fn leave_state(&mut self) -> Result<(), ArrivalError> {
        let Some(state) = self.state.take() else { return Ok(()) };
        self.away_since = None;
        let marks = state.spool.load_coverage()?.map(|coverage| coverage.marks);
        match state.kind {
            StateKind::Relay => {
                let newest = marks.map_or(UnixMs::MIN, |marks| marks.frontier.max(marks.anchor));
                self.known.extend(state.spool.ids_since(newest.before(OVERLAP))?);
                self.in_relay = Some(state.progress);
                // If this fails, it is tried again when reading ends.
                self.erase_kept_texts().ok();
            }
            StateKind::Scratch => {
                self.known.extend(state.spool.ids_since(UnixMs::MIN)?);
                self.scratch_floor = marks.map_or(UnixMs::MIN, |marks| marks.watermark);
            }
        }
        Ok(())
    }

    async fn open_relay_state(&mut self) -> Result<(), ArrivalError> {
        let Some(spool) = passing(open_reader(&self.options.dir))?.flatten() else { return Ok(()) };
        let progress = match (self.in_relay.take(), &self.baseline) {
            (Some(progress), _) => progress,
            (None, Some(baseline)) => {
                let floor = self.scratch_floor;
                ReadingProgress {
                    place: spool.place_before(floor)?,
                    baseline: baseline.clone().in_another_state(),
                    floor,
                }
            }
            (None, None) => {
                self.wait_until_noticed().await;
                let Some(progress) = passing(self.begin_in_relay_state(&*spool))? else { return Ok(()) };
                progress
            }
        };
        self.set_state(StateKind::Relay, spool, progress);
        Ok(())
    }

    fn set_state(&mut self, kind: StateKind, spool: Box<Spool>, progress: ReadingProgress) {
        self.baseline.get_or_insert_with(|| progress.baseline.clone());
        self.state = Some(OpenState { kind, spool, progress, is_read: false });
    }

    /// Waits until the relay keeps texts for this reader. A relay that does not look at readers is not waited for long.
    async fn wait_until_noticed(&self) {
        let Some(registration) = self.registration.as_ref().filter(|_| self.options.erases_at_once) else { return };
        let until = self.clock.monotonic() + NOTICE;
        while self.clock.monotonic() < until && !registration.is_noticed().unwrap_or(true) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Draws the line between old and new messages in the state of a running relay.
    fn begin_in_relay_state(&self, spool: &Spool) -> Result<ReadingProgress, store::Error> {
        let (left, runs) = spool.clock_beside()?;
        let clock = Clock::system().with_boot_id(self.options.boot_id.clone());
        let messages_ahead = left.as_ref().and_then(|left| left.messages_ahead_ms);
        clock.adopt_memory(left, runs);
        let elapsed = self.clock.monotonic() - self.began;
        let began = clock.likely_message_time().before(elapsed);
        let live = Live::read(&self.options.dir).and_then(|live| live.polling.last_poll_at);
        let last_poll = live.zip(messages_ahead).map(|(at, ahead)| UnixMs(at.0.saturating_add(ahead)));
        let coverage = spool.load_coverage()?;
        let since = self.options.since.map(|since| since.resolve(began));
        let known_began = messages_ahead.map(|_| began);
        self.begin_at(spool, Baseline::new(coverage.as_ref(), last_poll, known_began, since), since)
    }

    fn begin_at(
        &self,
        spool: &Spool,
        baseline: Baseline,
        since: Option<UnixMs>,
    ) -> Result<ReadingProgress, store::Error> {
        let place = since.map_or_else(|| spool.last_released(), |since| spool.place_before(since))?;
        Ok(ReadingProgress { place, baseline, floor: UnixMs::MIN })
    }

    /// Reads the scratch state. If no other command polls, this command begins to poll.
    async fn open_scratch_state(&mut self) -> Result<(), ArrivalError> {
        let dir = scratch::directory(&self.options.dir);
        if let Some(poller) = &mut self.poller {
            poller.check().await?;
        } else if !dir.is_dir() || is_running(&dir)? == Some(false) {
            let options = (self.load_polling)().map_err(ArrivalError::Configuration)?;
            let is_anew = self.state.is_none() && self.is_alone();
            let back = self.back();
            self.adopt_clock()?;
            let (readers, clock) = (self.readers.subscribe(), self.clock.clone());
            match ScratchPoller::start(&self.options.dir, &options, is_anew, back, readers, clock).await {
                Ok(poller) => self.poller = Some(poller),
                // Another command was faster.
                Err(ArrivalError::Store(store::Error::InUse { .. })) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.state.is_some() {
            return Ok(());
        }
        let Some(spool) = passing(open_reader(&dir))?.flatten() else { return Ok(()) };
        let Some(coverage) = passing(spool.load_coverage())?.flatten() else { return Ok(()) };
        let progress = match &self.baseline {
            Some(baseline) => {
                ReadingProgress { place: 0, baseline: baseline.clone().in_another_state(), floor: UnixMs::MIN }
            }
            None => self.begin_in_scratch_state(&*spool, &coverage)?,
        };
        self.set_state(StateKind::Scratch, spool, progress);
        Ok(())
    }

    /// Makes the clock of this process go on with the relay's time, by which `budget.ring` is dated.
    fn adopt_clock(&self) -> Result<(), ArrivalError> {
        if let Some(snapshot) = store::open_snapshot(&self.options.dir)? {
            self.clock.resume(snapshot.spool.clock_memory()?, snapshot.spool.newest_instant()?);
        }
        Ok(())
    }

    /// Returns how far back messages are wanted.
    fn back(&self) -> Duration {
        match self.options.since {
            None => Duration::ZERO,
            Some(Since::Back(span)) => span + OVERLAP / 20,
            Some(Since::At(time)) => self.clock.machine_time().since(time) + OVERLAP / 20,
        }
    }

    /// Draws the line in the scratch state, whose first page is the line.
    fn begin_in_scratch_state(&self, spool: &Spool, coverage: &Coverage) -> Result<ReadingProgress, store::Error> {
        let clock = match &self.poller {
            Some(poller) => poller.clock().clone(),
            None => {
                let (left, runs) = spool.clock_beside()?;
                let clock = Clock::system().with_boot_id(self.options.boot_id.clone());
                clock.adopt_memory(left, runs);
                clock
            }
        };
        let began = clock.likely_message_time().before(self.clock.monotonic() - self.began);
        let since = self.options.since.map(|since| since.resolve(began));
        self.begin_at(spool, Baseline::new(Some(coverage), None, None, since), since)
    }

    /// Reads the messages that have arrived.
    fn read(&mut self) -> Result<Vec<Arrival>, ArrivalError> {
        let Some(state) = &mut self.state else { return Ok(Vec::new()) };
        if !state.spool.changed_by_others()? && state.is_read {
            return Ok(Vec::new());
        }
        state.is_read = false;
        // Coverage comes first: a gap that ends between the two reads counts as open still.
        let Some(coverage) = passing(state.spool.load_coverage())? else { return Ok(Vec::new()) };
        if let Some(coverage) = &coverage {
            state.progress.baseline.note(coverage);
        }
        let mut found = Vec::new();
        loop {
            let Some(portion) = passing(state.spool.arrivals(state.progress.place, PORTION))? else { break };
            let Some(last) = portion.last() else {
                state.is_read = true;
                break;
            };
            let (place, known) = (last.place, &self.known);
            let ReadingProgress { baseline, floor, .. } = &state.progress;
            let is_new = |arrival: &Arrival| {
                baseline.takes(arrival.seq, arrival.received)
                    && arrival.received >= *floor
                    && !known.contains(&arrival.id)
            };
            found.extend(portion.into_iter().filter(is_new));
            state.progress.place = place;
            if found.len() >= PORTION {
                break;
            }
        }
        Ok(found)
    }
}

/// Turns an error that may pass into `None`: the reader tries again a moment later.
fn passing<T>(result: Result<T, store::Error>) -> Result<Option<T>, store::Error> {
    match result {
        Err(error) if error.is_passing() => Ok(None),
        result => result.map(Some),
    }
}
