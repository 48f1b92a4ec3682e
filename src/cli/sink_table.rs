//! The table of sinks for people, which `status` and `sinks list` print. Pure.
//!
//! Each sink has a line in the table. If there is room, the end of this line says what the sink is doing. If not,
//! further lines below it say this.
//!
//! Invariant: on a terminal of at least 80 columns, every line fits, except a line with one very long word.

use super::screen::{Screen, Tone};
use crate::delivery::{BlockedBy, SinkStatus};
use crate::domain::{PauseReason, UnixMs};
use crate::humanize::{grouped, harmless, span, table, wrapped};
use crate::operator::learned_pace;
use crate::status::next_attempt;
use crate::store::SinkView;

/// The length of the longest name that is shown in its sink's line of the table. A longer name has a line of its own.
const LONGEST_NAME: usize = 20;

/// The indentation of the lines below a sink's line of the table.
const INDENT: &str = "  ";

/// The width of the table in columns, if the output is no terminal.
const USUAL_WIDTH: usize = 80;

/// The head of the last column.
const STATE: &str = "STATE";

/// What a sink is doing.
struct SinkDoing {
    tone: Option<Tone>,
    /// Sentences, the most important first. There may be none.
    parts: Vec<String>,
}

/// Formats a table of sinks. Each sink comes with the report of the running relay, if there is one. With `is_brief`,
/// only one value of the report is shown: the pace that the sink has learned from refusals.
pub(super) fn sinks_table<'a>(
    sinks: impl Iterator<Item = (&'a SinkView, Option<&'a SinkStatus>)>,
    is_brief: bool,
    now: UnixMs,
    screen: &Screen,
) -> String {
    let sinks: Vec<_> = sinks.collect();
    let width = screen.columns.unwrap_or(USUAL_WIDTH);
    let next: Vec<String> = sinks.iter().map(|(view, live)| countdown(view, *live, now)).collect();
    // If no relay sends, no sink has a next attempt, and the column is left out.
    let has_next = !is_brief && next.iter().any(|next| next != "-");
    let row = |((view, _), next): (&(&SinkView, Option<&SinkStatus>), &String)| {
        let name = if is_long(&view.name) { "" } else { &view.name };
        let oldest = view.oldest.map_or_else(|| "-".to_owned(), |oldest| span(now.since(oldest)));
        let mut cells =
            vec![name.to_owned(), grouped(view.waiting), grouped(view.retrying), grouped(view.dead), oldest];
        cells.extend(has_next.then(|| next.clone()));
        // `table` trims the spaces at the end of each line. This last cell keeps them; it is cut off below.
        cells.push(STATE.to_owned());
        cells
    };
    let rows: Vec<Vec<String>> = sinks.iter().zip(&next).map(row).collect();
    let mut head = vec!["SINK", "WAITING", "RETRYING", "DEAD", "OLDEST"];
    head.extend(has_next.then_some("NEXT"));
    head.push(STATE);
    let aligned = table(&head, &rows);
    let mut lines = aligned.lines();
    let mut text = screen.paint(Tone::Faint, lines.next().unwrap_or_default()) + "\n";
    for (line, (view, live)) in lines.zip(sinks) {
        let cells = line.strip_suffix(STATE).unwrap_or(line);
        let doing =
            if is_brief { SinkDoing::brief(view, live, now) } else { SinkDoing::of(view, live, now).for_trace(view) };
        if is_long(&view.name) {
            text += &format!("{}\n", view.name);
        }
        text += &doing.beside(cells, width, screen);
    }
    text
}

fn is_long(name: &str) -> bool {
    name.chars().count() > LONGEST_NAME
}

/// Returns the time until the next attempt, or `-` if none is planned.
fn countdown(view: &SinkView, live: Option<&SinkStatus>, now: UnixMs) -> String {
    match next_attempt(view, live) {
        Some(at) if at > now => span(at.since(now)),
        Some(_) => "now".to_owned(),
        None => "-".to_owned(),
    }
}

