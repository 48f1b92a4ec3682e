//! Formats an event of `tracing` as a line of the log.
//!
//! Invariants: an event is one line, whatever its values contain. Control characters are escaped. Values from outside
//! are cut to 1,000 characters, because ids and answers may have megabytes.

use std::fmt::{self, Debug, Write as _};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::domain::Sanitized;

/// The longest value of a field, in characters.
const LONGEST_VALUE: usize = 1000;

/// The name of the field with all errors of a configuration. Its value may be longer than the values of other fields,
/// because the relay itself writes the errors.
const ERRORS: &str = "errors";

/// The longest value of [`ERRORS`], in characters.
const LONGEST_ERRORS: usize = 20_000;

/// The kind of stream to which the log is written. It decides what stands at the beginning of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogStream {
    /// The stream keeps the line as it is, so the line itself has the time.
    Plain,
    /// systemd's journal, which adds the time to each line. The journal removes a priority in angle brackets from the
    /// beginning of a line (`sd-daemon(3)`), and stores the line with this priority.
    Journal,
}

impl LogStream {
    /// Writes the priority of this level before a line for the journal.
    fn write_priority(self, level: Level, writer: &mut Writer<'_>) -> fmt::Result {
        match self {
            Self::Plain => Ok(()),
            Self::Journal => write!(writer, "<{}>", priority(level)),
        }
    }
}

/// Returns the priority of a level, as `syslog(3)` counts.
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The format of a line for people: time, level, message, and `name=value` for each field. For the journal a priority
/// takes the place of the time.
pub(super) struct TextLine(pub(super) LogStream);

/// The format of a line that is one JSON object. For the journal a priority stands before the object.
pub(super) struct Json(pub(super) LogStream);

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (dim, plain) = if writer.has_ansi_escapes() { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
        let level = *event.metadata().level();
        self.0.write_priority(level, &mut writer)?;
        if self.0 == LogStream::Plain {
            write!(writer, "{dim}")?;
            SystemTime.format_time(&mut writer)?;
            write!(writer, "{plain} ")?;
        }
        let color = if writer.has_ansi_escapes() { color(level) } else { "" };
        write!(writer, "{color}{level:>5}{plain}")?;
        let logged = LoggedEvent::read(event);
        if !logged.message.is_empty() {
            write!(writer, " {}", Sanitized::line(&logged.message))?;
        }
        for (name, value) in &logged.fields {
            write!(writer, " {dim}{name}={plain}")?;
            match value {
                LoggedValue::Quoted(text) => write!(writer, "{}", Sanitized::line(&format_args!("{text:?}")))?,
                LoggedValue::Plain(text) => write!(writer, "{}", Sanitized::line(text))?,
                LoggedValue::Value(value) => write!(writer, "{value}")?,
            }
        }
        writeln!(writer)
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        self.0.write_priority(*event.metadata().level(), &mut writer)?;
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let logged = LoggedEvent::read(event);
        write!(writer, "{{\"timestamp\":\"{time}\",\"level\":\"{}\"", event.metadata().level())?;
        write!(writer, ",\"message\":{}", Sanitized::line(&Value::from(logged.message)))?;
        for (name, value) in logged.fields {
            let value = match value {
                LoggedValue::Quoted(text) | LoggedValue::Plain(text) => Value::from(text),
                LoggedValue::Value(value) => value,
            };
            write!(writer, ",\"{name}\":{}", Sanitized::line(&value))?;
        }
        writeln!(writer, "}}")
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

/// The message and the fields of an event.
#[derive(Default)]
pub(super) struct LoggedEvent {
    pub(super) message: String,
    fields: Vec<(&'static str, LoggedValue)>,
}

enum LoggedValue {
    /// A string. The string is put in quotes in lines for people.
    Quoted(String),
    /// A value that was formatted with `Display` or `Debug`.
    Plain(String),
    /// A number or a boolean.
    Value(Value),
}

impl LoggedEvent {
    /// Reads an event.
    pub(super) fn read(event: &Event<'_>) -> Self {
        let mut logged = Self::default();
        event.record(&mut logged);
        logged
    }

    /// Returns the value of a field that is a text; `None` if the event has no such field.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|(field, _)| *field == name).and_then(|(_, value)| match value {
            LoggedValue::Quoted(text) | LoggedValue::Plain(text) => Some(text.clone()),
            LoggedValue::Value(_) => None,
        })
    }

    fn add(&mut self, field: &Field, value: LoggedValue) {
        // The bridge to the `log` crate adds fields about the place in the source. The log does not need them.
        if !field.name().starts_with("log.") {
            self.fields.push((field.name(), value));
        }
    }
}

