//! Decides what the errors of the client of Kafka mean. Pure.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::sinks::Attempt;

/// Returns the result of an attempt whose message was not delivered. `code`: the error that the client returned for the
/// message. `last`: the last error that it reported about its connections. `patience`: the time limit of the attempt.
pub(super) fn not_delivered(code: Code, last: Option<Code>, patience: Duration) -> Attempt {
    match (code, last) {
        // The client tries again and again until the time limit, and then reports only that the time is over. The last
        // error of its connections says more.
        (Code::MessageTimedOut | Code::OperationTimedOut | Code::TimedOutQueue, Some(last)) => connection(last),
        (Code::MessageTimedOut | Code::OperationTimedOut | Code::TimedOutQueue, None) => {
            failed(&format!("no acknowledgement within {patience:?}"))
        }
        (Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition, _) => {
            failed("the topic does not exist")
        }
        (Code::InvalidTopic, _) => failed("the brokers say that the topic is not valid"),
        (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed, _) => {
            failed("the user may not write to the topic")
        }
        (Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge, _) => {
            Attempt::Rejected { status: None, answer: "longer than the brokers take".to_owned() }
        }
        (Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient, _) => {
            failed("too few replicas are in sync")
        }
        (Code::ThrottlingQuotaExceeded | Code::QueueFull, _) => {
            Attempt::Busy { answer: "the brokers ask for fewer messages".to_owned() }
        }
        (Code::PolicyViolation, _) => {
            Attempt::Rejected { status: None, answer: "the brokers refuse the message: policy violation".to_owned() }
        }
        (Code::Authentication | Code::SaslAuthenticationFailed, _) => connection(code),
        (code, _) => failed(&format!("the brokers do not take the message: {code:?}")),
    }
}

/// Decides what a failure of the connections means.
pub(super) fn connection(code: Code) -> Attempt {
    let gone = |answer: &str| Attempt::Gone { status: None, answer: answer.to_owned() };
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => gone("the brokers refuse the login"),
        Code::UnsupportedSASLMechanism => gone("the brokers refuse the login: they do not know the mechanism"),
        Code::SSL => failed("no encrypted connection to a broker"),
        Code::Resolve => failed("cannot resolve the host name of a broker"),
        Code::AllBrokersDown | Code::BrokerTransportFailure => failed("no broker can be reached"),
        code => failed(&format!("no connection to a broker: {code:?}")),
    }
}

/// A failed attempt of which only the words are known.
pub(super) fn failed(answer: &str) -> Attempt {
    Attempt::Failed { status: None, retry_after: None, answer: answer.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tests::kind;

    #[test]
    fn errors_and_the_results_of_attempts() {
        for (code, last, expected) in [
            (Code::MessageTimedOut, None, "failed"),
            (Code::MessageTimedOut, Some(Code::AllBrokersDown), "failed"),
            (Code::MessageTimedOut, Some(Code::Authentication), "gone"),
            (Code::UnknownTopicOrPartition, None, "failed"),
            (Code::MessageSizeTooLarge, Some(Code::AllBrokersDown), "rejected"),
            (Code::NotEnoughReplicas, None, "failed"),
            (Code::ThrottlingQuotaExceeded, None, "busy"),
            (Code::Fatal, None, "failed"),
        ] {
            let attempt = not_delivered(code, last, Duration::from_secs(20));
            assert_eq!(kind(&attempt), expected, "{code:?} {last:?}");
        }
    }
}
