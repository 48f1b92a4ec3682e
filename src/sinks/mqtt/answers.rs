//! Decides what the answers of a broker mean. Pure.

use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, PubAckReason, PubRecReason};

use crate::sinks::Attempt;
use crate::sinks::server::failed;

/// How a broker took a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledgement {
    /// The broker has the message.
    Taken,
    /// The broker has the message, and nobody to give it to.
    WithoutSubscribers,
}

/// The answer to a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The answer of QoS 1.
    Acknowledged(PubAckReason),
    /// The answer of QoS 2, which says whether the broker takes the message.
    Received(PubRecReason),
    /// The message is longer than the broker takes, in bytes.
    TooLong { most: u32 },
    /// There will be no answer. The text tells why, in words.
    Lost(String),
}

/// Decides what an answer to a publication means.
///
/// # Errors
/// The attempt that ends with this answer, if the broker does not have the message.
pub(super) fn acknowledgement(answer: Answer) -> Result<Acknowledgement, Attempt> {
    use {PubAckReason as Ack, PubRecReason as Rec};
    let refused = |words: &str| failed(format!("the broker refuses the message: {words}"));
    let rejected =
        |words: &str| Attempt::Rejected { status: None, answer: format!("the broker refuses the message: {words}") };
    Err(match answer {
        Answer::Acknowledged(Ack::Success) | Answer::Received(Rec::Success) => return Ok(Acknowledgement::Taken),
        Answer::Acknowledged(Ack::NoMatchingSubscribers) | Answer::Received(Rec::NoMatchingSubscribers) => {
            return Ok(Acknowledgement::WithoutSubscribers);
        }
        Answer::Acknowledged(Ack::QuotaExceeded) | Answer::Received(Rec::QuotaExceeded) => {
            Attempt::Busy { answer: "the broker refuses the message: quota exceeded".to_owned() }
        }
        Answer::Acknowledged(Ack::TopicNameInvalid) | Answer::Received(Rec::TopicNameInvalid) => {
            rejected("topic name invalid")
        }
        Answer::Acknowledged(Ack::PayloadFormatInvalid) | Answer::Received(Rec::PayloadFormatInvalid) => {
            rejected("payload format invalid")
        }
        Answer::Acknowledged(Ack::NotAuthorized) | Answer::Received(Rec::NotAuthorized) => {
            refused("not authorized for the topic")
        }
        Answer::Acknowledged(Ack::PacketIdentifierInUse) | Answer::Received(Rec::PacketIdentifierInUse) => {
            refused("packet identifier in use")
        }
        Answer::Acknowledged(Ack::ImplementationSpecificError | Ack::UnspecifiedError)
        | Answer::Received(Rec::ImplementationSpecificError | Rec::UnspecifiedError) => refused("unspecified error"),
        Answer::TooLong { most } => {
            Attempt::Rejected { status: None, answer: format!("longer than the {most} bytes that the broker takes") }
        }
        Answer::Lost(why) => failed(why),
    })
}

/// Decides what the answer to a login means.
///
/// # Errors
/// The attempt that ends with this answer, if the broker does not let the relay in.
pub(super) fn login(code: ConnectReturnCode) -> Result<(), Attempt> {
    use ConnectReturnCode as Code;
    let words = |words: &str| format!("the broker refuses the login: {words}");
    let gone = |reason: &str| Attempt::Gone { status: None, answer: words(reason) };
    Err(match code {
        Code::Success => return Ok(()),
        Code::BadUserNamePassword => gone("bad user name or password"),
        Code::NotAuthorized => gone("not authorized"),
        Code::Banned => gone("banned"),
        Code::BadAuthenticationMethod => gone("bad authentication method"),
        Code::BadClientId | Code::ClientIdentifierNotValid => gone("client_id not valid"),
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => gone("it does not speak MQTT 5"),
        Code::ServerMoved => gone("server moved"),
        Code::ServerBusy => Attempt::Busy { answer: words("server busy") },
        Code::QuotaExceeded => Attempt::Busy { answer: words("quota exceeded") },
        Code::ConnectionRateExceeded => Attempt::Busy { answer: words("connection rate exceeded") },
        Code::ServerUnavailable | Code::ServiceUnavailable => failed(words("server unavailable")),
        Code::UseAnotherServer => failed(words("use another server")),
        other => failed(words(&format!("{other:?}"))),
    })
}

/// The words for a connection that the broker closes with a reason.
pub(super) fn disconnected(reason: DisconnectReasonCode) -> String {
    use DisconnectReasonCode as Reason;
    let words = match reason {
        Reason::SessionTakenOver => "another client uses the same client_id",
        Reason::ServerShuttingDown => "it shuts down",
        Reason::NotAuthorized => "not authorized",
        Reason::QuotaExceeded => "quota exceeded",
        Reason::PacketTooLarge => "packet too large",
        Reason::RetainNotSupported => "it keeps no messages: set `retain` to false",
        Reason::AdministrativeAction => "an administrator closed it",
        Reason::KeepAliveTimeout => "it heard nothing for too long",
        other => return format!("the broker closes the connection: {other:?}"),
    };
    format!("the broker closes the connection: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(attempt: &Attempt) -> &'static str {
        match attempt {
            Attempt::Accepted { .. } | Attempt::Closed => "-",
            Attempt::Failed { .. } => "failed",
            Attempt::Busy { .. } => "busy",
            Attempt::Rejected { .. } => "rejected",
            Attempt::Gone { .. } => "gone",
        }
    }

    #[test]
    fn answers_to_publications() {
        use PubAckReason as Ack;
        assert_eq!(acknowledgement(Answer::Acknowledged(Ack::Success)), Ok(Acknowledgement::Taken));
        let nobody = Answer::Acknowledged(Ack::NoMatchingSubscribers);
        assert_eq!(acknowledgement(nobody), Ok(Acknowledgement::WithoutSubscribers));
        assert_eq!(acknowledgement(Answer::Received(PubRecReason::Success)), Ok(Acknowledgement::Taken));
        for (answer, expected) in [
            (Answer::Acknowledged(Ack::QuotaExceeded), "busy"),
            (Answer::Acknowledged(Ack::NotAuthorized), "failed"),
            (Answer::Acknowledged(Ack::UnspecifiedError), "failed"),
            (Answer::Acknowledged(Ack::TopicNameInvalid), "rejected"),
            (Answer::Received(PubRecReason::PayloadFormatInvalid), "rejected"),
            (Answer::Received(PubRecReason::QuotaExceeded), "busy"),
            (Answer::TooLong { most: 10 }, "rejected"),
            (Answer::Lost("x".to_owned()), "failed"),
        ] {
            assert_eq!(kind(&acknowledgement(answer.clone()).unwrap_err()), expected, "{answer:?}");
        }
    }

    #[test]
    fn answers_to_logins() {
        use ConnectReturnCode as Code;
        assert_eq!(login(Code::Success), Ok(()));
        for (code, expected) in [
            (Code::NotAuthorized, "gone"),
            (Code::BadUserNamePassword, "gone"),
            (Code::Banned, "gone"),
            (Code::ServerBusy, "busy"),
            (Code::ConnectionRateExceeded, "busy"),
            (Code::ServerUnavailable, "failed"),
            (Code::UnspecifiedError, "failed"),
        ] {
            assert_eq!(kind(&login(code).unwrap_err()), expected, "{code:?}");
        }
    }
}
