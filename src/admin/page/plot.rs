//! The plots of the last hour, as bars of an SVG. Pure.

use std::time::Duration;

use serde::Serialize;

use super::super::history::{HistoryMinute, MINUTES};
use crate::humanize::{grouped, span};

/// The height of the highest bar, in units of the SVG.
const HEIGHT: f64 = 56.0;

/// The least height of a bar whose value is not zero, so that the bar can be seen.
const LEAST: f64 = 2.0;

/// The distance between two bars, in units of the SVG.
const STEP: usize = 5;

/// A plot with a bar for each minute.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// The plot in one sentence.
    pub(super) summary: String,
    bars: Vec<PlotBar>,
}

#[derive(Debug, PartialEq, Serialize)]
struct PlotBar {
    x: usize,
    /// The upper end of the bar. Like `height`, it has one digit after the decimal point.
    y: String,
    height: String,
    title: String,
}

/// Makes the plot of the requests in each minute.
pub(super) fn requests(minutes: &[HistoryMinute]) -> Plot {
    let values: Vec<Option<f64>> = minutes.iter().map(|minute| Some(float(minute.requests))).collect();
    let (sum, most) =
        (minutes.iter().map(|minute| minute.requests).sum(), minutes.iter().map(|minute| minute.requests).max());
    let summary = format!("{} in the last hour, {} at most in a minute", grouped(sum), grouped(most.unwrap_or(0)));
    Plot { title: "Requests to the API", summary, bars: bars(&values, |value| format!("{value:.0} requests")) }
}

/// Makes the plot of the mean delivery lag in each minute.
pub(super) fn lags(minutes: &[HistoryMinute]) -> Plot {
    let values: Vec<Option<f64>> = minutes.iter().map(HistoryMinute::mean_lag).collect();
    let deliveries: u64 = minutes.iter().map(|minute| minute.deliveries).sum();
    let seconds: f64 = minutes.iter().map(|minute| minute.lag_seconds).sum();
    let summary = if deliveries == 0 {
        "no delivery in the last hour".to_owned()
    } else {
        format!(
            "{} on average, of {} deliveries in the last hour",
            short(seconds / float(deliveries)),
            grouped(deliveries)
        )
    };
    Plot { title: "Delivery lag", summary, bars: bars(&values, |value| format!("{} on average", short(value))) }
}

/// Makes a bar for each value. The last value stands at the right end. `None` leaves the place of a bar empty.
fn bars(values: &[Option<f64>], describe: impl Fn(f64) -> String) -> Vec<PlotBar> {
    let highest = values.iter().flatten().fold(0.0, |highest: f64, value| highest.max(*value));
    let empty = MINUTES.saturating_sub(values.len());
    let bar = |(place, value): (usize, &Option<f64>)| {
        let value = value.filter(|value| *value > 0.0)?;
        let height = (value / highest * HEIGHT).max(LEAST);
        let title = match values.len() - 1 - place {
            0 => format!("this minute: {}", describe(value)),
            ago => format!("{ago} min ago: {}", describe(value)),
        };
        let y = format!("{:.1}", HEIGHT - height);
        Some(PlotBar { x: (empty + place) * STEP, y, height: format!("{height:.1}"), title })
    };
    values.iter().enumerate().filter_map(bar).collect()
}

fn short(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else {
        span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a plot needs no more than 52 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_fills_the_plot_and_the_last_one_stands_at_the_right_end() {
        let minute = |requests| HistoryMinute { requests, ..HistoryMinute::default() };
        let plot = requests(&[minute(60), minute(0), minute(1), minute(30)]);
        let found: Vec<(usize, &str, &str)> =
            plot.bars.iter().map(|bar| (bar.x, bar.y.as_str(), bar.height.as_str())).collect();
        assert_eq!(found, [(280, "0.0", "56.0"), (290, "54.0", "2.0"), (295, "28.0", "28.0")]);
        assert_eq!(plot.bars[0].title, "3 min ago: 60 requests");
        assert_eq!(plot.summary, "91 in the last hour, 60 at most in a minute");
    }

    #[test]
    fn without_deliveries_there_is_no_lag() {
        let plot = lags(&[HistoryMinute::default()]);
        assert_eq!((plot.bars, plot.summary.as_str()), (Vec::new(), "no delivery in the last hour"));
        let minute = HistoryMinute { requests: 0, deliveries: 4, lag_seconds: 6.0 };
        assert_eq!(lags(&[minute]).summary, "1.5 s on average, of 4 deliveries in the last hour");
        let minute = HistoryMinute { requests: 0, deliveries: 2, lag_seconds: 1006.0 };
        assert_eq!(lags(&[minute]).summary, "8 min on average, of 2 deliveries in the last hour");
    }
}
