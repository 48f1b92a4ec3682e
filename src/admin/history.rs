//! The last hour, minute by minute: how many requests were made, and how late messages were delivered. Pure.

use std::collections::VecDeque;

use crate::metrics::MetricTotals;

/// How many minutes are kept, the present one included.
pub(super) const MINUTES: usize = 60;

/// What happened in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct HistoryMinute {
    /// The number of requests to the API.
    pub(super) requests: u64,
    /// The number of deliveries whose delivery lag is known. The *delivery lag* is the age of the message at the time
    /// when the sink accepted it.
    pub(super) deliveries: u64,
    /// The sum of these delivery lags, in seconds.
    pub(super) lag_seconds: f64,
}

impl HistoryMinute {
    /// Returns the mean delivery lag in seconds; `None` if nothing was delivered.
    pub(super) fn mean_lag(&self) -> Option<f64> {
        let deliveries = u32::try_from(self.deliveries).unwrap_or(u32::MAX);
        (deliveries > 0).then(|| self.lag_seconds / f64::from(deliveries))
    }
}

/// The minutes of the last hour, the oldest first. The last one is the present minute.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    minutes: VecDeque<HistoryMinute>,
    /// The number of the present minute, and the totals at the last observation.
    last: Option<(u64, MetricTotals)>,
}

impl History {
    /// Records the present totals of the metrics. `minute` is the number of the present minute, by a clock that never
    /// goes back.
    pub(super) fn observe(&mut self, minute: u64, totals: MetricTotals) {
        let (last_minute, before) = self.last.unwrap_or((minute, totals));
        let passed = usize::try_from(minute.saturating_sub(last_minute)).unwrap_or(MINUTES).min(MINUTES);
        let missing = if self.minutes.is_empty() { 1 } else { passed };
        self.minutes.extend(std::iter::repeat_n(HistoryMinute::default(), missing));
        while self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
        if let Some(present) = self.minutes.back_mut() {
            present.requests += totals.requests.saturating_sub(before.requests);
            present.deliveries += totals.deliveries.saturating_sub(before.deliveries);
            present.lag_seconds += (totals.lag_seconds - before.lag_seconds).max(0.0);
        }
        self.last = Some((minute.max(last_minute), totals));
    }

    /// Returns the minutes, the oldest first; at most [`MINUTES`].
    pub(super) fn minutes(&self) -> Vec<HistoryMinute> {
        self.minutes.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64, deliveries: u64, lag_seconds: f64) -> MetricTotals {
        MetricTotals { requests, deliveries, lag_seconds }
    }

    #[test]
    fn each_minute_has_what_happened_in_it() {
        let mut history = History::default();
        history.observe(5, totals(10, 1, 1.0));
        history.observe(5, totals(14, 3, 5.0));
        history.observe(6, totals(15, 3, 5.0));
        history.observe(9, totals(20, 4, 5.5));
        let requests: Vec<u64> = history.minutes().iter().map(|minute| minute.requests).collect();
        assert_eq!(requests, [4, 1, 0, 0, 5]);
        let lags: Vec<Option<f64>> = history.minutes().iter().map(HistoryMinute::mean_lag).collect();
        assert_eq!(lags, [Some(2.0), None, None, None, Some(0.5)]);
    }

    #[test]
    fn an_hour_is_kept() {
        let mut history = History::default();
        for minute in 0..200 {
            history.observe(minute, totals(minute * 2, 0, 0.0));
        }
        assert_eq!(history.minutes().len(), MINUTES);
        assert!(history.minutes().iter().all(|minute| minute.requests == 2));
        history.observe(10_000, totals(500, 0, 0.0));
        assert_eq!(history.minutes().iter().map(|minute| minute.requests).sum::<u64>(), 500 - 398);
    }
}
