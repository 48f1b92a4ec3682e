//! A request as the API sees it.

/// A request that was read to its end.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) cookie: Option<String>,
    /// The header `X-Idempotency-Key`.
    pub(crate) idempotency_key: Option<String>,
    /// The header `Sec-Fetch-Site`, in which a browser says which website sends the request.
    pub(crate) fetch_site: Option<String>,
    pub(crate) body: bytes::Bytes,
}

impl Request {
    /// Returns a parameter of the query. The parameter is decoded as servers do it: `+` is a space.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Whether the request asks for a list that has pages.
    pub(crate) fn is_list(&self) -> bool {
        self.method == "GET" && matches!(self.path.as_str(), "/v1/messages" | "/v1/numbers")
    }
}
