//! The reader: finds the state in which messages arrive, changes over when a relay starts or ends, and returns each new
//! message once.

mod change_over;
mod relay_state;
mod scratch_state;

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;

use super::baseline::{Baseline, Since};
use super::error::ArrivalError;
use super::scratch::{PollingOptions, ScratchPoller};
use crate::domain::UnixMs;
use crate::ingest::WaitingReaders;
use crate::store::{self, Arrival, ReaderRegistration, Spool, StateLocation, is_running, registered_readers};
use crate::time::{Clock, Instant};

/// The time between two looks for new messages.
const LOOK: Duration = Duration::from_millis(10);

/// The time between two looks for new messages in PostgreSQL.
const LOOK_IN_DATABASE: Duration = Duration::from_millis(100);

/// When the reader leaves the relay's state, it remembers the ids of the messages of the last 20 minutes. So it does
/// not return these messages again when it finds them in the next state.
const OVERLAP: Duration = Duration::from_secs(20 * 60);

/// How many messages are read in one portion.
const PORTION: usize = 200;

/// The options of a reader.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// The relay's state.
    pub state: StateLocation,
    /// Whether the relay erases each text when every sink has it (`keep_delivered = "0s"`).
    pub erases_at_once: bool,
    /// Messages that were received at this time or later are returned, even if they are old.
    pub since: Option<Since>,
    /// For how long the newest page is polled fast for this reader.
    pub fast_for: Duration,
    /// The id of the machine's present boot, if the service manager has passed it.
    pub boot_id: Option<String>,
}

/// Why the relay's state cannot be read at the moment, although a relay runs on it or will run on it. The reader tries
/// again and again.
#[derive(Debug)]
pub enum StateTrouble {
    /// No relay has made the state yet.
    Absent,
    /// The state cannot be opened or read.
    Failed(store::Error),
}

/// Which state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StateKind {
    /// The relay's state.
    Relay,
    /// The scratch state, in which a reader stores the rows that it polls while no relay runs.
    Scratch,
}

/// A state that is read, and how far it was read.
struct OpenState {
    kind: StateKind,
    spool: Box<Spool>,
    progress: ReadingProgress,
    /// Whether the last look has read all messages that were released by then.
    is_read: bool,
}

/// How far a state was read.
#[derive(Clone)]
struct ReadingProgress {
    /// The highest release number that was read.
    place: i64,
    baseline: Baseline,
    /// Messages that were received before this time are old. If the reader has changed over from a scratch state, this
    /// is the watermark of that state, because no message before the watermark was new there.
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
    /// Why the state could not be read when this was last tried; `None` if it could be read.
    state_trouble: Option<StateTrouble>,
    poller: Option<ScratchPoller>,
    readers: watch::Sender<WaitingReaders>,
    /// The border between old and new messages in the first state. The borders in later states follow from it.
    baseline: Option<Baseline>,
    /// How far the relay's state was read before the reader left it.
    in_relay: Option<ReadingProgress>,
    /// The ids of the messages in the states that were read before. These messages are not new.
    known: HashSet<String>,
    /// The watermark of the last scratch state ([`ReadingProgress::floor`]).
    scratch_floor: UnixMs,
    /// When the reader next checks whether a relay has started or ended.
    check_at: Instant,
    /// Until when the reader waits for the relay to notice it; `None` before this wait.
    notice_until: Option<Instant>,
    /// When the reader first noticed that no relay runs; `None` while one runs.
    away_since: Option<Instant>,
}

