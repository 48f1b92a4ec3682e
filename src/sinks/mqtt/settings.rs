//! The keys of `[sinks.NAME]` with `type = "mqtt"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::MqttTarget;
use crate::http::settings::{self as http, ServerKind, TlsSettings};
use crate::settings::{self, Reader, WrittenText, settings};
use crate::sinks::server::settings::{Protocol, WrittenServer, login, template};
use crate::sinks::{ReadContext, require};
use crate::template::Escaping;

const MQTT: Protocol = Protocol {
    kind: ServerKind {
        encrypted: &["mqtts"],
        plain: &["mqtt"],
        allow_plain: "allow_plaintext",
        example: "mqtts://broker.example.com",
    },
    encrypted_port: 8883,
    plain_port: 1883,
};

/// The characters that have a meaning in a topic: the separator of levels, and the wildcards.
const TOPIC: Escaping = Escaping::Part("/+#");

settings! {
    /// The keys that an mqtt sink has, as written.
    pub(super) struct Settings {
        /// The address of the broker, mqtts:// or mqtt://; required.
        url: Option<WrittenText> = http::server_url().such_as("\"mqtts://broker.example.com\""),
        /// A template of the topic, such as "sms/{{ message.to }}"; required.
        topic: Option<WrittenText> =
            settings::text("topic", "a topic in quotes", None).such_as("\"sms/{{ message.to }}\""),
        /// The quality of service: 1 (at least once) or 2 (exactly once, as far as subscribers are concerned).
        qos: u8 = settings::integer(1, 1..=2),
        /// Whether the broker keeps the last message of each topic for later subscribers.
        retain: bool = settings::boolean(false),
        /// The client identifier, for brokers that decide by it who may do what. Without it, the broker chooses one.
        client_id: Option<WrittenText> = settings::text("client id", "a name in quotes", None)
            .lines(&["client_id = \"joltsms-relay\""]),
        /// The user by which the relay logs in.
        user: Option<WrittenText> = settings::text("user", "a name in quotes", None).lines(&["user = \"relay\""]),
        /// The password of the user. It must not be written out in the file.
        password: Option<WrittenText> =
            settings::secret("SINK_PASSWORD").lines(&["password = { env = \"SINK_PASSWORD\" }"]),
        /// Whether Home Assistant finds a sensor for each number, which shows the last code (MQTT discovery).
        home_assistant: bool = settings::boolean(false),
        /// Allows unencrypted connections to other machines.
        allow_plaintext: bool = settings::boolean(false),
        /// As for http.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
        /// As for http.
        connect_timeout: Duration = http::connect_timeout(),
        /// As for http.
        tls: TlsSettings = http::tls(),
    }
}

impl Settings {
    /// Returns the sink; `None` if a required key is missing or wrong. Errors are added to the report.
    pub(super) fn resolve(self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<MqttTarget> {
        let Self { url, allow_plaintext, tls, connect_timeout, timeout, qos, retain, home_assistant, .. } = self;
        // If the configuration misspells the type of the sink, this type is only a guess. So missing keys are not reported.
        if !context.is_meant {
            return None;
        }
        require(at, "an mqtt", &["url", "topic"]);
        let server = WrittenServer { url, allow_plaintext, tls, connect_timeout, timeout }.resolve(at, &MQTT);
        let login = login(at, self.user, self.password);
        let topic = self.topic.and_then(|text| {
            if text.as_str().contains(['+', '#', '\0']) {
                let help = "`+` and `#` stand for other topics, and only subscribers may use them";
                at.refuse("topic", &text, "is not a topic", help);
                return None;
            }
            template(at, "topic", &text, TOPIC, context.codes)
        });
        let server = server?;
        let login = login.or_else(|| server.login());
        let client_id = self.client_id.map(|text| text.bare().to_owned()).unwrap_or_default();
        let (topic, codes) = (Arc::new(topic?), context.codes.clone());
        Some(MqttTarget { server, login, client_id, topic, qos, retain, home_assistant, codes })
    }
}
