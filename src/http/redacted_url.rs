//! Shows URLs without their secrets.
//!
//! Invariant: this program displays and logs a URL only through [`RedactedUrl`]. A part that cannot hold a secret, such
//! as the host, may be shown alone. The URLs of receivers may have passwords in the user information, and tokens in the
//! path and in the names and values of the query. Servers may repeat these parts in a `Location`. The scheme, the host
//! and the port stay readable, since an operator must see which receiver is meant.

use std::fmt;

use reqwest::Url;

/// The character that stands for a hidden part.
const HIDDEN: char = '…';

/// Shows a URL's scheme, host and port. `…` stands for user information, path and query, if the URL has them. A
/// fragment is left out, because a fragment is never sent.
///
/// ```
/// use joltsms_relay::http::RedactedUrl;
///
/// let url = "https://ann:pw@crm.example.com/sms?team=ops".parse().expect("a URL");
/// assert_eq!(RedactedUrl(&url).to_string(), "https://…@crm.example.com/…?…");
/// ```
#[derive(Clone, Copy)]
pub struct RedactedUrl<'a>(pub &'a Url);

impl fmt::Display for RedactedUrl<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        let Some(host) = url.host_str() else {
            // The URL parser reads `user:secret` as a URL with the scheme `user`.
            return write!(out, "{HIDDEN}");
        };
        write!(out, "{}://", url.scheme())?;
        if !url.username().is_empty() || url.password().is_some() {
            write!(out, "{HIDDEN}@")?;
        }
        out.write_str(host)?;
        if let Some(port) = url.port() {
            write!(out, ":{port}")?;
        }
        out.write_str("/")?;
        if url.path().len() > 1 {
            write!(out, "{HIDDEN}")?;
        }
        if url.query().is_some() {
            write!(out, "?{HIDDEN}")?;
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
            ("http://[::1]:8080/a/b", "http://[::1]:8080/…"),
            ("https://u@h/", "https://…@h/"),
            ("https://:p@h/", "https://…@h/"),
            ("https://u:p@h:444/x?a=s&b=&s&=s#s", "https://…@h:444/…?…"),
            ("https://h/?", "https://h/?…"),
            ("https://h/#s", "https://h/"),
            ("user:s", "…"),
            ("file:///s", "…"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(RedactedUrl(&url).to_string(), shown);
            assert_eq!(format!("{:?}", RedactedUrl(&url)), shown);
        }
    }
}