impl SinkDoing {
    fn of(view: &SinkView, live: Option<&SinkStatus>, now: UnixMs) -> Self {
        let Some(live) = live.filter(|_| view.pause.is_none() && view.configured) else {
            return Self::brief(view, live, now);
        };
        let (tone, first) = match (live.failing_since, live.blocked_by) {
            // A receiver that refuses requests and asks for silence is not failing.
            (Some(since), Some(BlockedBy::Silence { .. })) => {
                (Tone::Warning, failure("nothing accepted", since, live, now))
            }
            (Some(since), _) => (Tone::Bad, failure("failing", since, live, now)),
            (None, _) if view.waiting > 0 => (Tone::Warning, "sending".to_owned()),
            (None, _) => (Tone::Good, "working".to_owned()),
        };
        let mut parts = vec![first];
        match live.blocked_by {
            Some(BlockedBy::Silence { .. }) => parts.push("the receiver wants silence".to_owned()),
            Some(BlockedBy::Breaker { .. }) => parts.push("one message at a time is tried".to_owned()),
            Some(BlockedBy::Pause(_)) | None => {}
        }
        parts.extend(learned_pace(live));
        if live.in_flight > 0 {
            parts.push(format!("{} under way", live.in_flight));
        }
        if let Some(at) = live.delivered.last_at {
            let count = grouped(live.delivered.count);
            parts.push(format!("{count} delivered since the start, the last one {} ago", span(now.since(at))));
        }
        Self { tone: Some(tone), parts }
    }

    /// Adds the ids of messages that wait after a failure.
    fn for_trace(mut self, view: &SinkView) -> Self {
        if view.retrying > 0 && !view.waiting_ids.is_empty() {
            let ids: Vec<String> = view.waiting_ids.iter().map(|id| harmless(id)).collect();
            self.parts.push(format!("waiting: {} (see `trace`)", ids.join(", ")));
        }
        self
    }

    /// Describes the sink only by its record in the state, and by the pace that it has learned from refusals.
    fn brief(view: &SinkView, live: Option<&SinkStatus>, now: UnixMs) -> Self {
        let (mut tone, mut parts) = (None, Vec::new());
        if !view.configured {
            tone = Some(Tone::Faint);
            parts.push("not configured any more".to_owned());
            if view.waiting + view.dead > 0 {
                let name = &view.name;
                parts.push(format!("configure it again, or give its messages up with `sinks drop {name}`"));
            }
        }
        match view.pause {
            Some(pause) => {
                let (of_pause, why) = match pause.reason {
                    PauseReason::Operator => (Tone::Faint, ""),
                    PauseReason::Gone => (Tone::Bad, ": the receiver is gone"),
                    PauseReason::Closed => (Tone::Bad, ": nobody reads the output"),
                    PauseReason::Disabled => (Tone::Faint, ": enabled = false in the configuration"),
                };
                tone = tone.or(Some(of_pause));
                parts.push(format!("paused for {}{why}", span(now.since(pause.since))));
            }
            None => parts.extend(live.and_then(learned_pace)),
        }
        Self { tone, parts }
    }

    /// Puts the parts after the cells of a line of the table, or below this line if they are too long.
    fn beside(self, cells: &str, width: usize, screen: &Screen) -> String {
        let paint = |text: &str| self.tone.map_or_else(|| text.to_owned(), |tone| screen.paint(tone, text));
        let Some((first, rest)) = self.parts.split_first() else { return format!("{}\n", cells.trim_end()) };
        let room = width.saturating_sub(cells.chars().count());
        let rest = rest.join("; ");
        let joint = if rest.is_empty() { "" } else { "; " };
        if first.chars().count() + joint.len() + rest.chars().count() <= room {
            return format!("{cells}{}{joint}{rest}\n", paint(first));
        }
        let below = width.saturating_sub(INDENT.len());
        let indented = |text: &str, paint: &dyn Fn(&str) -> String| -> String {
            let lines = wrapped(text, below).into_iter().filter(|line| !line.is_empty());
            lines.map(|line| format!("{INDENT}{}\n", paint(&line))).collect()
        };
        let rest = indented(&rest, &str::to_owned);
        if first.chars().count() <= room {
            return format!("{cells}{}\n{rest}", paint(first));
        }
        format!("{}\n{}{rest}", cells.trim_end(), indented(first, &paint))
    }
}

