//! Templates: texts with placeholders such as `{{ message.body }}`, in the language of Jinja. The format `template`
//! makes payloads with templates, and some sinks make addresses and subjects with them.
//!
//! Invariants:
//!
//! - A name that does not exist is a mistake. It does not become an empty text.
//! - Values are escaped for the media type, so that a part of a message cannot change the rest of the output.
//! - The work and the memory of one rendering are limited (`FUEL`).
//! - No error repeats any part of a message.

mod context;
mod escaping;

use std::fmt;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use serde::de::IgnoredAny;

pub use self::escaping::{Escaping, text_on_one_line};
use crate::codes::CodeFinder;

/// The approximate limit on the steps of one rendering. Ordinary templates take a few hundred steps. Long texts cost
/// further steps, one for about 64 bytes. So a rendering also takes no more than about 16 MB of memory.
const FUEL: u64 = 250_000;

/// The words for an undefined value that has no name in the template.
const NO_RESULT: &str = "a filter or a function on this line has no result, such as `last` of an empty list; \
                         `| default(\"…\")` names another value";

/// The words for a failed operation, if minijinja's own words may repeat a value of the message.
const UNFIT_VALUE: &str = "a filter, a function or an operator on this line cannot use the value that it gets";

/// If a text of minijinja about a failed operation begins with one of these texts, it names only types and operators,
/// and repeats no value.
const NAME_NO_VALUE: [&str; 6] = [
    "tried to use ",
    "value of type ",
    "strings can only be multiplied ",
    "sequences and iterables can only be multiplied ",
    "cannot perform a containment check ",
    "cannot slice ",
];

/// The name of the template in its minijinja environment.
const NAME: &str = "template";

/// A template that can be rendered.
pub struct Template {
    environment: Environment<'static>,
    source: String,
    content_type: String,
    account: Arc<str>,
    codes: CodeFinder,
    escaping: Escaping,
    needs_number: bool,
}

/// A mistake in a template, and the line of the mistake if that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The mistake, in words that follow the name of the key.
    pub wrong: String,
    /// Whether the output should be JSON, but is not.
    pub is_no_json: bool,
}

impl Template {
    /// Reads a template whose output has this media type. `as_line` says that the output goes to a stream of lines, so
    /// values in plain text get no line breaks or other control characters.
    ///
    /// # Errors
    /// A mistake in the syntax, or a mistake that was found when the template was tried with two sample messages: a
    /// message that has everything, and a message that has only an id.
    pub fn new(source: &str, content_type: &str, account: Arc<str>, as_line: bool) -> Result<Self, Mistake> {
        Self::with_escaping(source, content_type, account, Escaping::of(content_type, as_line))
    }

    /// Reads a template for an address or a subject. Values are escaped with `escaping`. The template can show the
    /// message, but neither details of its number nor the account.
    ///
    /// # Errors
    /// The errors of [`Template::new`], and a mistake if the template shows details of the number or the account.
    pub fn of_message(source: &str, escaping: Escaping) -> Result<Self, Mistake> {
        let template = Self::with_escaping(source, "text/plain", "".into(), escaping)?;
        let unknown = |what: &str| {
            Err(Mistake { line: None, wrong: format!("can show the message only, not {what}"), is_no_json: false })
        };
        if template.needs_number {
            return unknown("details of the number");
        }
        if template.names("account") {
            return unknown("the account");
        }
        Ok(template)
    }

    fn with_escaping(source: &str, content_type: &str, account: Arc<str>, escaping: Escaping) -> Result<Self, Mistake> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // With any auto-escape other than `None`, minijinja marks the output of blocks and macros as already escaped,
        // so the formatter below does not escape it again. The text "by media type" has no meaning.
        environment.set_auto_escape_callback(|_| AutoEscape::Custom("by media type".into()));
        environment.set_formatter(move |out, _, value| {
            if value.is_undefined() || value.is_none() {
                out.write_str(escaping.of_nothing())?;
                return Ok(());
            }
            match value.as_str() {
                Some(text) if value.is_safe() => out.write_str(text)?,
                Some(text) => out.write_str(&escaping.escape(text))?,
                None => out.write_str(&escaping.escape(&value.to_string()))?,
            }
            Ok(())
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| Mistake::from(&error))?;
        let (source, content_type) = (source.to_owned(), content_type.to_owned());
        let codes = CodeFinder::default();
        let mut template = Self { environment, source, content_type, account, codes, escaping, needs_number: false };
        for (sample, raw, number) in context::SAMPLES {
            template
                .render(raw, number)
                .map_err(|mistake| Mistake { wrong: format!("{} (tried with {sample})", mistake.wrong), ..mistake })?;
        }
        template.needs_number = template.names_details() || template.shows_details();
        Ok(template)
    }

