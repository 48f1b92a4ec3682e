//! Decides when the log reports foreign requests. Pure.
//!
//! Foreign requests are reported once. The state remembers the report, so that several relays with one key do not
//! report each other at each start. If two successive windows of the API have at least twice or at most half of the
//! reported number, there is a new report.

use crate::api::budget::ForeignRequests;

/// The fewest foreign requests a minute that are worth a report.
const MIN_REPORTED: u32 = 5;

/// The last report about other programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ForeignNotice {
    /// How many foreign requests a minute were last reported; 0 if there was no report, or if they have ended since.
    requests: u32,
    /// Whether the report was made in the middle of a window. If so, the reported number may rise at the end of the
    /// window, without a new report.
    reported_mid_window: bool,
    /// Whether the last window had at least twice or at most half of the reported number.
    has_changed: bool,
    /// How many windows of the API have ended.
    windows: u64,
}

/// A report about other programs that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForeignReport {
    /// Other programs make this many requests a minute.
    Heavy { requests: u32 },
    /// No other program uses the key any more.
    Ended,
}

impl ForeignNotice {
    /// Restores the last report of an earlier process. It stated this many requests a minute.
    pub(super) fn remembered(requests: u32) -> Self {
        Self { requests, ..Self::default() }
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// Records the foreign requests that the budget has counted. Returns the report that is due now.
    pub(super) fn note(&mut self, found: ForeignRequests) -> Option<ForeignReport> {
        let mut requests = found.so_far;
        let mut tells = false;
        if found.windows != self.windows {
            self.windows = found.windows;
            tells = self.note_whole_window(found.before);
            requests = if tells { found.before } else { requests };
        }
        tells |= self.note_open_window(found.so_far);
        match self.requests {
            _ if !tells => None,
            0 => Some(ForeignReport::Ended),
            _ => Some(ForeignReport::Heavy { requests }),
        }
    }

    /// Records how many foreign requests a window has so far. Returns whether to report them.
    fn note_open_window(&mut self, so_far: u32) -> bool {
        let is_first = self.requests == 0 && so_far >= MIN_REPORTED;
        if is_first {
            *self = Self { requests: so_far, reported_mid_window: true, has_changed: false, ..*self };
        }
        is_first
    }

    /// Records how many foreign requests a whole window had. Returns whether to report them.
    fn note_whole_window(&mut self, requests: u32) -> bool {
        if self.requests == 0 {
            return self.note_open_window(requests);
        }
        if self.reported_mid_window {
            let requests = self.requests.max(requests);
            *self = Self { requests, reported_mid_window: false, has_changed: false, ..*self };
            return false;
        }
        let is_other = requests >= self.requests.saturating_mul(2) || requests <= self.requests / 2;
        let tells = is_other && self.has_changed;
        self.has_changed = is_other && !tells;
        if tells {
            // 0 means that the foreign requests have ended. If they begin again, they are reported again.
            self.requests = if requests >= MIN_REPORTED { requests } else { 0 };
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_requests_are_reported_once_and_again_after_two_windows_with_another_number() {
        let mut notice = ForeignNotice::default();
        assert!(!notice.note_open_window(4), "too few for a report");
        assert!(notice.note_open_window(7));
        assert!(!notice.note_open_window(40), "reported before, and the window is not over");
        assert!(!notice.note_whole_window(60), "the final number of a window that was reported before its end");
        for requests in [60, 55, 70, 119, 40] {
            assert!(!notice.note_whole_window(requests), "{requests} is about the same as 60");
        }
        assert!(!notice.note_whole_window(130), "only one window has so many");
        assert!(!notice.note_whole_window(60));
        assert!(!notice.note_whole_window(130));
        assert!(notice.note_whole_window(125), "the second window with twice as many");
        assert!(!notice.note_whole_window(10));
        assert!(notice.note_whole_window(10), "the second window with much fewer");
        assert!(!notice.note_whole_window(0));
        assert!(notice.note_whole_window(0), "it has ended");
        assert!(!notice.note_whole_window(0) && !notice.note_whole_window(3));
        assert!(notice.note_open_window(9), "it has begun again");
    }

    #[test]
    fn a_report_of_an_earlier_process_is_not_repeated() {
        let mut notice = ForeignNotice::remembered(60);
        assert!(!notice.note_open_window(60) && !notice.note_whole_window(62) && !notice.note_whole_window(45));
        assert!(!notice.note_whole_window(150) && notice.note_whole_window(150));
    }

    #[test]
    fn a_window_counts_as_whole_once_it_has_ended() {
        let found = |windows, before, so_far| ForeignRequests { windows, before, so_far };
        let mut notice = ForeignNotice::default();
        assert_eq!(notice.note(found(0, 0, 4)), None);
        assert_eq!(notice.note(found(0, 0, 6)), Some(ForeignReport::Heavy { requests: 6 }));
        assert_eq!(notice.note(found(1, 60, 0)), None, "the window had 60, but was reported already");
        assert_eq!((notice.requests(), notice.note(found(2, 0, 0)), notice.note(found(2, 0, 0))), (60, None, None));
        assert_eq!(notice.note(found(3, 0, 0)), Some(ForeignReport::Ended));
    }
}
