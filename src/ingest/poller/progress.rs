//! How the reading of older messages goes: counted, measured and told. Nothing depends on it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Poller;
use crate::api::PAGE_ROWS;
use crate::domain::{UnixMs, Walk, WalkId, WalkKind, pages};
use crate::ingest::feed::Feed;
use crate::ingest::report::CatchUp;
use crate::time::Instant;

/// The store is asked for an estimate at most so often.
const MEASURE: Duration = Duration::from_secs(1);

/// A long catch-up is told of so often, and for the first time after so long.
const SAY: Duration = Duration::from_secs(10);

/// The pace is that of this last while.
const LATELY: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct CatchUpProgress {
    tells: bool,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    began: Instant,
    measured: Instant,
    told: Instant,
    was_told: bool,
    pages: u64,
    messages: u64,
    /// When how many pages had been read; the oldest first.
    samples: VecDeque<(Instant, u64)>,
    shown: CatchUp,
}

impl CatchUpProgress {
    pub(super) fn new(tells: bool) -> Self {
        Self { tells, under_way: None }
    }

    pub(super) fn catch_up(&self) -> Option<CatchUp> {
        self.under_way.as_ref().map(|under_way| under_way.shown)
    }

    /// A page of a catch-up was read and committed.
    pub(super) fn page_read(&mut self, messages: usize) {
        if let Some(under_way) = &mut self.under_way {
            under_way.pages += 1;
            under_way.messages += u64::try_from(messages).unwrap_or(0);
        }
    }
}

/// Pages a minute between the oldest sample and now; 0 while they are too close to tell.
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

impl<F: Feed> Poller<F> {
    /// Whether a walk reads what is to be delivered or known first, and not only what is known already.
    pub(super) fn catches_up(&self, id: WalkId) -> bool {
        self.state.walks().any(|walk| walk.id == id && walk.kind != WalkKind::Sweep)
    }

    /// Takes stock of what is left, once a second at most, and tells it.
    pub(super) async fn measure(&mut self) {
        let now = self.clock.monotonic();
        let walks: Vec<Walk> = self.state.walks().filter(|walk| walk.kind != WalkKind::Sweep).cloned().collect();
        let Some(reached) = walks.iter().map(|walk| walk.lowest).min() else {
            if let Some(ended) = self.progress.under_way.take().filter(|ended| ended.was_told) {
                tracing::info!(
                    messages = ended.messages,
                    pages = ended.pages,
                    seconds = (now - ended.began).as_secs(),
                    "older messages were read to the end"
                );
            }
            return;
        };
        if self.progress.under_way.as_ref().is_some_and(|under_way| now < under_way.measured + MEASURE) {
            return;
        }
        let pages_left = self.pages_left(walks.clone()).await;
        // It begins with what was left of the last minute, and cannot go on like that.
        let at_most = self.budget.window().background();
        let under_way = self.progress.under_way.get_or_insert_with(|| UnderWay::begun(now));
        under_way.note(now, walks.len(), pages_left, reached, at_most);
        if self.progress.tells && under_way.shown.is_long() && now >= under_way.told + SAY {
            under_way.told = now;
            under_way.was_told = true;
            tell(&under_way.shown);
        }
    }

    /// Of all walks together; nothing if one of them cannot tell.
    async fn pages_left(&mut self, walks: Vec<Walk>) -> Option<u64> {
        let (marks, total) = (self.state.coverage.as_ref()?.marks, self.total);
        let rows = self
            .store
            .read(move |spool| {
                let rows = walks.iter().map(|walk| Ok(spool.unread(walk, &marks, total)?.rows(walk)));
                rows.collect::<Result<Option<Vec<u64>>, _>>()
            })
            .await;
        // What could not be read is told where it matters.
        Some(rows.ok()??.into_iter().map(|rows| pages(rows, PAGE_ROWS)).fold(0, u64::saturating_add))
    }
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
        Self { began: now, measured: now, told: now, was_told: false, pages: 0, messages: 0, samples, shown }
    }

    fn note(&mut self, now: Instant, walks: usize, pages_left: Option<u64>, reached: UnixMs, at_most: f64) {
        self.measured = now;
        self.shown = CatchUp {
            walks,
            pages_read: self.pages,
            messages_read: self.messages,
            pages_left,
            pages_per_minute: pace(&self.samples, now, self.pages).min(at_most),
            reached,
        };
        self.samples.push_back((now, self.pages));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| *at + LATELY < now) {
            self.samples.pop_front();
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
        assert_eq!(under_way.shown.pages_per_minute, 0.0, "nobody knows yet");
        assert_eq!(under_way.shown.time_left(), None);
        for second in 2..=60 {
            under_way.pages += 1;
            under_way.note(at(second), 1, Some(900 - second), UnixMs(5), f64::MAX);
        }
        assert!((55.0..=60.0).contains(&under_way.shown.pages_per_minute), "{:?}", under_way.shown);
        let left = under_way.shown.time_left().unwrap();
        assert!((840..=916).contains(&left.as_secs()), "{left:?}");
        // It becomes slower, and after a minute only that counts.
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
    fn a_few_pages_are_not_worth_talking_about() {
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
