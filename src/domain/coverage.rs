//! Coverage: which part of the feed has been read, as it stands on disk.
//!
//! The rules that move it are in `ingest::coverage`; the store only loads it and carries out [`StoreOp`]s, all those of
//! one page in one transaction.

use super::{Class, Row, Seq, UnixMs};

/// An opaque cursor of the API. It walks towards older rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub String);

/// How far the feed has been read.
///
/// Invariants (`W` = watermark, `F` = frontier, `A` = anchor, `L` = lookback, `m` = margin):
/// - Every row with `W <= time <= F` that appeared no later than `L` after its time is stored, or lies in the unread part
///   of an open walk, or above the next sweep's floor `A - L - m`. By how much the clock of the rows is behind that of
///   `A`, the floor lies deeper: see [`Lags`].
/// - `F`, `W` and `A` only rise, and `F` never passes the server's now, by its `Date` or by when rows were ingested.
/// - `W <= A - L - m` once a sweep was completed, and `W <=` every open floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Where it stands.
    pub marks: Marks,
    /// Open walks, oldest first.
    pub walks: Vec<Walk>,
    /// How the clock of the rows stands to that of the server.
    pub lags: Lags,
}

/// The scalars of [`Coverage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// `F`: the newest time up to which rows were met or lie in an open gap.
    pub frontier: UnixMs,
    /// `W`: rows below it are never news. [`UnixMs::MIN`] = none.
    pub watermark: UnixMs,
    /// `A`: server time at which the last completed sweep was opened.
    pub anchor: UnixMs,
    /// `S0`: what was ingested up to here was there before the first run.
    pub start_instant: UnixMs,
    /// The number that the next stored row gets.
    pub next_seq: Seq,
    /// The number that the next walk gets.
    pub next_walk: WalkId,
}

/// How the clock behind the times of the rows stands to that of the server, in milliseconds.
///
/// `Date` and the times of rows come from different clocks of the API, and one of them may be off, by as much as a time
/// zone. What most rows say tells by how much, whatever single ones say that came late or are dated wrongly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    /// How far new rows were behind the server's clock when they were met at the head of the feed, the last one last; 0
    /// where they were dated right then. Less than 0: ahead of it.
    seen: Vec<i64>,
    /// How far the rows' clock is taken to have been behind `A` then.
    anchor: i64,
}

impl Lags {
    /// So many rows are remembered.
    const MOST: usize = 31;
    /// So many of the last ones tell by themselves that a clock has changed.
    const FEW: usize = 5;

    /// What was seen, the last one last, and how far the rows were behind the anchor.
    pub fn new(seen: Vec<i64>, anchor: i64) -> Self {
        let mut lags = Self { seen: Vec::new(), anchor };
        lags.extend(seen);
        lags
    }

    /// What was seen, the last one last.
    pub fn seen(&self) -> &[i64] {
        &self.seen
    }

    /// How far the rows' clock was behind the anchor.
    pub fn anchor(&self) -> i64 {
        self.anchor
    }

    /// Notes the same.
    pub fn set_anchor(&mut self, behind: i64) {
        self.anchor = behind;
    }

    /// Adds what was seen on one page, the newest last.
    pub fn extend(&mut self, seen: impl IntoIterator<Item = i64>) {
        self.seen.extend(seen);
        let spare = self.seen.len().saturating_sub(Self::MOST);
        self.seen.drain(..spare);
    }

    /// How far the rows' clock is behind: what the row in the middle says, of all or of the last few, whichever is more.
    /// `None`: nothing new came yet.
    pub fn behind(&self) -> Option<i64> {
        let last = self.seen.len().saturating_sub(Self::FEW);
        Some(middle(&self.seen)?.max(middle(&self.seen[last..])?).max(0))
    }

    /// How far the rows' clock is ahead, by the row in the middle; 0 if it is not.
    pub fn ahead(&self) -> i64 {
        middle(&self.seen).unwrap_or(0).min(0).saturating_neg()
    }
}

/// Of two the larger.
fn middle(lags: &[i64]) -> Option<i64> {
    let mut sorted = lags.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

impl Marks {
    /// Down to where a gap reads. A first run may begin above the newest row: what lies below the watermark need not be read.
    pub fn gap_floor(&self) -> UnixMs {
        self.frontier.max(self.watermark)
    }
}

/// Names a walk; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalkId(pub i64);

/// A stretch of the feed that is being read, newest row first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Its name.
    pub id: WalkId,
    /// What it is for.
    pub kind: WalkKind,
    /// Where it reads on; `None` = from the head of the feed.
    pub cursor: Option<Cursor>,
    /// The cursors before that one, newest last, at most [`Walk::TRAIL`].
    pub trail: Vec<Cursor>,
    /// It ends strictly below this time.
    pub floor: UnixMs,
    /// Rows stored before this one are evidence of having arrived.
    pub opened_seq: Seq,
    /// What was in the list at this server time it vouches for: that of its opening, or a little earlier.
    pub opened_at: UnixMs,
    /// The oldest time it reached: `floor..=lowest` is its unread part.
    pub lowest: UnixMs,
    /// What stands in its way.
    pub progress: WalkProgress,
}

impl Walk {
    /// How many cursors a walk remembers behind the one it reads at.
    pub const TRAIL: usize = 3;

    /// Whether `time` lies in the part that was not read yet.
    pub fn has_unread(&self, time: UnixMs) -> bool {
        self.floor <= time && time <= self.lowest
    }