/// Says for how long attempts have failed, and why.
fn failure(what: &str, since: UnixMs, live: &SinkStatus, now: UnixMs) -> String {
    let why = live.last_failure.as_ref().map(|answer| format!(" ({})", harmless(answer))).unwrap_or_default();
    format!("{what} for {}{why}", span(now.since(since)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::DeliveredMessages;
    use crate::store::Pause;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn ago(seconds: i64) -> UnixMs {
        UnixMs(NOW.0 - seconds * 1000)
    }

    fn view(name: &str, waiting: u64, retrying: u64, dead: u64) -> SinkView {
        let oldest = (waiting > 0).then(|| ago(11));
        let waiting_ids = (0..retrying.min(2)).map(|number| format!("msg_{number}")).collect();
        let name = name.into();
        SinkView { name, configured: true, waiting, retrying, dead, oldest, waiting_ids, ..SinkView::default() }
    }

    fn failing(answer: &str, blocked_by: BlockedBy) -> SinkStatus {
        let answer = Some(answer.to_owned());
        SinkStatus {
            failing_since: Some(ago(10)),
            last_failure: answer,
            blocked_by: Some(blocked_by),
            ..SinkStatus::default()
        }
    }

    /// Sinks in all conditions, as a running relay reports them.
    fn sinks() -> Vec<(SinkView, Option<SinkStatus>)> {
        let delivered = DeliveredMessages { count: 1234, last_at: Some(ago(9)) };
        let pause = Pause { reason: PauseReason::Disabled, since: ago(11) };
        vec![
            (view("archive", 0, 0, 60), Some(SinkStatus::default())),
            (view("crm", 0, 0, 0), Some(SinkStatus { delivered, ..SinkStatus::default() })),
            (
                view("helpdesk-eu", 60, 60, 0),
                Some(failing("503 Service Unavailable", BlockedBy::Breaker { next_probe: Some(ago(-9)) })),
            ),
            (SinkView { pause: Some(pause), ..view("night", 60, 0, 0) }, Some(SinkStatus::default())),
            (view("old", 1, 0, 0), None),
            (view("partner", 60, 7, 0), Some(failing("429 Too Many Requests", BlockedBy::Silence { until: ago(-79) }))),
            (
                view("the-name-of-this-sink-is-long", 12, 12, 0),
                Some(failing(&"word ".repeat(31), BlockedBy::Breaker { next_probe: None })),
            ),
        ]
    }

    fn shown(columns: Option<usize>, colored: bool) -> String {
        let sinks = sinks();
        let sinks = sinks.iter().map(|(view, live)| (view, live.as_ref()));
        sinks_table(sinks, false, NOW, &Screen { columns, colored })
    }

    #[test]
    fn the_table_fits_80_columns() {
        let expected = "\
SINK         WAITING  RETRYING  DEAD  OLDEST  NEXT  STATE
archive            0         0    60       -     -  working
crm                0         0     0       -     -  working
  1,234 delivered since the start, the last one 9 s ago
helpdesk-eu       60        60     0    11 s   9 s
  failing for 10 s (503 Service Unavailable)
  one message at a time is tried; waiting: msg_0, msg_1 (see `trace`)
night             60         0     0    11 s     -
  paused for 11 s: enabled = false in the configuration
old                1         0     0    11 s     -
partner           60         7     0    11 s  79 s
  nothing accepted for 10 s (429 Too Many Requests)
  the receiver wants silence; waiting: msg_0, msg_1 (see `trace`)
the-name-of-this-sink-is-long
                  12        12     0    11 s   now
  failing for 10 s (word word word word word word word word word word word word
  word word word word word word word word word word word word word word word
  word word word word )
  one message at a time is tried; waiting: msg_0, msg_1 (see `trace`)
";
        assert_eq!(shown(Some(80), false), expected);
        assert_eq!(shown(None, false), expected, "a pipe");
        assert!(shown(Some(80), false).lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_wide_terminal_has_a_line_for_each_sink() {
        let text = shown(Some(200), false);
        let crm = "crm                0         0     0       -     -  working; 1,234 delivered since the start, the last one 9 s ago\n";
        assert!(text.contains(crm), "{text}");
        assert!(text.contains(
            "11 s   9 s  failing for 10 s (503 Service Unavailable); one message at a time is tried; \
             waiting: msg_0, msg_1 (see `trace`)"
        ));
    }

    #[test]
    fn colours_change_no_word() {
        let colored = shown(Some(80), true);
        assert!(
            colored.contains("\x1b[32mworking\x1b[0m") && colored.contains("\x1b[31mfailing for 10 s"),
            "{colored}"
        );
        let mut plain = colored;
        for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, shown(Some(80), false));
    }
}
