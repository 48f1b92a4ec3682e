//! When it is told that other programs use the same API key. Pure.
//!
//! It is told once and remembered in the state, so that several relays on one key do not tell it at each start. It is told
//! again when it has changed much: to twice as much or half of it, in two windows of the API one after the other.

/// Fewer requests are nothing that anybody wonders at.
const HEAVY: u32 = 5;

/// What was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ForeignTold {
    /// Requests a minute when it was last told; 0 = never.
    pub(super) requests: u32,
    /// A first finding is part of a window: the first whole window corrects it in silence.
    in_part: bool,
    /// The whole window before had changed already.
    changed: bool,
}

impl ForeignTold {
    /// As an earlier process has remembered it.
    pub(super) fn remembered(requests: u32) -> Self {
        Self { requests, in_part: false, changed: false }
    }

    /// Takes note of what was found in a window so far, in requests a minute. Whether to tell of it.
    pub(super) fn found(&mut self, so_far: u32) -> bool {
        let first = self.requests == 0 && so_far >= HEAVY;
        if first {
            *self = Self { requests: so_far, in_part: true, changed: false };
        }
        first
    }

    /// Takes note of a whole window. Whether to tell of it.
    pub(super) fn whole(&mut self, requests: u32) -> bool {
        if self.requests == 0 {
            return self.found(requests);
        }
        if self.in_part {
            *self = Self::remembered(self.requests.max(requests));
            return false;
        }
        let is_other = requests >= self.requests.saturating_mul(2) || requests <= self.requests / 2;
        let tells = is_other && self.changed;
        self.changed = is_other && !tells;
        if tells {
            // What has ended is new when it begins again.
            self.requests = if requests >= HEAVY { requests } else { 0 };
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_and_again_when_it_changed_much() {
        let mut told = ForeignTold::default();
        assert!(!told.found(4), "nothing that anybody wonders at");
        assert!(told.found(7));
        assert!(!told.found(40), "it goes on");
        assert!(!told.whole(60), "now the number is known");
        for requests in [60, 55, 70, 119, 40] {
            assert!(!told.whole(requests), "{requests} is about the same as 60");
        }
        assert!(!told.whole(130), "once may be chance");
        assert!(!told.whole(60));
        assert!(!told.whole(130));
        assert!(told.whole(125), "twice as much");
        assert!(!told.whole(10));
        assert!(told.whole(10), "much less");
        assert!(!told.whole(0));
        assert!(told.whole(0), "it has ended");
        assert!(!told.whole(0) && !told.whole(3));
        assert!(told.found(9), "it has begun again");
    }

    #[test]
    fn what_an_earlier_process_has_told_is_not_told_again() {
        let mut told = ForeignTold::remembered(60);
        assert!(!told.found(60) && !told.whole(62) && !told.whole(45));
        assert!(!told.whole(150) && told.whole(150));
    }
}
