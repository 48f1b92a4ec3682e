//! What both ends of the relay, the API client and the HTTP sinks, share of HTTP.

mod url;

pub use url::RedactedUrl;
