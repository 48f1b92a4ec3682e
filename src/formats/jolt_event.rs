//! The format of the vendor's own webhooks, "Jolt Events v1", for receivers that were written for these webhooks.

use super::fields::{Fields, quoted};
use super::number_event::event_type;
use super::{FormatContext, JSON, Known};
use crate::domain::NumberUse;

pub(super) static FORMAT: Known = Known {
    name: "jolt-event",
    content_type: JSON,
    number_use: NumberUse::Ignored,
    write: |message| write(&message.raw, message.context),
};

/// Makes the event of a message. The event's id is `evt_sms_` followed by the message's id, so it is the same at every
/// attempt and differs between messages. `createdAt` is the message's `ingestedAt`, or else its `receivedAt`. `otp` is
/// the code that the vendor or the operator's pattern found in the message. A field that the message does not have is
/// null.
fn write(raw: &str, FormatContext { account, codes }: &FormatContext) -> String {
    let message = Fields::of(raw);
    if let Some(kind) = event_type(&message) {
        return write_number_event(&message, &kind, account);
    }
    let created = match message.json("ingestedAt") {
        "null" => message.json("receivedAt"),
        ingested => ingested,
    };
    let otp = match codes.find(raw) {
        Some(code) if message.text("parsedCode").as_ref() != Some(&code) => quoted(&code),
        // The vendor's code stays as the API spelled it.
        _ => message.json("parsedCode").to_owned(),
    };
    format!(
        r#"{{"id":{},"type":"sms.received","createdAt":{created},"accountId":{},"numberId":{},"data":{{"messageId":{},"from":{},"to":{},"body":{},"otp":{},"receivedAt":{}}}}}"#,
        quoted(&format!("evt_sms_{}", message.id())),
        quoted(account),
        message.json("numberId"),
        message.json("id"),
        message.json("from"),
        message.json("to"),
        message.json("body"),
        otp,
        message.json("receivedAt"),
    )
}

/// Makes the vendor's form of an event of a number. `event`: the event in the form in which ingest made it.
fn write_number_event(event: &Fields<'_>, kind: &str, account: &str) -> String {
    format!(
        r#"{{"id":{},"type":{},"createdAt":{},"accountId":{},"numberId":{},"data":{}}}"#,
        event.json("id"),
        quoted(kind),
        event.json("createdAt"),
        quoted(account),
        event.json("numberId"),
        event.json("data"),
    )
}
