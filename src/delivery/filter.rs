//! The keys of `[sinks.NAME.filter]`, which is one filter or an array of filters, and how these keys are read.
//!
//! Each pattern is compiled by itself here, so that an invalid pattern is a configuration error, reported with its
//! line.

use crate::domain::filter::{Clause, Filter, Globs, InvalidPattern, Regexes};
use crate::settings::{self, Declared, DeclaredKey, Reader, Settings, Texts, WrittenText, settings};

settings! {
    /// The conditions of a filter, or of its `exclude`.
    struct Conditions {
        /// The receiving phone number: a shell pattern.
        to: Option<Texts> = settings::texts(true),
        /// The sender: a shell pattern.
        from: Option<Texts> = settings::texts(true),
        /// The text: a regular expression.
        body: Option<Texts> = settings::texts(false),
        /// Whether the message has a one-time code: one that the API found, or one that codes.pattern finds.
        has_code: Option<bool> = settings::optional_boolean(),
        /// The service that the number is rented for: a shell pattern.
        service: Option<Texts> = settings::texts(true),
        /// Any of the number's tags: a shell pattern.
        tags: Option<Texts> = settings::texts(true),
    }
}

/// A filter as it is written. It lets a message through that meets all `conditions`, unless the message also meets all
/// conditions of `exclude`.
struct Written {
    conditions: Conditions,
    exclude: Option<Conditions>,
}

impl Settings for Written {
    fn keys() -> Vec<DeclaredKey> {
        let mut keys = Conditions::keys();
        settings::table::<Conditions>().add_to(
            &mut keys,
            "exclude",
            "Conditions with the same keys: a message that meets all of them is left out.",
        );
        keys
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let conditions = Conditions::read(from);
        let is_written = from.all_written("exclude").next().is_some();
        Self { conditions, exclude: is_written.then(|| Conditions::read(&mut from.inside("exclude"))) }
    }
}

/// Declares the key `filter` of a sink, which says which messages the sink wants. `None`: all messages.
pub fn filter() -> Declared<Option<Filter>> {
    settings::tables::<Written, _>(read).lines(&[
        r#"filter = { to = ["+1650*"], from = "+1800*", body = "(?i)code", has_code = true, service = "PayPal", tags = ["prod"] }"#,
        r#"filter = { exclude = { from = ["+19005550000"], body = "(?i)unsubscribe" } }"#,
    ])
}

fn read(from: &mut Reader<'_>, name: &str) -> Option<Filter> {
    let elements = from.elements(name);
    let own = from.all_written(name).next();
    if elements.is_empty() {
        own?;
        return Some(Filter::any_of(vec![clause(&mut from.inside(name))]));
    }
    if let Some((key, entry)) = own {
        let message = format!("`{}` cannot be set by a variable: the file has an array of filters", from.name(key));
        from.error(&entry.origin, message, "");
    }
    let mut filter = from.inside(name);
    Some(Filter::any_of(elements.iter().map(|table| clause(&mut filter.of(table))).collect()))
}

fn clause(at: &mut Reader<'_>) -> Clause {
    let Written { conditions, exclude } = Written::read(at);
    let clause = conditions.compile(at);
    let exclude = exclude.map(|exclude| Box::new(exclude.compile(&mut at.inside("exclude"))));
    if at.all_written("").next().is_none() && at.is_complete() {
        let help = "remove it, or say what is wanted, such as from = [\"+1800*\"]";
        at.wrong("", at.place(), "has no keys: it would take every message", help);
    }
    Clause { exclude, ..clause }
}

impl Conditions {
    fn compile(self, at: &mut Reader<'_>) -> Clause {
        let Self { to, from, body, has_code, service, tags } = self;
        warn_of_numbers_without_plus(at, to.as_ref());
        Clause {
            to: globs(at, "to", to),
            from: globs(at, "from", from),
            body: regexes(at, "body", body),
            has_code,
            service: globs(at, "service", service),
            tags: globs(at, "tags", tags),
            exclude: None,
        }
    }
}

/// Warns of whole phone numbers in `to` whose `+` is missing.
fn warn_of_numbers_without_plus(at: &mut Reader<'_>, to: Option<&Texts>) {
    for text in to.iter().flat_map(|to| &to.texts).filter(|text| Filter::lacks_plus(text.as_str())) {
        let shown = if at.may_show(text) { format!(" = \"{}\"", text.as_str()) } else { String::new() };
        let message = format!("`{}`{shown} matches no number, since each begins with `+`", at.name("to"));
        at.warn(&text.origin, message, "write the number with its `+`");
    }
}

fn globs(at: &mut Reader<'_>, key: &str, written: Option<Texts>) -> Option<Globs> {
    let patterns = patterns(at, key, written, Globs::check)?;
    Globs::new(patterns.iter().map(WrittenText::as_str)).ok()
}

fn regexes(at: &mut Reader<'_>, key: &str, written: Option<Texts>) -> Option<Regexes> {
    let patterns = patterns(at, key, written, Regexes::check)?;
    let compiled = Regexes::new(patterns.iter().map(WrittenText::as_str));
    match (compiled, patterns.first()) {
        (Ok(compiled), _) => Some(compiled),
        // Each pattern is valid, but all patterns together are too large.
        (Err(error), Some(first)) => {
            let message = format!("`{}`: all patterns together: {error}", at.name(key));
            at.error(&first.origin, message, "");
            None
        }
        (Err(_), None) => None,
    }
}

/// Returns the patterns that were written for a key, if all of them are valid. Invalid patterns are reported.
fn patterns(
    at: &mut Reader<'_>,
    key: &str,
    written: Option<Texts>,
    check: impl Fn(&str) -> Result<(), InvalidPattern>,
) -> Option<Vec<WrittenText>> {
    let Texts { origin, texts, mut whole, is_empty_array } = written?;
    if is_empty_array {
        at.wrong(key, &origin, "is an empty list: it would match nothing", "");
        return None;
    }
    for text in &texts {
        if let Err(error) = check(text.as_str()) {
            at.refuse(key, text, &format!("is no pattern: {error}"), "");
            whole = false;
        }
    }
    whole.then_some(texts)
}
