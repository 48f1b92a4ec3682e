//! HTTP receivers.

use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Client, Url};

use super::classify::{Head, classify};
use super::webhook_id::webhook_id;
use super::{Attempt, Attempting, Outgoing, Sink};
use crate::http::client::{self, BuildError, ClientOptions};
use crate::http::{body, failure};
use crate::time::Clock;

/// `[sinks.NAME]` of `type = "http"`, as far as it says where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where messages are posted. May hold credentials: it is only ever shown redacted.
    pub url: Url,
    /// For one whole request, the answer included.
    pub timeout: Duration,
    /// For the TCP and TLS handshakes together.
    pub connect_timeout: Duration,
}

/// The same on every attempt for a message, so that a receiver can drop repeats.
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// The body of an answer is read this far, and this long, for the sake of the connection. Nobody looks at it.
const ANSWER_CAP: usize = 64 << 10;
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// One receiver.
#[derive(Debug)]
pub struct HttpSink {
    client: Client,
    client_options: ClientOptions,
    url: Url,
    clock: Clock,
}

impl HttpSink {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// [`BuildError`] where TLS cannot be set up.
    pub fn new(options: &Options, clock: Clock) -> Result<Self, BuildError> {
        let client_options = ClientOptions {
            timeout: options.timeout,
            connect_timeout: options.connect_timeout,
            keep_idle: client::KEEP_IDLE,
            gzip: false,
        };
        Ok(Self { client: client::build(&client_options)?, client_options, url: options.url.clone(), clock })
    }
}

impl Sink for HttpSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, &*outgoing.content_type)
            .header(WEBHOOK_ID, webhook_id(&outgoing.id))
            .body(outgoing.body)
            .send();
        let (sent_to, client_options, clock) = (self.url.clone(), self.client_options, self.clock.clone());
        Box::pin(async move {
            let response = match request.await {
                Ok(response) => response,
                Err(error) => {
                    let answer = failure::describe(&error, &client_options);
                    return Attempt::Failed { status: None, retry_after: None, answer };
                }
            };
            let attempt = classify(head(response.status(), response.headers()), &sent_to, clock.wall());
            // The verdict is in; whatever happens to the body changes nothing.
            body::discard(response, ANSWER_CAP, ANSWER_DEADLINE).await;
            attempt
        })
    }
}

fn head(status: reqwest::StatusCode, headers: &HeaderMap) -> Head<'_> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Head { status, retry_after: text(header::RETRY_AFTER), date: text(header::DATE), location: text(header::LOCATION) }
}