impl ArrivalReader {
    /// Registers a reader. `load_polling` reads the configuration that polling without a relay needs; it is called only
    /// when this reader begins to poll. If no file can be made in the state directory, the reader works, but the relay
    /// polls no faster for it.
    pub fn begin(
        options: ReaderOptions,
        load_polling: impl Fn() -> Result<PollingOptions, String> + Send + 'static,
    ) -> Self {
        let clock = Clock::system().with_boot_id(options.boot_id.clone());
        let began = clock.monotonic();
        // Without a registration the state can be read all the same.
        let registration = ReaderRegistration::make(options.state.dir(), options.fast_for).ok();
        let fast_until = (!options.fast_for.is_zero()).then(|| began + options.fast_for);
        let (readers, _) = watch::channel(WaitingReaders { present: true, fast_until });
        Self {
            options,
            load_polling: Box::new(load_polling),
            clock,
            began,
            registration,
            state: None,
            state_trouble: None,
            poller: None,
            readers,
            baseline: None,
            in_relay: None,
            known: HashSet::new(),
            scratch_floor: UnixMs::MIN,
            check_at: began,
            notice_until: None,
            away_since: None,
        }
    }

    /// Returns the time between two looks for new messages.
    fn look_interval(&self) -> Duration {
        if self.options.state.is_shared() { LOOK_IN_DATABASE } else { LOOK }
    }

    /// Waits until the reader is ready: every message that arrives afterwards will be returned.
    ///
    /// # Errors
    /// [`ArrivalError`] says why the reader cannot go on.
    pub async fn arm(&mut self) -> Result<(), ArrivalError> {
        loop {
            self.check().await?;
            if self.state.is_some() {
                return Ok(());
            }
            tokio::time::sleep(self.look_interval()).await;
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
            tokio::time::sleep(self.look_interval()).await;
        }
    }

    /// Returns whether this reader polls the API itself.
    pub fn is_polling(&self) -> bool {
        self.poller.is_some()
    }

    /// If this reader polls the API and gets no pages, returns the reason.
    pub fn api_trouble(&self) -> Option<String> {
        self.poller.as_ref().and_then(ScratchPoller::trouble)
    }

    /// If this reader reads the relay's state, and the last try failed, returns the reason.
    pub fn state_trouble(&self) -> Option<&StateTrouble> {
        self.state_trouble.as_ref().filter(|_| !self.is_polling())
    }

    /// Ends reading. If no other command uses the scratch state, its texts are erased. The same happens to the texts
    /// that a relay kept for readers and could not erase before it ended.
    ///
    /// # Errors
    /// [`ArrivalError::Store`] if the texts cannot be erased.
    pub async fn end(mut self) -> Result<(), ArrivalError> {
        // Without a registration, no text was kept for this reader. Its user may not even have the permission to write.
        let was_registered = self.registration.take().is_some();
        self.state = None;
        let erased = if was_registered { self.erase_kept_texts() } else { Ok(()) };
        self.stop_polling().await.and(erased)
    }

    /// Erases the texts that the relay kept for readers. Nothing happens while a relay runs or another command reads,
    /// because the relay or the other command erases these texts later.
    fn erase_kept_texts(&self) -> Result<(), ArrivalError> {
        let state = &self.options.state;
        if self.options.erases_at_once && self.is_alone() && is_running(state)? == Some(false) {
            store::erase_delivered(state)?;
        }
        Ok(())
    }

    /// Returns whether no other command reads.
    fn is_alone(&self) -> bool {
        let own = usize::from(self.registration.is_some());
        registered_readers(self.options.state.dir()).is_ok_and(|readers| readers.len() <= own)
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

    /// Reads the messages that have arrived.
    fn read(&mut self) -> Result<Vec<Arrival>, ArrivalError> {
        let Some(state) = &mut self.state else { return Ok(Vec::new()) };
        let is_changed = match state.spool.changed_by_others() {
            Err(error) if error.is_passing() => {
                self.state_trouble = Some(StateTrouble::Failed(error));
                return Ok(Vec::new());
            }
            known => known?,
        };
        self.state_trouble = None;
        if !is_changed && state.is_read {
            return Ok(Vec::new());
        }
        state.is_read = false;
        // Coverage is read before the messages. So a gap that ends between the two reads still counts as open.
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
