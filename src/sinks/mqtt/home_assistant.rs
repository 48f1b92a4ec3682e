//! Makes the publications for Home Assistant (MQTT discovery). From them Home Assistant makes a sensor for each number.
//! The sensor shows the last code. Pure.

use serde_json::json;

use super::publication::Publication;
use crate::codes::CodeFinder;
use crate::domain::filter::{Details, Facts};
use crate::sinks::Outgoing;
use crate::sinks::http::webhook_id::webhook_id;

/// The sensor of a number, with the code that it shows.
pub(super) struct Sensor {
    /// The letters and digits of the phone number, such as `16505551234`. They identify the sensor.
    pub(super) number: String,
    code: String,
    id: String,
}

/// Returns the sensor that a message changes; `None` if the message has no code, or names no receiving number.
pub(super) fn sensor(outgoing: &Outgoing, codes: &CodeFinder) -> Option<Sensor> {
    let facts = Facts::read(&outgoing.message, Details::Absent);
    let number: String = facts.to()?.chars().filter(char::is_ascii_alphanumeric).collect();
    let code = codes.find(&outgoing.message)?;
    (!number.is_empty() && !code.is_empty()).then(|| Sensor { number, code, id: webhook_id(&outgoing.id) })
}

impl Sensor {
    /// The publication by which Home Assistant learns of the sensor. The broker keeps this publication.
    pub(super) fn announcement(&self) -> Publication {
        let Self { number, .. } = self;
        let body = json!({
            "name": format!("Code +{number}"),
            "unique_id": format!("joltsms_{number}_code"),
            "state_topic": self.state_topic(),
            "icon": "mdi:message-lock",
            "force_update": true,
            "device": { "identifiers": ["joltsms_relay"], "name": "JoltSMS" },
        });
        self.publication(format!("homeassistant/sensor/joltsms_{number}/config"), "application/json", body.to_string())
    }

    /// The publication that changes what the sensor shows. The broker keeps this publication, so that a restart of Home
    /// Assistant does not empty the sensor.
    pub(super) fn state(&self) -> Publication {
        self.publication(self.state_topic(), "text/plain", self.code.clone())
    }

    /// All publications for the sensor.
    pub(super) fn publications(&self) -> [Publication; 2] {
        [self.announcement(), self.state()]
    }

    fn state_topic(&self) -> String {
        format!("joltsms/{}/code", self.number)
    }

    fn publication(&self, topic: String, content_type: &str, body: String) -> Publication {
        let (id, content_type) = (self.id.clone(), content_type.to_owned());
        Publication { topic, retain: true, id, content_type, body: body.into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(message: &str) -> Outgoing {
        Outgoing { id: "m1".into(), content_type: "x/y".into(), body: Vec::new(), message: message.into() }
    }

    #[test]
    fn a_message_with_a_code_changes_the_sensor_of_its_number() {
        let found =
            sensor(&outgoing(r#"{"id":"m1","to":"+1650/5#","parsedCode":"0123"}"#), &CodeFinder::default()).unwrap();
        let [announcement, state] = found.publications();
        assert_eq!(announcement.topic, "homeassistant/sensor/joltsms_16505/config");
        let body: serde_json::Value = serde_json::from_slice(&announcement.body).unwrap();
        assert_eq!(body["state_topic"], state.topic);
        assert_eq!((state.topic.as_str(), state.body.as_slice()), ("joltsms/16505/code", b"0123".as_slice()));
        assert!(announcement.retain && state.retain);
        for without in
            [r#"{"id":"m1","to":"+1650"}"#, r#"{"id":"m1","parsedCode":"1"}"#, r#"{"to":"+","parsedCode":"1"}"#]
        {
            assert!(sensor(&outgoing(without), &CodeFinder::default()).is_none(), "{without}");
        }
    }
}
