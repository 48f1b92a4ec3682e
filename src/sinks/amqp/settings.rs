//! The keys of `[sinks.NAME]` with `type = "amqp"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::{AmqpTarget, LONGEST_NAME};
use crate::http::settings::{self as http, ServerKind, TlsSettings};
use crate::settings::{self, Reader, WrittenText, settings};
use crate::sinks::server::settings::{Protocol, WrittenServer, template};
use crate::sinks::{ReadContext, require};
use crate::template::Escaping;

const AMQP: Protocol = Protocol {
    kind: ServerKind {
        encrypted: &["amqps"],
        plain: &["amqp"],
        allow_plain: "allow_plaintext",
        example: "amqps://rabbit.example.com/vhost",
    },
    encrypted_port: 5671,
    plain_port: 5672,
};

/// The characters that have a meaning in a routing key (`.`, which separates words), or in the pattern with which a
/// queue is bound (the wildcards `*` and `#`).
const ROUTING_KEY: Escaping = Escaping::Part(".*#");

settings! {
    /// The keys that an amqp sink has, as written.
    pub(super) struct Settings {
        /// The address of the broker, amqps:// or amqp://, with user and password and with the virtual host as path;
        /// required.
        url: Option<WrittenText> = http::server_url().such_as("\"amqps://rabbit.example.com\""),
        /// The exchange. Without it, the routing key is the name of a queue.
        exchange: Option<WrittenText> = settings::text("exchange", "a name in quotes", None)
            .lines(&["exchange = \"sms\""]),
        /// A template of the routing key, such as "{{ message.to }}"; required.
        routing_key: Option<WrittenText> =
            settings::text("routing key", "a routing key in quotes", None).such_as("\"{{ message.to }}\""),
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
    pub(super) fn resolve(self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<AmqpTarget> {
        let Self { url, exchange, routing_key, allow_plaintext, timeout, connect_timeout, tls } = self;
        // If the configuration misspells the type of the sink, this type is only a guess. So missing keys are not reported.
        if !context.is_meant {
            return None;
        }
        require(at, "an amqp", &["url", "routing_key"]);
        let server = WrittenServer { url, allow_plaintext, tls, connect_timeout, timeout }.resolve(at, &AMQP);
        let exchange = match exchange {
            None => Some(String::new()),
            Some(text) => {
                let name = text.bare().to_owned();
                let is_name = name.len() <= LONGEST_NAME && !name.contains(char::is_control);
                if !is_name {
                    at.wrong("exchange", &text.origin, "is not the name of an exchange", "");
                }
                is_name.then_some(name)
            }
        };
        let routing_key = routing_key.and_then(|text| template(at, "routing_key", &text, ROUTING_KEY, context.codes));
        let server = server?;
        let path = server.url.path().trim_start_matches('/');
        let virtual_host = match path {
            "" => "/".to_owned(),
            path => percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned(),
        };
        if virtual_host.len() > LONGEST_NAME {
            at.error(at.place(), format!("`{}`: the path is too long for a virtual host", at.name("url")), "");
            return None;
        }
        Some(AmqpTarget { server, virtual_host, exchange: exchange?, routing_key: Arc::new(routing_key?) })
    }
}
