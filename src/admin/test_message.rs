//! Test messages: an operator sends one to a sink to see whether its receiver answers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::codes::CodeMask;
use crate::delivery::outgoing;
use crate::domain::UnixMs;
use crate::formats::Format;
use crate::sinks::{Attempt, Target};
use crate::time::Clock;

/// The longest time until a test is given up.
const LONGEST: Duration = Duration::from_secs(30);

/// A sink to which test messages can be sent.
#[derive(Clone, Debug)]
pub struct TestTarget {
    /// The name of the sink.
    pub name: String,
    /// The format of the sink.
    pub format: Format,
    /// The mask for the codes of messages, if the sink must not get the codes.
    pub mask: Option<CodeMask>,
    /// The place to which the messages of the sink go.
    pub target: Arc<dyn Target>,
}

/// The configured sinks to which test messages can be sent. Clones share the sinks, so a reload replaces them for all
/// clones.
#[derive(Clone, Debug, Default)]
pub struct TestTargets(Arc<Mutex<Arc<[TestTarget]>>>);

impl TestTargets {
    /// Replaces the sinks by those of a new configuration.
    pub fn replace(&self, targets: impl Iterator<Item = TestTarget>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = targets.collect();
    }

    /// Returns the sinks.
    pub(super) fn all(&self) -> Arc<[TestTarget]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TestTarget {
    /// Sends a test message, once. Returns a sentence about the receiver's answer: `Ok` if the receiver has accepted
    /// the message, and `Err` if not. The queue, the dead letters and the breaker of the sink stay as they are.
    pub(super) async fn send(&self, clock: &Clock) -> Result<String, String> {
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
