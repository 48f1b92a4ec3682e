//! The keys of `[sinks.NAME]` with `type = "kafka"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::KafkaTarget;
use crate::http::settings::{self as http, is_this_machine};
use crate::secret::Secret;
use crate::settings::{self, Member, Reader, Texts, WrittenText, settings};
use crate::sinks::server::settings::template;
use crate::sinks::{ReadContext, require};
use crate::template::{Escaping, Template};

/// The key of a message, unless another key is configured. Kafka keeps the order of messages with the same key, so the
/// messages of a number stay in their order.
const USUAL_KEY: &str = "{{ message.to }}";

/// The longest name of a topic.
const LONGEST_TOPIC: usize = 249;

/// Properties that the operator cannot set. Some decide what counts as delivered. Others have a key of their own in the
/// configuration, or concern the client's log, which the relay throws away.
const OF_THE_RELAY: [&str; 10] = [
    "acks",
    "bootstrap.servers",
    "debug",
    "delivery.timeout.ms",
    "enable.idempotence",
    "log_level",
    "message.timeout.ms",
    "metadata.broker.list",
    "request.required.acks",
    "transactional.id",
];

/// The properties whose value must not be written out in the configuration file.
const SECRET_PROPERTIES: &[&str] =
    &["sasl.password", "sasl.oauthbearer.client.secret", "ssl.key.password", "ssl.keystore.password"];

settings! {
    /// The keys that a kafka sink has, as written.
    pub(super) struct Settings {
        /// The brokers that are asked first, each with its port; required.
        brokers: Option<Texts> = settings::texts(true).such_as("[\"kafka.example.com:9092\"]"),
        /// The topic; required.
        topic: Option<WrittenText> = settings::text("topic", "a topic in quotes", None).such_as("\"sms\""),
        /// A template of the key by which messages are put into partitions.
        key: Option<WrittenText> = settings::text("key", "a key in quotes", None).or(USUAL_KEY),
        /// Further properties of the client librdkafka, such as { "security.protocol" = "ssl" }. In the
        /// name of an environment variable, `_` stands for the `.` of a property. A password must not be written out in
        /// the file.
        properties: Vec<Member> = settings::map(SECRET_PROPERTIES),
        /// Allows unencrypted connections to other machines.
        allow_plaintext: bool = settings::boolean(false),
        /// As for http.
        timeout: Duration = http::timeout(Duration::from_secs(20)),
    }
}

impl Settings {
    /// Returns the sink; `None` if a required key is missing or wrong. Errors are added to the report.
    pub(super) fn resolve(self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<KafkaTarget> {
        let Self { brokers, topic, key, properties, allow_plaintext, timeout } = self;
        // If the configuration misspells the type of the sink, this type is only a guess. So missing keys are not reported.
        if !context.is_meant {
            return None;
        }
        require(at, "a kafka", &["brokers", "topic"]);
        let properties = own_properties(at, properties);
        let protocol = properties.iter().find(|(name, _)| name == "security.protocol").map(|(_, value)| value.expose());
        let is_encrypted = protocol.is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"));
        let brokers = brokers.and_then(|texts| own_brokers(at, texts, is_encrypted || allow_plaintext));
        let topic = topic.and_then(|text| {
            let name = text.bare().to_owned();
            let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            let is_topic = (1..=LONGEST_TOPIC).contains(&name.len()) && name.bytes().all(may_stand);
            if !is_topic {
                at.wrong("topic", &text.origin, "is not a topic", "topics have letters, digits, `.`, `_` and `-`");
            }
            is_topic.then_some(name)
        });
        let key = match key {
            Some(text) => template(at, "key", &text, Escaping::None, context.codes),
            None => Template::of_message(USUAL_KEY, Escaping::None).ok(),
        };
        Some(KafkaTarget { brokers: brokers?, topic: topic?, key: Arc::new(key?), properties, timeout })
    }
}

/// Returns the brokers with commas between them; `None`: an error was reported. `may_be_elsewhere`: whether the brokers
/// may be on other machines. They may if the connections are encrypted, or if the operator allows unencrypted ones.
fn own_brokers(at: &mut Reader<'_>, texts: Texts, may_be_elsewhere: bool) -> Option<String> {
    let Texts { origin, texts, whole, .. } = texts;
    let mut brokers = Vec::new();
    for text in &texts {
        let broker = text.bare();
        let url = Url::parse(&format!("kafka://{broker}")).ok();
        let Some(url) = url.filter(|url| url.host_str().is_some_and(|host| !host.is_empty()) && url.port().is_some())
        else {
            at.wrong(
                "brokers",
                &text.origin,
                "must hold hosts, each with its port",
                "such as \"kafka.example.com:9092\"",
            );
            return None;
        };
        if !may_be_elsewhere && !is_this_machine(&url) {
            let wrong = "goes to another machine without encryption, so everybody on the way could read what is sent";
            let help = "set security.protocol in properties, or allow_plaintext = true if the way there is safe";
            at.wrong("brokers", &text.origin, wrong, help);
            return None;
        }
        brokers.push(broker.to_owned());
    }
    if brokers.is_empty() && whole {
        at.wrong("brokers", &origin, "names no broker", "");
    }
    (!brokers.is_empty() && whole).then(|| brokers.join(","))
}

/// Returns the names and values of properties. Errors are added to the report.
fn own_properties(at: &mut Reader<'_>, members: Vec<Member>) -> Vec<(String, Secret)> {
    let mut properties = Vec::new();
    for Member { name, origin, entry } in members {
        let path = format!("properties.{name}");
        // An environment variable cannot have a dot in its name, so `_` stands for `.`.
        let property = name.to_ascii_lowercase().replace('_', ".");
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.';
        if property.is_empty() || !property.bytes().all(is_name) {
            let message = format!("`{}` holds a name that no property can have", at.name("properties"));
            at.error(&origin, message, "such as \"security.protocol\"");
            continue;
        }
        if OF_THE_RELAY.iter().any(|own| own.replace('_', ".") == property) {
            at.wrong(
                &path,
                &origin,
                "cannot be set",
                "the relay sets this property itself, or has a key of its own for it",
            );
            continue;
        }
        let Some(text) = at.text_of(&path, &entry, "a text in quotes") else { continue };
        if text.as_str().contains('\0') {
            at.wrong(&path, &origin, "holds a NUL character", "");
            continue;
        }
        properties.push((property, Secret::from(text.as_str())));
    }
    properties
}
