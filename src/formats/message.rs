//! The format `message`: the API's message object exactly as it came.

use super::{Format, FormatContext, JSON, Known};
use crate::domain::NumberUse;

pub(super) static FORMAT: Known = Known {
    name: "message",
    content_type: JSON,
    number_use: NumberUse::Ignored,
    write: |message| message.raw.into_string(),
};

/// The format of a sink whose configuration names no format.
impl Default for Format {
    fn default() -> Self {
        Self::Known(&FORMAT, FormatContext::default())
    }
}
