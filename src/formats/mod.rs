//! Message -> payload: pure, nothing is sent here.

mod one_line;

pub use one_line::one_line;

/// How a message is handed on: `format` of a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The API's message object exactly as it came.
    #[default]
    Message,
}

/// What a sink sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its media type.
    pub content_type: &'static str,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Format {
    /// The payload for a message, given its JSON text as the API sent it.
    pub fn payload(self, raw: Box<str>) -> Payload {
        match self {
            Self::Message => Payload { content_type: "application/json", body: raw.into_string().into_bytes() },
        }
    }

    /// The same as one line, without its end.
    pub fn line(self, raw: &str) -> Payload {
        match self {
            Self::Message => Payload { content_type: "application/json", body: one_line(raw).into_bytes() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_IT_CAME: &str =
        "{ \"id\" : \"m1\",\n\t\"n\": 12345678901234567890.10, \"x\":\"\\u0000 \u{1f600}\",\r\n \"new\": [ 1 ] }";

    #[test]
    fn a_message_is_passed_on_byte_for_byte() {
        let payload = Format::Message.payload(AS_IT_CAME.into());
        assert_eq!(payload, Payload { content_type: "application/json", body: AS_IT_CAME.as_bytes().to_vec() });
    }

    #[test]
    fn a_line_differs_between_tokens_only() {
        let line = Format::Message.line(AS_IT_CAME);
        let expected = "{\"id\":\"m1\",\"n\":12345678901234567890.10,\"x\":\"\\u0000 \u{1f600}\",\"new\":[1]}";
        assert_eq!(String::from_utf8(line.body).unwrap(), expected);
    }
}
