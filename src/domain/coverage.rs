//! Coverage: the records of the state that show which rows of the feed were read.
//!
//! The rules by which these records change are in `ingest::coverage`. The store only loads coverage and carries out the
//! [`PollChange`](super::PollChange)s of each page.

use serde::Serialize;
use strum::{EnumIter, EnumString, IntoStaticStr};

use super::{Seq, UnixMs};

/// An opaque cursor of the API. Each page contains the cursor of the next page, which has the next older rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub String);

/// Which part of the feed was read.
///
/// Invariants (`W` = watermark, `F` = frontier, `A` = anchor, `L` = lookback, `m` = margin):
///
/// - No row is missed: a row with `W <= time <= F` that appeared at most `L` after its time is stored, or an open walk
///   has yet to read it, or the next sweep will read it. The next sweep reads down to the floor `A - lag - L - m`. The
///   lag is how far the rows' clock is behind the API's clock ([`Lags`]).
/// - `F`, `W` and `A` only rise. `F` never passes the API's present time. (If the rows' clock is ahead, the
///   `ingestedAt` of rows counts as the present time.)
/// - After the first completed sweep, `W <= A - L - m`. `W` is never later than the floor of an open walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The frontier, the watermark and the other single values.
    pub marks: Marks,
    /// Open walks, oldest first.
    pub walks: Vec<Walk>,
    /// How far the rows' clock is behind or ahead of the API's clock.
    pub lags: Lags,
}

/// The single values of [`Coverage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// `F`, the frontier: rows up to this time were read, or lie in an open gap.
    pub frontier: UnixMs,
    /// `W`, the watermark: rows below this time are never news. [`UnixMs::MIN`] means that there is no watermark.
    pub watermark: UnixMs,
    /// `A`, the anchor: the API's time when the last completed sweep was opened.
    pub anchor: UnixMs,
    /// `S0`: rows ingested at this time or earlier were in the feed before the first run.
    pub start_instant: UnixMs,
    /// The sequence number of the next row to be stored.
    pub next_seq: Seq,
    /// The id of the next walk.
    pub next_walk: WalkId,
}

/// How far the clock that dates the rows is behind the API's clock, in milliseconds.
///
/// `Date` and the times of rows come from different clocks of the API. Either may be wrong, even by a time zone. The
/// median of many rows shows the difference, even if single rows came late or have a wrong date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    /// One number for each of the last new rows at the head of the feed, the newest row last: how far the row's time
    /// was behind the API's clock. A negative number means that the row's time was ahead of that clock. Rows whose time
    /// shows nothing about the clocks are left out.
    seen: Vec<i64>,
    /// How far the rows' clock was behind the API's clock when the anchor was set.
    anchor: i64,
}

impl Lags {
    /// The lags of at most this many rows are kept.
    const MOST: usize = 31;
    /// How many of the newest rows are enough to show that a clock has changed.
    const FEW: usize = 5;

    /// Makes lags. `seen`: the lags of the newest rows, the newest row last. `anchor`: the lag when the anchor was set.
    pub fn new(seen: Vec<i64>, anchor: i64) -> Self {
        let mut lags = Self { seen: Vec::new(), anchor };
        lags.extend(seen);
        lags
    }

    /// The lag of each remembered row, the newest last.
    pub fn seen(&self) -> &[i64] {
        &self.seen
    }

    /// How far the rows' clock was behind the API's clock when the anchor was set.
    pub fn anchor(&self) -> i64 {
        self.anchor
    }

    /// Sets the lag at the time of the anchor.
    pub fn set_anchor(&mut self, behind: i64) {
        self.anchor = behind;
    }

    /// Adds the lags of the new rows of one page, the newest last.
    pub fn extend(&mut self, seen: impl IntoIterator<Item = i64>) {
        self.seen.extend(seen);
        let spare = self.seen.len().saturating_sub(Self::MOST);
        self.seen.drain(..spare);
    }

    /// How far the rows' clock is behind the API's clock, at least 0. Of two values the greater one counts: the median
    /// of all remembered rows, and the median of the newest five. `None` if no row has shown anything about the clocks
    /// yet.
    pub fn behind(&self) -> Option<i64> {
        let last = self.seen.len().saturating_sub(Self::FEW);
        Some(middle(&self.seen)?.max(middle(&self.seen[last..])?).max(0))
    }

    /// How far the rows' clock is ahead, by the median of all remembered rows; 0 if the clock is not ahead.
    pub fn ahead(&self) -> i64 {
        middle(&self.seen).unwrap_or(0).min(0).saturating_neg()
    }
}

