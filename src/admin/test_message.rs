//! Test messages: an operator sends one to a sink to see whether its receiver answers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::sinks_in_effect::SinkInEffect;
use crate::delivery::outgoing;
use crate::domain::UnixMs;
use crate::sinks::Attempt;
use crate::time::Clock;

/// The longest time until a test is given up.
const LONGEST: Duration = Duration::from_secs(30);

impl SinkInEffect {
    /// Sends a test message, once. Returns a sentence about the receiver's answer: `Ok` if the receiver has accepted
    /// the message, and `Err` if not. The queue, the dead letters and the breaker of the sink stay as they are.
    pub(super) async fn send_test_message(&self, clock: &Clock) -> Result<String, String> {
        let name = &self.name;
        if self.target.is_stdout() {
            return Err(format!("{name} is the standard output, whose readers expect real messages only"));
        }
        let id = format!("test_{:016x}", RandomState::new().build_hasher().finish());
        let raw = message(&id, clock.machine_time()).into();
        let made = outgoing(&self.format, self.mask.as_ref(), id, raw, None, self.target.takes_lines());
        let outgoing = made.map_err(|error| format!("{name} cannot make a payload of a test message: {error}"))?;
        let sink = self.target.build(clock).map_err(|error| format!("{name}: {error}"))?;
        let Ok(attempt) = timeout(LONGEST, sink.begin(outgoing)).await else {
            return Err(format!("{name} gave no answer within {} s", LONGEST.as_secs()));
        };
        match attempt {
            Attempt::Accepted { status: Some(status) } => Ok(format!("{name} accepted a test message ({status})")),
            Attempt::Accepted { status: None } => Ok(format!("{name} accepted a test message")),
            Attempt::Failed { answer, .. }
            | Attempt::Busy { answer }
            | Attempt::Rejected { answer, .. }
            | Attempt::Gone { answer, .. } => Err(format!("{name} did not accept a test message: {answer}")),
            Attempt::Closed => Err(format!("{name} is closed")),
        }
    }
}

/// Makes the message. Its phone numbers are reserved for examples.
fn message(id: &str, now: UnixMs) -> String {
    json!({
        "id": id,
        "numberId": "num_test",
        "number": { "id": "num_test", "phoneNumber": "+12025550100" },
        "from": "+12025550199",
        "to": "+12025550100",
        "body": "This is a test message of joltsms-relay. Your code is 123456.",
        "parsedCode": "123456",
        "encrypted": false,
        "isRead": false,
        "receivedAt": now,
        "ingestedAt": now,
    })
    .to_string()
}
