//! URLs as they may be shown.
//!
//! Invariant: no URL of this program is displayed or logged other than through [`RedactedUrl`]. Receivers put passwords
//! into the user information and tokens into the path and the query; the scheme, host, port and the names of the query's
//! parameters stay readable, since an operator must see which receiver is meant.

use std::fmt;

use reqwest::Url;

/// Stands for whatever is hidden.
const HIDDEN: &str = "***";

/// Shows a URL without its user information, its path, the values of its query, and its fragment.
///
/// ```
/// use joltsms_relay::http::RedactedUrl;
///
/// let url = "https://ann:pw@crm.example.com/sms?team=ops".parse().expect("a URL");
/// assert_eq!(RedactedUrl(&url).to_string(), "https://***@crm.example.com/***?team=***");
/// ```
#[derive(Clone, Copy)]
pub struct RedactedUrl<'a>(pub &'a Url);

impl fmt::Display for RedactedUrl<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        if url.cannot_be_a_base() {
            // `user:secret` reads as a URL of the scheme `user`.
            return out.write_str(HIDDEN);
        }
        write!(out, "{}://", url.scheme())?;
        if !url.username().is_empty() || url.password().is_some() {
            write!(out, "{HIDDEN}@")?;
        }
        out.write_str(url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(out, ":{port}")?;
        }
        write!(out, "/{}", if url.path().len() > 1 { HIDDEN } else { "" })?;
        for (index, parameter) in url.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
            out.write_str(if index == 0 { "?" } else { "&" })?;
            // A parameter without `=` may be a bare token: it is a value, not a name.
            if let Some((name, _)) = parameter.split_once('=') {
                write!(out, "{name}=")?;
            }
            out.write_str(HIDDEN)?;
        }
        if url.fragment().is_some() {
            write!(out, "#{HIDDEN}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RedactedUrl<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_what_may_be_secret_and_nothing_else() {
        for (url, shown) in [
            ("https://api.joltsms.com", "https://api.joltsms.com/"),
            ("http://[::1]:8080/a/b", "http://[::1]:8080/***"),
            ("https://u@h/", "https://***@h/"),
            ("https://:p@h/", "https://***@h/"),
            ("https://u:p@h:444/x?a=s&b=&s&=s#s", "https://***@h:444/***?a=***&b=***&***&=***#***"),
            ("https://h/?", "https://h/?***"),
            ("user:s", "***"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(RedactedUrl(&url).to_string(), shown);
            assert_eq!(format!("{:?}", RedactedUrl(&url)), shown);
        }
    }
}