    /// Lets `codes` find the value of `message.code`.
    pub fn with_codes(self, codes: CodeFinder) -> Self {
        Self { codes, ..self }
    }

    /// Returns the media type of the output.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Whether the output is JSON.
    pub fn makes_json(&self) -> bool {
        self.escaping == Escaping::Json
    }

    /// Whether the template shows details of the number that the message itself does not contain.
    pub fn needs_number(&self) -> bool {
        self.needs_number
    }

    /// Returns the outputs for the sample messages with which every template is tried.
    pub fn samples(&self) -> Vec<String> {
        context::SAMPLES.iter().filter_map(|(_, raw, number)| self.render(raw, *number).ok()).collect()
    }

    /// Whether the template names details of the number anywhere, even in a branch that the sample messages do not
    /// take. `number` as a whole counts as details.
    fn names_details(&self) -> bool {
        let template = self.environment.get_template(NAME);
        template.is_ok_and(|template| template.undeclared_variables(true).iter().any(|name| context::is_detail(name)))
    }

    /// Whether details of the number change the output for a sample message. This also finds details in a template that
    /// has a variable of its own with the name `number`, such as `{% set number = number %}`. `names_details` misses
    /// these.
    fn shows_details(&self) -> bool {
        context::SAMPLES.iter().any(|(_, raw, number)| self.render(raw, *number) != self.render(raw, None))
    }

    /// Whether the template uses the name.
    fn names(&self, name: &str) -> bool {
        self.environment.get_template(NAME).is_ok_and(|template| template.undeclared_variables(false).contains(name))
    }

    /// Makes the output for a message. `raw` is the message's JSON text. `number` is the JSON object of the message's
    /// number in the API's list of numbers, if it is known.
    ///
    /// # Errors
    /// A mistake that the sample messages did not show, but that this message shows.
    pub fn render(&self, raw: &str, number: Option<&str>) -> Result<String, Mistake> {
        let context = context::of(raw, number, &self.account, &self.codes).ok_or_else(|| Mistake {
            line: None,
            wrong: "the message is no JSON object that the template could read".to_owned(),
            is_no_json: false,
        })?;
        let template = self.environment.get_template(NAME).map_err(|error| Mistake::from(&error))?;
        let made = template.render(context).map_err(|error| Mistake::from(&error))?;
        if let Err(error) = self.check_json(&made) {
            let wrong = format!(
                "makes no valid JSON: an error at line {} column {} of its output; in JSON, write \"{{{{ message.body \
                 }}}}\" inside a text and {{{{ message.body | tojson }}}} for a whole value, or set another content_type",
                error.line(),
                error.column()
            );
            return Err(Mistake { line: None, wrong, is_no_json: true });
        }
        Ok(made)
    }
}

impl Template {
    /// Checks that the output is valid JSON, if the output should be JSON.
    fn check_json(&self, made: &str) -> Result<(), serde_json::Error> {
        match self.escaping {
            Escaping::Json => serde_json::from_str::<IgnoredAny>(made).map(drop),
            // The values follow each other. The separator of `json-seq` may stand before each value.
            Escaping::JsonLines => {
                let values = made.replace('\u{1e}', " ");
                serde_json::Deserializer::from_str(&values)
                    .into_iter::<IgnoredAny>()
                    .try_for_each(|value| value.map(drop))
            }
            _ => Ok(()),
        }
    }
}

impl From<&Error> for Mistake {
    fn from(error: &Error) -> Self {
        // The detail of an invalid operation may repeat a value of the message. It is shown only if it begins with one
        // of the texts in `NAME_NO_VALUE`.
        let names_no_value = |detail: &&str| NAME_NO_VALUE.iter().any(|beginning| detail.starts_with(beginning));
        let told = match error.kind() {
            // An undefined value that has no name is the result of a filter or a function.
            ErrorKind::UndefinedError if error.detail().is_none() => Some(NO_RESULT),
            ErrorKind::UndefinedError
            | ErrorKind::SyntaxError
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownMethod => error.detail(),
            ErrorKind::InvalidOperation => error.detail().filter(names_no_value).or(Some(UNFIT_VALUE)),
            ErrorKind::OutOfFuel => Some("it takes too many steps or makes too long a text"),
            _ => None,
        };
        let kind = error.kind();
        let wrong = match told {
            Some(detail) if kind == ErrorKind::OutOfFuel => detail.to_owned(),
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        };
        Self { line: error.line(), wrong, is_no_json: false }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "line {line}: {}", self.wrong),
            None => out.write_str(&self.wrong),
        }
    }
}

/// Hides the text, because a template may contain a secret, such as a token for the receiver.
impl fmt::Debug for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Template({} characters, {})", self.source.chars().count(), self.content_type)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, &self.content_type, &self.account, &self.codes, self.escaping)
            == (&other.source, &other.content_type, &other.account, &other.codes, other.escaping)
    }
}
