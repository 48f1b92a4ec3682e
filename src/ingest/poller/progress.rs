//! The progress of reading older messages: counted, measured and reported. No decision depends on it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::PAGE_ROWS;
use crate::domain::{Coverage, Marks, UnixMs, Walk, WalkKind, pages};
use crate::ingest::report::CatchUp;
use crate::store::Store;
use crate::time::Instant;

/// The time from one estimate of the remaining pages to the next.
const MEASURE: Duration = Duration::from_secs(1);

/// The time from one log line about a long catch-up to the next, and from the beginning of the catch-up to the first
/// line.
const TELL: Duration = Duration::from_secs(10);

/// The length of the time over which the pace is measured.
const LATELY: Duration = Duration::from_secs(60);

/// A catch-up and the reports about it. A catch-up reads gaps and seeds. Sweeps read known rows, and do not count.
pub(super) struct CatchUpProgress {
    /// Whether the log reports a long catch-up.
    tells: bool,
    /// The total number of messages that the API states.
    total: Option<u64>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    began: Instant,
    measured: Instant,
    /// When the catch-up was last reported; its beginning if it was not reported yet.
    told: Instant,
    pages: u64,
    messages: u64,
    /// The number of pages read so far at several instants, oldest first.
    samples: VecDeque<(Instant, u64)>,
    shown: CatchUp,
}

impl CatchUpProgress {
    pub(super) fn new(tells: bool) -> Self {
        Self { tells, total: None, under_way: None }
    }

    /// Returns the catch-up under way; `None` if there is none.
    pub(super) fn catch_up(&self) -> Option<CatchUp> {
        self.under_way.as_ref().map(|under_way| under_way.shown)
    }

    /// Returns the total number of messages that the API states.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Records the total number of messages that a page states. A page without this number changes nothing.
    pub(super) fn note_total(&mut self, total: Option<u64>) {
        self.total = total.or(self.total);
    }

    /// Returns whether this walk belongs to a catch-up.
    pub(super) fn counts(walk: &Walk) -> bool {
        walk.kind != WalkKind::Sweep
    }

    /// Records that a page of a catch-up was read and committed.
    pub(super) fn page_read(&mut self, messages: usize) {
        if let Some(under_way) = &mut self.under_way {
            under_way.pages += 1;
            under_way.messages += u64::try_from(messages).unwrap_or(0);
        }
    }

    /// Estimates how many pages are left, at most once a second, and reports the estimate. `pace_limit` is how many
    /// pages a minute the budget leaves for the catch-up.
    pub(super) async fn measure(&mut self, store: &Store, coverage: Option<&Coverage>, pace_limit: f64, now: Instant) {
        let walks = coverage.iter().flat_map(|coverage| &coverage.walks);
        let walks: Vec<Walk> = walks.filter(|walk| Self::counts(walk)).cloned().collect();
        let (Some(marks), Some(reached)) =
            (coverage.map(|coverage| coverage.marks), walks.iter().map(|walk| walk.lowest).min())
        else {
            if let Some(ended) = self.under_way.take() {
                ended.tell_end(now);
            }
            return;
        };
        if self.under_way.as_ref().is_some_and(|under_way| now < under_way.measured + MEASURE) {
            return;
        }
        let walk_count = walks.len();
        let pages_left = pages_left(store, walks, marks, self.total).await;
        let under_way = self.under_way.get_or_insert_with(|| UnderWay::begun(now));
        under_way.note(now, walk_count, pages_left, reached, pace_limit);
        if self.tells && under_way.shown.is_long() && now >= under_way.told + TELL {
            under_way.told = now;
            tell(&under_way.shown);
        }
    }
}

/// Returns how many pages these walks still have to read; `None` if this is unknown for one of them.
async fn pages_left(store: &Store, walks: Vec<Walk>, marks: Marks, total: Option<u64>) -> Option<u64> {
    let read = store.read(move |spool| {
        let rows = walks.iter().map(|walk| Ok(spool.unread(walk, &marks, total)?.rows(walk)));
        rows.collect::<Result<Option<Vec<u64>>, _>>()
    });
    // If the store cannot be read, there is no estimate. Other work, which cannot do without the store, will report the
    // failure.
    let rows = read.await.ok()??;
    Some(rows.into_iter().map(|rows| pages(rows, PAGE_ROWS)).fold(0, u64::saturating_add))
}

