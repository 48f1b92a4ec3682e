//! The format CloudEvents 1.0 in structured mode:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.

use super::Known;
use super::fields::{Fields, quoted};
use super::number_event::event_type;
use crate::domain::{NumberUse, UnixMs};

const CONTENT_TYPE: &str = "application/cloudevents+json";

pub(super) static FORMAT: Known = Known {
    name: "cloudevents",
    content_type: CONTENT_TYPE,
    number_use: NumberUse::Ignored,
    write: |message| write(&message.raw, &message.context.account),
};

/// Makes the event of a message. The event's data is the API's object exactly as it came. Source and id together
/// identify the message, and are the same at every attempt.
fn write(raw: &str, account: &str) -> String {
    let message = Fields::of(raw);
    let kind = event_type(&message).unwrap_or_else(|| "sms.received".to_owned());
    let mut event = format!(
        r#"{{"specversion":"1.0","id":{},"source":{},"type":{}"#,
        quoted(&message.id()),
        quoted(&format!("/joltsms/{account}")),
        quoted(&format!("com.joltsms.{kind}")),
    );
    // An optional attribute must be valid or absent. So a time that is not valid is left out.
    if let Some(time) = message.text("receivedAt").filter(|time| UnixMs::parse(time).is_some()) {
        event += &format!(r#","time":{}"#, quoted(&time));
    }
    if let Some(to) = message.text("to") {
        event += &format!(r#","subject":{}"#, quoted(&to));
    }
    event + r#","datacontenttype":"application/json","data":"# + raw + "}"
}
