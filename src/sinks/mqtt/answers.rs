//! Decides what the answers of a broker mean. Pure.

use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, PubAckReason, PubRecReason};

use crate::sinks::Attempt;
use crate::sinks::server::failed;

/// How a broker accepted a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledgement {
    /// The broker has the message.
    Taken,
    /// The broker has the message, but no subscriber for it.
    WithoutSubscribers,
}

/// The answer to a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BrokerAnswer {
    /// The answer of QoS 1 (PUBACK).
    Acknowledged(PubAckReason),
    /// The first answer of QoS 2 (PUBREC), which says whether the broker accepts the message.
    Received(PubRecReason),
    /// The message was not sent, because the broker accepts at most `most` bytes.
    TooLong { most: u32 },
}

/// Decides what an answer to a publication means.
///
/// # Errors
/// How the attempt ends, if the broker has not accepted the message.
pub(super) fn acknowledgement(answer: &BrokerAnswer) -> Result<Acknowledgement, Attempt> {
    use {PubAckReason as Ack, PubRecReason as Rec};
    let refused = |words: &str| failed(format!("the broker refuses the message: {words}"));
    let rejected =
        |words: &str| Attempt::Rejected { status: None, answer: format!("the broker refuses the message: {words}") };
    Err(match answer {
        BrokerAnswer::Acknowledged(Ack::Success) | BrokerAnswer::Received(Rec::Success) => {
            return Ok(Acknowledgement::Taken);
        }
        BrokerAnswer::Acknowledged(Ack::NoMatchingSubscribers) | BrokerAnswer::Received(Rec::NoMatchingSubscribers) => {
            return Ok(Acknowledgement::WithoutSubscribers);
        }
        BrokerAnswer::Acknowledged(Ack::QuotaExceeded) | BrokerAnswer::Received(Rec::QuotaExceeded) => {
            Attempt::Busy { answer: "the broker refuses the message: quota exceeded".to_owned() }
        }
        BrokerAnswer::Acknowledged(Ack::TopicNameInvalid) | BrokerAnswer::Received(Rec::TopicNameInvalid) => {
            rejected("topic name invalid")
        }
        BrokerAnswer::Acknowledged(Ack::PayloadFormatInvalid) | BrokerAnswer::Received(Rec::PayloadFormatInvalid) => {
            rejected("payload format invalid")
        }
        BrokerAnswer::Acknowledged(Ack::NotAuthorized) | BrokerAnswer::Received(Rec::NotAuthorized) => {
            refused("not authorized for the topic")
        }
        BrokerAnswer::Acknowledged(Ack::PacketIdentifierInUse) | BrokerAnswer::Received(Rec::PacketIdentifierInUse) => {
            refused("packet identifier in use")
        }
        BrokerAnswer::Acknowledged(Ack::ImplementationSpecificError | Ack::UnspecifiedError)
        | BrokerAnswer::Received(Rec::ImplementationSpecificError | Rec::UnspecifiedError) => {
            refused("unspecified error")
        }
        BrokerAnswer::TooLong { most } => {
            Attempt::Rejected { status: None, answer: format!("longer than the {most} bytes that the broker takes") }
        }
    })
}

/// Decides what the answer to a login means.
///
/// # Errors
/// The failed attempt, if the broker refuses the login.
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
    use crate::sinks::tests::kind;

    #[test]
    fn answers_to_publications() {
        use PubAckReason as Ack;
        assert_eq!(acknowledgement(&BrokerAnswer::Acknowledged(Ack::Success)), Ok(Acknowledgement::Taken));
        let nobody = BrokerAnswer::Acknowledged(Ack::NoMatchingSubscribers);
        assert_eq!(acknowledgement(&nobody), Ok(Acknowledgement::WithoutSubscribers));
        assert_eq!(acknowledgement(&BrokerAnswer::Received(PubRecReason::Success)), Ok(Acknowledgement::Taken));
        for (answer, expected) in [
            (BrokerAnswer::Acknowledged(Ack::QuotaExceeded), "busy"),
            (BrokerAnswer::Acknowledged(Ack::NotAuthorized), "failed"),
            (BrokerAnswer::Acknowledged(Ack::UnspecifiedError), "failed"),
            (BrokerAnswer::Acknowledged(Ack::TopicNameInvalid), "rejected"),
            (BrokerAnswer::Received(PubRecReason::PayloadFormatInvalid), "rejected"),
            (BrokerAnswer::Received(PubRecReason::QuotaExceeded), "busy"),
            (BrokerAnswer::TooLong { most: 10 }, "rejected"),
        ] {
            assert_eq!(kind(&acknowledgement(&answer).unwrap_err()), expected, "{answer:?}");
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