impl Visit for LoggedEvent {
    fn record_str(&mut self, field: &Field, value: &str) {
        let longest = if field.name() == ERRORS { LONGEST_ERRORS } else { LONGEST_VALUE };
        self.add(field, LoggedValue::Quoted(Cut::to(longest, format_args!("{value}"))));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = Cut::of(format_args!("{value:?}"));
        if field.name() == "message" { self.message = text } else { self.add(field, LoggedValue::Plain(text)) }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, LoggedValue::Value(value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, LoggedValue::Value(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, LoggedValue::Value(value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, LoggedValue::Value(value.into()));
    }
}

/// A text that is cut to a number of characters.
struct Cut {
    text: String,
    left: usize,
}

impl Cut {
    fn of(value: fmt::Arguments<'_>) -> String {
        Self::to(LONGEST_VALUE, value)
    }

    fn to(longest: usize, value: fmt::Arguments<'_>) -> String {
        let mut cut = Self { text: String::new(), left: longest };
        if cut.write_fmt(value).is_err() {
            cut.text.push('…');
        }
        cut.text
    }
}

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.char_indices().nth(self.left).map(|(at, _)| at);
        self.text.push_str(&text[..end.unwrap_or(text.len())]);
        if end.is_some() {
            return Err(fmt::Error);
        }
        self.left -= text.chars().count();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::domain::acts;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// Writes the same events as text for the journal, as text for a terminal, and as JSON. Returns the three logs.
    fn lines(events: impl Fn()) -> [String; 3] {
        let [text, terminal, json] = std::array::from_fn(|_| Lines::default());
        let layer = || tracing_subscriber::fmt::layer().with_ansi(false);
        let plain = layer().event_format(TextLine(LogStream::Journal)).with_writer(text.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(plain), &events);
        let colored = layer().with_ansi(true).event_format(TextLine(LogStream::Plain)).with_writer(terminal.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(colored), &events);
        let objects = layer().event_format(Json(LogStream::Plain)).with_writer(json.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(objects), &events);
        [text, terminal, json].map(|lines| String::from_utf8(lines.0.lock().unwrap().clone()).unwrap())
    }

    #[test]
    fn a_line_for_the_journal_begins_with_its_priority() {
        let json = Lines::default();
        let events = || {
            tracing::error!("e");
            tracing::warn!("w");
            tracing::info!("i");
            tracing::debug!("d");
            tracing::trace!("t");
        };
        let layer = tracing_subscriber::fmt::layer().event_format(Json(LogStream::Journal)).with_writer(json.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        let json = String::from_utf8(json.0.lock().unwrap().clone()).unwrap();
        let starts: Vec<&str> = json.lines().map(|line| line.split_once('{').unwrap().0).collect();
        assert_eq!(starts, ["<3>", "<4>", "<6>", "<7>", "<7>"]);
        let [text, ..] = lines(events);
        assert_eq!(text, "<3>ERROR e\n<4> WARN w\n<6> INFO i\n<7>DEBUG d\n<7>TRACE t\n");
    }

    #[test]
    fn a_line_has_the_message_and_all_fields() {
        let [text, terminal, json] = lines(|| {
            tracing::warn!(sink.name = "crm", error = %"it's \"down\"", count = 3, share = 0.5, is_head = true, "the sink fails");
        });
        assert_eq!(
            text,
            "<4> WARN the sink fails sink.name=\"crm\" error=it's \"down\" count=3 share=0.5 is_head=true\n"
        );
        assert!(terminal.contains(" \u{1b}[33m WARN\u{1b}[0m the sink fails \u{1b}[2msink.name=\u{1b}[0m\"crm\" "));
        let read: Value = serde_json::from_str(&json).unwrap();
        assert!(json.starts_with("{\"timestamp\":\"2") && json.ends_with("}\n"), "{json}");
        for (name, value) in [
            ("level", Value::from("WARN")),
            ("message", "the sink fails".into()),
            ("sink.name", "crm".into()),
            ("error", "it's \"down\"".into()),
            ("count", 3.into()),
            ("share", 0.5.into()),
            ("is_head", true.into()),
        ] {
            assert_eq!(read[name], value, "{json}");
        }
    }

    #[test]
    fn no_value_steers_a_terminal_and_no_line_is_endless() {
        let evil = "\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\r\n INFO all is well\u{9b}31m\u{202e}\u{2028}\u{7f}";
        let long = "é".repeat(5000);
        let [text, terminal, json] = lines(|| {
            tracing::error!(id = evil, shown = %evil, debug = ?evil, long, "{evil}{}", long);
        });
        for line in [&text, &terminal, &json] {
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.len() < 5 * 2 * LONGEST_VALUE, "{}", line.len());
        }
        for line in [&text, &json] {
            assert!(!line.trim_end_matches('\n').contains(acts), "{line:?}");
        }
        // The relay's own escape sequences set colors. No other escape sequence may remain.
        let own = ["\u{1b}[2m", "\u{1b}[0m", "\u{1b}[31m"].iter().fold(terminal, |line, own| line.replace(own, ""));
        assert!(!own.trim_end_matches('\n').contains(acts), "{own:?}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["id"], evil, "JSON keeps the whole value, with escapes");
        assert_eq!(read["long"].as_str().unwrap().chars().count(), LONGEST_VALUE + 1);
    }
}