/// Returns the pages a minute since the oldest sample; 0 if that sample is less than two seconds old.
fn pace(samples: &VecDeque<(Instant, u64)>, now: Instant, pages: u64) -> f64 {
    let Some((since, before)) = samples.front() else { return 0.0 };
    let seconds = now.saturating_duration_since(*since).as_secs_f64();
    if seconds < 2.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let read = pages.saturating_sub(*before) as f64;
    read * 60.0 / seconds
}

impl UnderWay {
    fn begun(now: Instant) -> Self {
        let shown = CatchUp {
            walks: 0,
            pages_read: 0,
            messages_read: 0,
            pages_left: None,
            pages_per_minute: 0.0,
            reached: UnixMs::MAX,
        };
        let samples = VecDeque::from([(now, 0)]);
        Self { began: now, measured: now, told: now, pages: 0, messages: 0, samples, shown }
    }

    /// Records an estimate. Its pace is at most `pace_limit`: the first pages of a catch-up come faster than the later
    /// ones can, because they use slots that were left over from the last minute.
    fn note(&mut self, now: Instant, walks: usize, pages_left: Option<u64>, reached: UnixMs, pace_limit: f64) {
        self.measured = now;
        self.shown = CatchUp {
            walks,
            pages_read: self.pages,
            messages_read: self.messages,
            pages_left,
            pages_per_minute: pace(&self.samples, now, self.pages).min(pace_limit),
            reached,
        };
        self.samples.push_back((now, self.pages));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| *at + LATELY < now) {
            self.samples.pop_front();
        }
    }

    /// Logs the end of a catch-up that was reported before.
    fn tell_end(&self, now: Instant) {
        if self.told > self.began {
            tracing::info!(
                messages = self.messages,
                pages = self.pages,
                seconds = (now - self.began).as_secs(),
                "older messages were read to the end"
            );
        }
    }
}

fn tell(shown: &CatchUp) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number that is not negative")]
    let pace = shown.pages_per_minute.round() as u64;
    tracing::info!(
        messages_read = shown.messages_read,
        pages_left = shown.pages_left,
        pages_per_minute = pace,
        left_s = shown.time_left().map(|left| left.as_secs()),
        back_to = %shown.reached,
        "reading older messages"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_that_of_the_last_minute() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut under_way = UnderWay::begun(start);
        under_way.note(at(1), 1, Some(900), UnixMs(5), f64::MAX);
        assert_eq!(under_way.shown.pages_per_minute, 0.0, "the pace is not known in the first two seconds");
        assert_eq!(under_way.shown.time_left(), None);
        for second in 2..=60 {
            under_way.pages += 1;
            under_way.note(at(second), 1, Some(900 - second), UnixMs(5), f64::MAX);
        }
        assert!((55.0..=60.0).contains(&under_way.shown.pages_per_minute), "{:?}", under_way.shown);
        let left = under_way.shown.time_left().unwrap();
        assert!((840..=916).contains(&left.as_secs()), "{left:?}");
        // The catch-up becomes slower, and after a minute only the slower pace counts.
        for second in 61..=200 {
            under_way.pages += u64::from(second % 10 == 0);
            under_way.note(at(second), 1, Some(500), UnixMs(5), f64::MAX);
        }
        assert!((5.0..=7.0).contains(&under_way.shown.pages_per_minute), "{:?}", under_way.shown);
        assert!(under_way.samples.len() < 70, "{}", under_way.samples.len());
        under_way.pages += 1000;
        under_way.note(at(201), 1, Some(500), UnixMs(5), 60.0);
        assert_eq!(under_way.shown.time_left(), Some(Duration::from_secs(500)), "no quicker than the budget allows");
    }

    #[test]
    fn a_catch_up_of_a_few_pages_is_not_long() {
        let shown = |pages_read, pages_left| CatchUp {
            walks: 1,
            pages_read,
            messages_read: 0,
            pages_left,
            pages_per_minute: 0.0,
            reached: UnixMs(0),
        };
        assert!(!shown(3, Some(4)).is_long());
        assert!(shown(3, Some(40)).is_long() && shown(30, Some(1)).is_long() && shown(0, None).is_long());
    }
}
