//! The fields of a message and of its number that filters read, and that sinks show.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::surrogates::mended;

/// The details of a number, as `GET /v1/numbers` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Details<'a> {
    /// The relay has not read the details of the number yet.
    Unknown,
    /// The API's list does not contain the number, or the message names no number. So there is no service and there are
    /// no tags.
    Absent,
    /// The JSON object as it came.
    Known(&'a str),
}

/// The fields of one message that filters look at. A field of an unexpected type counts as missing.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    from: Option<Cow<'a, str>>,
    to: Option<Cow<'a, str>>,
    body: Option<Cow<'a, str>>,
    has_parsed_code: bool,
    /// `None` if the details of the number are not known.
    number: Option<NumberFields<'a>>,
}

#[derive(Clone, Debug, Default)]
struct NumberFields<'a> {
    service: Option<Cow<'a, str>>,
    tags: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(rename = "parsedCode", borrow)]
    parsed_code: Option<&'a RawValue>,
    #[serde(borrow)]
    number: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Phone<'a> {
    #[serde(rename = "phoneNumber", borrow)]
    phone_number: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ListedNumber<'a> {
    #[serde(rename = "serviceName", borrow)]
    service_name: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

impl<'a> Facts<'a> {
    /// Reads a message's JSON text, and the details of its number.
    pub fn read(raw: &'a str, details: Details<'a>) -> Self {
        let number = match details {
            Details::Unknown => None,
            Details::Absent => Some(NumberFields::default()),
            Details::Known(json) => Some(NumberFields::read(json)),
        };
        let Ok(message) = serde_json::from_str::<MessageFields<'a>>(raw) else {
            return Self { number, ..Self::default() };
        };
        let phone = || {
            let number = serde_json::from_str::<Phone<'a>>(message.number?.get()).ok()?;
            text(number.phone_number)
        };
        Self {
            from: text(message.from),
            to: text(message.to).or_else(phone),
            body: text(message.body),
            // `null`, an empty text and `false` are no code.
            has_parsed_code: message.parsed_code.is_some_and(|code| !matches!(code.get(), "null" | "\"\"" | "false")),
            number,
        }
    }

    /// Whether the details of the number are not known.
    pub fn lacks_details(&self) -> bool {
        self.number.is_none()
    }

    /// The sender.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The number that received the message.
    pub fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// The text.
    pub fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// Whether the API has found a code.
    pub(super) fn has_parsed_code(&self) -> bool {
        self.has_parsed_code
    }

    /// The service of the number. `None` if it is not known; `Some(None)` if the number has no service.
    pub(super) fn service(&self) -> Option<Option<&str>> {
        self.number.as_ref().map(|number| number.service.as_deref())
    }

    /// The tags of the number; `None` if they are not known.
    pub(super) fn tags(&self) -> Option<&[Cow<'a, str>]> {
        self.number.as_ref().map(|number| number.tags.as_slice())
    }
}

impl<'a> NumberFields<'a> {
    fn read(json: &'a str) -> Self {
        let Ok(listed) = serde_json::from_str::<ListedNumber<'a>>(json) else { return Self::default() };
        let tags = listed.tags.and_then(|tags| serde_json::from_str::<Vec<&RawValue>>(tags.get()).ok());
        let tags = tags.unwrap_or_default().into_iter().filter_map(|tag| text(Some(tag))).collect();
        Self { service: text(listed.service_name), tags }
    }
}

fn text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct FieldText<'t>(#[serde(borrow)] Cow<'t, str>);
    let json = value?.get();
    match serde_json::from_str::<FieldText<'_>>(json) {
        Ok(FieldText(text)) => Some(text),
        Err(_) => serde_json::from_str::<String>(&mended(json)).ok().map(Cow::Owned),
    }
}
