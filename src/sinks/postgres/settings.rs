//! The keys of `[sinks.NAME]` with `type = "postgres"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::time::Duration;

use super::PostgresTarget;
use super::table::TableName;
use crate::http::settings::{self as http, ServerKind, TlsSettings, is_this_machine};
use crate::settings::{self, Reader, WrittenText, settings};
use crate::sinks::server::settings::{Protocol, WrittenServer, login};
use crate::sinks::{ReadContext, require};

/// The parameter of an address that says whether the connection is encrypted.
const SSL_MODE: &str = "sslmode";

/// Addresses with a scheme in `plain` are refused if they lead to another machine and the operator does not allow that.
/// Neither scheme is in `plain`, because not the scheme but the parameter [`SSL_MODE`] says whether the connection is
/// encrypted.
const POSTGRES: Protocol = Protocol {
    kind: ServerKind {
        encrypted: &["postgresql", "postgres"],
        plain: &[],
        allow_plain: "allow_plaintext",
        example: "postgresql://relay@db.example.com/sms",
    },
    encrypted_port: 5432,
    plain_port: 5432,
};

/// Whether a connection is encrypted. The certificate of an encrypted connection is always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// The connection must be encrypted.
    Required,
    /// The connection is encrypted if the server offers encryption.
    IfOffered,
    /// The connection is not encrypted.
    Off,
}

settings! {
    /// The keys that a postgres sink has, as written.
    pub(super) struct Settings {
        /// The address of the database, postgresql://USER@HOST/DATABASE; required.
        url: Option<WrittenText> =
            http::server_url().such_as("\"postgresql://relay@db.example.com/sms?sslmode=require\""),
        /// The table, such as "sms" or "relay.sms"; required. `joltsms-relay sinks create-table NAME` makes it.
        table: Option<WrittenText> = settings::text(
            "table",
            "the name of a table in quotes",
            Some("^[a-z_][a-z0-9_]*(\\.[a-z_][a-z0-9_]*)?$"),
        ).such_as("\"sms\""),
        /// As for mqtt.
        user: Option<WrittenText> = settings::text("user", "a name in quotes", None),
        /// As for mqtt.
        password: Option<WrittenText> = settings::secret("SINK_PASSWORD"),
        /// As for mqtt.
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
    pub(super) fn resolve(self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<PostgresTarget> {
        let Self { url, allow_plaintext, tls, connect_timeout, timeout, .. } = self;
        // If the configuration misspells the type of the sink, this type is only a guess. So missing keys are not reported.
        if !context.is_meant {
            return None;
        }
        require(at, "a postgres", &["url", "table"]);
        let has_authorities = at.inside("tls").written("ca_file").is_some();
        let written = url.clone();
        let server = WrittenServer { url, allow_plaintext, tls, connect_timeout, timeout }.resolve(at, &POSTGRES);
        let login = login(at, self.user, self.password);
        let table = self.table.and_then(|text| {
            let table = TableName::parse(text.bare());
            if table.is_none() {
                let help = "a name has small letters, digits and `_`; a schema may stand before it: \"relay.sms\"";
                at.refuse("table", &text, "is not the name of a table", help);
            }
            table
        });
        let mut server = server?;
        let is_local =
            is_this_machine(&server.url) || server.url.host_str().is_some_and(|host| host.starts_with("%2F"));
        let modes: Vec<String> =
            server.url.query_pairs().filter(|(key, _)| key == SSL_MODE).map(|(_, mode)| mode.into_owned()).collect();
        let written = written?;
        let encryption = match modes.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            // The certificate of a server on this machine is usually not from an authority that clients trust. So the
            // connection is not encrypted, unless the configuration names an authority.
            [] if is_local && !has_authorities => Encryption::Off,
            [] | ["require" | "verify-ca" | "verify-full"] => Encryption::Required,
            ["prefer"] if is_local || allow_plaintext => Encryption::IfOffered,
            ["disable"] if is_local || allow_plaintext => Encryption::Off,
            ["prefer" | "disable"] => {
                let wrong =
                    "goes to another machine without encryption, so everybody on the way could read what is sent";
                let help = format!(
                    "use sslmode=require, or set `{}` = true if the way there is safe",
                    at.name("allow_plaintext")
                );
                at.wrong("url", &written.origin, wrong, &help);
                return None;
            }
            _ => {
                let help = "write disable, prefer or require; certificates are always checked";
                at.wrong(
                    "url",
                    &written.origin,
                    "has another sslmode than disable, prefer, require, verify-ca or verify-full",
                    help,
                );
                return None;
            }
        };
        server.is_encrypted = encryption != Encryption::Off;
        let login = login.or_else(|| server.login());
        Some(PostgresTarget { server, encryption, login, table: table?, codes: context.codes.clone() })
    }
}
