//! Makes the e-mail for a message.

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::address::{Address, AddressError};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};

use super::SmtpTarget;
use super::address::MailAddress;
use crate::domain::UnixMs;
use crate::sinks::Outgoing;
use crate::sinks::http::webhook_id::webhook_id;

/// The longest subject, in characters. A longer subject is cut.
const LONGEST_SUBJECT: usize = 200;

/// Makes the e-mail for a message. `now`: the date of the e-mail.
///
/// # Errors
/// The reason why the message cannot become an e-mail.
pub(super) fn mail(target: &SmtpTarget, outgoing: Outgoing, now: UnixMs) -> Result<Message, String> {
    let subject = target.subject.render(&outgoing.message, None).map_err(|mistake| format!("subject: {mistake}"))?;
    let subject: String = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let subject: String = subject.chars().take(LONGEST_SUBJECT).collect();
    let content_type = ContentType::parse(&outgoing.content_type);
    let content_type = content_type.map_err(|_| "the media type cannot stand in an e-mail".to_owned())?;
    let id = format!("<{}@{}>", webhook_id(&outgoing.id), target.from.domain);
    let date = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or_default());
    // Without this header some mailboxes send an automatic reply, for example that their owner is away.
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut builder: MessageBuilder = Message::builder()
        .from(mailbox(&target.from)?)
        .date(date)
        .subject(subject)
        .message_id(Some(id))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .header(content_type);
    for recipient in &target.to {
        builder = builder.to(mailbox(recipient)?);
    }
    let made = match String::from_utf8(outgoing.body) {
        Ok(text) => builder.body(text),
        Err(bytes) => builder.body(bytes.into_bytes()),
    };
    made.map_err(|error| error.to_string())
}

fn mailbox(address: &MailAddress) -> Result<Mailbox, String> {
    let MailAddress { name, user, domain } = address;
    let parsed: Result<Address, AddressError> = Address::new(user, domain);
    Ok(Mailbox::new(name.clone(), parsed.map_err(|error| format!("an address cannot be used: {error}"))?))
}