/// Returns the median. If there are two middle values, returns the greater one.
fn middle(lags: &[i64]) -> Option<i64> {
    let mut sorted = lags.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

impl Marks {
    /// The floor of a new gap. Usually this is the frontier. On a first run the watermark may be later: for example,
    /// `poll.start` is an hour ago, and the newest row is two hours old. Rows before the watermark need not be read.
    pub fn gap_floor(&self) -> UnixMs {
        self.frontier.max(self.watermark)
    }
}

/// The id of a walk. No id is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalkId(pub i64);

/// A stretch of the feed that is being read page by page, newest row first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The walk's id.
    pub id: WalkId,
    /// The walk's purpose.
    pub kind: WalkKind,
    /// The cursor of the next page; `None` if the next page is the head page.
    pub cursor: Option<Cursor>,
    /// The cursors that the walk had before `cursor`: the last [`Walk::TRAIL`] of them, the newest last.
    pub trail: Vec<Cursor>,
    /// The walk ends at rows strictly below this time.
    pub floor: UnixMs,
    /// Rows with a lower sequence number were stored before the walk was opened. If a page ends with such a row, and
    /// the row lies below the floor, the walk has arrived.
    pub opened_seq: Seq,
    /// The time at which the walk was opened, or a little earlier, by the API's clock. When the walk is complete, it
    /// has covered all rows that were in the feed at this time.
    pub opened_at: UnixMs,
    /// The oldest time to which the walk has read so far. The part of the feed from `floor` to this time is unread.
    pub lowest: UnixMs,
    /// The failures since the walk last made progress.
    pub progress: WalkProgress,
}

impl Walk {
    /// How many earlier cursors a walk remembers.
    pub const TRAIL: usize = 3;

    /// Whether `time` lies in the unread part.
    pub fn has_unread(&self, time: UnixMs) -> bool {
        self.floor <= time && time <= self.lowest
    }

    /// Whether the walk holds its rows until it has arrived at its floor.
    pub fn holds(&self) -> bool {
        matches!(self.kind, WalkKind::Gap { streaming: false, .. })
    }

    /// The time down to which the walk reads in the end: a gap with a sweep floor reads down to the sweep floor, every
    /// other walk to its own floor.
    pub fn deepest_floor(&self) -> UnixMs {
        match self.kind {
            WalkKind::Gap { sweep_floor: Some(floor), .. } => floor,
            _ => self.floor,
        }
    }
}

/// The purpose of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkKind {
    /// Reads the new rows between a head page and the frontier.
    Gap {
        /// When the gap has arrived, it goes on as a sweep, down to this time. `None`: it ends when it has arrived.
        sweep_floor: Option<UnixMs>,
        /// Whether the gap releases each row as soon as the row is read. If not, the gap holds its rows until it has
        /// arrived at its floor.
        streaming: bool,
    },
    /// Reads the newest part of the feed once more, as far back as the lookback, for rows that came late.
    Sweep,
    /// Reads the rows that were in the feed before the first run. These rows are stored as known and not delivered.
    Seed,
}

/// The failures of a walk since it last made progress. A page is progress if it has a row that is older than all rows
/// that the walk has read, or an unknown row at the oldest time so far. Such a page sets all fields to zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkProgress {
    /// How many setbacks the walk had (`ingest::coverage::Setback`).
    pub failures: u32,
    /// How many empty answers the walk got.
    pub empty_answers: u32,
    /// How often the walk began again at the head.
    pub restarts: u32,
    /// When the first of these `failures` happened, by the relay's time.
    pub since: Option<UnixMs>,
}

/// The standing of a stored row: whether the row is for the sinks, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RowStanding {
    /// News: to be delivered.
    News,
    /// The row was in the feed before the first run: known, not delivered.
    Seed,
    /// The row is dated before the watermark. It is counted as an anomaly and kept, and delivered only if an operator
    /// asks for that.
    BelowWatermark,
    /// The row has no id, or is not valid JSON: kept as it came, not delivered.
    Unreadable,
    /// Not a row of the feed, but an event that the relay has made about a number, for sinks that ask for events.
    Event,
}

impl RowStanding {
    /// The standing as a word, for the store and for `trace`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The standing for a word that [`Self::as_str`] returned. The tables of the store allow no other words.
    pub fn from_word(word: &str) -> Self {
        word.parse().unwrap_or(Self::News)
    }
}

/// Behaviour of the API that its documentation does not mention. The relay counts and logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Anomaly {
    /// A row has no id that is a string.
    UnreadableRow,
    /// A row is not valid JSON.
    SpoiledRow,
    /// A row is dated before the watermark. The relay may have forgotten the ids of such rows, so it does not know
    /// whether the row is new.
    BelowWatermark,
    /// The API refused a cursor.
    RefusedCursor,
    /// A cursor led to an empty page.
    EmptyPage,
    /// A page led to a cursor that the walk had used already, or promised more rows without a cursor to them. Or many
    /// successive pages brought the walk no further.
    NoProgress,
    /// A page of a walk could not be read, although the API answered other requests.
    UnreadablePage,
    /// A walk began again at the head.
    Restarted,
    /// A walk made no progress for so long that it released the rows that it held.
    Stalled,
}

impl Anomaly {
    /// The anomaly as a word, for people and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The anomaly as a sentence for the log.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::UnreadableRow => "a message without an id came: it is kept in the state, but cannot be delivered",
            Self::SpoiledRow => {
                "a message came that is no valid JSON: it is set aside as it came and not delivered; the messages \
                 beside it are delivered"
            }
            Self::BelowWatermark => "a message showed up longer after its time than ids are remembered: not delivered",
            Self::RefusedCursor => "the API refuses a cursor that it gave out: reading on another way",
            Self::EmptyPage => "the API gave an empty page where it had promised messages: asking again",
            Self::NoProgress => "the API's cursor leads to no further rows: asking again",
            Self::UnreadablePage => "a page of older messages could not be read; trying again",
            Self::Restarted => "reading older messages again from the newest one on",
            Self::Stalled => {
                "older messages cannot be read to the end: those that were read are handed on, and the relay goes on \
                 trying to read the rest"
            }
        }
    }
}