    /// Whether rows are held until this walk ends.
    pub fn holds(&self) -> bool {
        matches!(self.kind, WalkKind::Gap { streaming: false, .. })
    }

    /// The lowest time that closing this walk vouches for: the sweep floor of a gap that carries one, else the floor.
    pub fn deepest_floor(&self) -> UnixMs {
        match self.kind {
            WalkKind::Gap { sweep_floor: Some(floor), .. } => floor,
            _ => self.floor,
        }
    }
}

/// What a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkKind {
    /// News between a head page and the frontier.
    Gap {
        /// Where it goes on as a sweep once it has arrived.
        sweep_floor: Option<UnixMs>,
        /// Rows are released as they are read, instead of held until the end.
        streaming: bool,
    },
    /// The lookback once more, for rows that came late.
    Sweep,
    /// What was there before the first run: to be known, not delivered.
    Seed,
}

/// How a walk gets on. All zero = well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkProgress {
    /// Pages in a row that did not lead on.
    pub failures: u32,
    /// Empty answers to a cursor since it last got deeper.
    pub empty_answers: u32,
    /// How often it began again at the head since it last got deeper.
    pub restarts: u32,
    /// Local time of the first of those failures.
    pub since: Option<UnixMs>,
}

/// What a stored row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStanding {
    /// To be delivered.
    News,
    /// There before the first run: known, not delivered.
    Seed,
    /// Unknown, but below the watermark: counted and kept for a replay, not delivered by itself.
    BelowWatermark,
    /// Without an id, or no JSON: kept as it came, not delivered.
    Unreadable,
}

impl RowStanding {
    /// The word that the store and `trace` have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::News => "news",
            Self::Seed => "seed",
            Self::BelowWatermark => "below_watermark",
            Self::Unreadable => "unreadable",
        }
    }

    /// The standing of this word; the store allows no others.
    pub fn from_word(word: &str) -> Self {
        match word {
            "seed" => Self::Seed,
            "below_watermark" => Self::BelowWatermark,
            "unreadable" => Self::Unreadable,
            _ => Self::News,
        }
    }
}

/// Things that the documentation of the API does not lead one to expect. Counted, and said once where they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anomaly {
    /// A row without a string id.
    UnreadableRow,
    /// A row that is no JSON.
    SpoiledRow,
    /// A row that appeared after its time had been settled for good.
    BelowWatermark,
    /// A cursor was refused.
    RefusedCursor,
    /// A cursor led to an empty page.
    EmptyPage,
    /// A page led to where the walk had been already, or promised more without saying where.
    NoProgress,
    /// A page of a walk could not be read, while the API answered otherwise.
    UnreadablePage,
    /// A walk began again at the head.
    Restarted,
    /// A walk made no progress for so long that it released what it held.
    Stalled,
}

impl Anomaly {
    /// The word that people and metrics see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableRow => "unreadable_row",
            Self::SpoiledRow => "spoiled_row",
            Self::BelowWatermark => "below_watermark",
            Self::RefusedCursor => "refused_cursor",
            Self::EmptyPage => "empty_page",
            Self::NoProgress => "no_progress",
            Self::UnreadablePage => "unreadable_page",
            Self::Restarted => "restarted",
            Self::Stalled => "stalled",
        }
    }

    /// What happened, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::UnreadableRow => "a message without an id came: it is kept in the state, but cannot be delivered",
            Self::SpoiledRow => {
                "a message came that is no valid JSON: it is set aside as it came and not delivered; those beside it are"
            }
            Self::BelowWatermark => "a message showed up longer after its time than ids are remembered: not delivered",
            Self::RefusedCursor => "the API refuses a cursor that it gave out: reading on another way",
            Self::EmptyPage => "the API gave an empty page where it had promised messages: asking again",
            Self::NoProgress => "the API's pages lead nowhere: asking again",
            Self::UnreadablePage => "a page of older messages could not be read; trying again",
            Self::Restarted => "reading older messages again from the newest one on",
            Self::Stalled => {
                "older messages cannot be read to the end: what was read is handed on, the rest is still tried"
            }
        }
    }
}

/// A row to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    /// Its number.
    pub seq: Seq,
    /// The row.
    pub row: Row,
    /// What it is.
    pub standing: RowStanding,
    /// The gap that holds it.
    pub held_by: Option<WalkId>,
}

/// One change to the store. The changes of one page are one transaction, carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// The first page was read: coverage begins, with the setting of `poll.start` it began with.
    Begin {
        /// `poll.start`, for people.
        start: String,
    },
    /// Store a row.
    Insert(Box<Insert>),
    /// Make delivery rows for these stored rows, oldest first.
    Release {
        /// Rows that no gap holds.
        rows: Vec<Seq>,
        /// Their queue.
        class: Class,
    },
    /// Make delivery rows for all that a gap holds, oldest first, and hold them no longer.
    ReleaseHeld {
        /// The gap.
        walk: WalkId,
        /// Their queue.
        class: Class,
    },
    /// Store a walk as it now is.
    PutWalk(Box<Walk>),
    /// A walk is done.
    RemoveWalk(WalkId),
    /// Store where coverage stands now.
    Advance(Marks),
    /// Store how the clock of the rows stands to that of the server.
    PutLags(Lags),
    /// Count an anomaly.
    Count(Anomaly),
}
