//! Everything that is known about a relay and its state, at one moment.

use std::path::{Path, PathBuf};

use super::live::Live;
use crate::api::PAGE_ROWS;
use crate::api::budget::Ring;
use crate::domain::{Marks, UnixMs, Walk, pages};
use crate::store::{self, Error, SinkView};
use crate::time::Clock;

/// See the module.
#[derive(Clone, Debug)]
pub struct Status {
    /// When it was looked at.
    pub now: UnixMs,
    /// The state directory.
    pub dir: PathBuf,
    /// What the state takes on the disk, in bytes.
    pub bytes: u64,
    /// Whether a relay runs.
    pub running: bool,
    /// What the relay that runs, or ran last, said of itself.
    pub live: Option<Live>,
    /// `poll.start` at the first run.
    pub start: Option<String>,
    /// Where reading stands; nothing before the first page.
    pub marks: Option<Marks>,
    /// The stretches that are being read.
    pub walks: Vec<WalkView>,
    /// The request budget; nothing before the first start.
    pub budget: Option<BudgetStatus>,
    /// Every sink that there ever was.
    pub sinks: Vec<SinkView>,
}

/// A stretch of the feed that is being read.
#[derive(Clone, Debug)]
pub struct WalkView {
    /// The walk.
    pub walk: Walk,
    /// Messages that wait until it has arrived.
    pub held: u64,
    /// Pages that are left, about; `None` if nothing tells.
    pub pages_left: Option<u64>,
}

/// The request budget of the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Requests a minute.
    pub limit: u64,
    /// Requests of this relay in the last minute.
    pub used: u64,
}

impl Status {
    /// Looks at the state in `dir`; `None` if there is none. `clock` goes by the relay's time afterwards: a jump of this
    /// machine's clock is no silence.
    ///
    /// # Errors
    /// As for [`store::open_snapshot`].
    pub fn of(dir: &Path, clock: &Clock) -> Result<Option<Self>, Error> {
        let Some(snapshot) = store::open_snapshot(dir)? else { return Ok(None) };
        let (left, runs) = snapshot.spool.clock_beside()?;
        clock.reckon(left, runs);
        let now = clock.relay_time();
        let live = Live::read(dir);
        let running = snapshot.running.unwrap_or_else(|| live.as_ref().is_some_and(|live| live.is_recent(now)));
        // Of the relay before: the one that runs has said nothing yet.
        let live = live.filter(|live| !running || live.stopped_at.is_none());
        let coverage = snapshot.spool.load_coverage()?;
        let total = live.as_ref().and_then(|live| live.total);
        let mut walks = Vec::new();
        for walk in coverage.iter().flat_map(|coverage| &coverage.walks) {
            let marks = coverage.as_ref().map(|coverage| coverage.marks);
            let unread = marks.map(|marks| snapshot.spool.unread(walk, &marks, total)).transpose()?;
            let pages_left = unread.and_then(|unread| unread.rows(walk)).map(|rows| pages(rows, PAGE_ROWS));
            walks.push(WalkView { walk: walk.clone(), held: snapshot.spool.held(walk.id)?, pages_left });
        }
        let budget = Ring::look(&dir.join("budget.ring"), now).ok().map(|(limit, used)| BudgetStatus { limit, used });
        Ok(Some(Self {
            now,
            dir: dir.to_owned(),
            bytes: store::size(dir),
            running,
            live,
            start: snapshot.spool.account()?.start,
            marks: coverage.map(|coverage| coverage.marks),
            walks,
            budget,
            sinks: snapshot.spool.sinks()?,
        }))
    }

    /// What a running relay says of a sink.
    pub fn live_sink(&self, name: &str) -> Option<&super::LiveSink> {
        self.live.as_ref().filter(|_| self.running)?.sink(name)
    }

    /// How long ago an instant of the API was, which has a clock of its own.
    pub fn age_of_server_time(&self, instant: UnixMs) -> std::time::Duration {
        let ahead = self.live.as_ref().and_then(|live| live.server_ahead_ms).unwrap_or(0);
        UnixMs(self.now.0.saturating_add(ahead)).since(instant)
    }
}
