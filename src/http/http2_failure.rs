//! Describes errors of HTTP/2 for operators: which side ended the request or the connection, and with which code.

use std::error::Error;

use h2::Reason;

/// Returns the words for one link in a chain of causes, if the link is an error of HTTP/2 and not of the connection
/// below it.
pub(super) fn words(cause: &(dyn Error + 'static)) -> Option<String> {
    let error: &h2::Error = cause.downcast_ref()?;
    let code = error.reason()?;
    let with = code_words(code);
    Some(match (error.is_go_away(), error.is_remote()) {
        (true, true) => format!("the other side ended the HTTP/2 connection (GOAWAY with {with})"),
        (true, false) => format!("the other side broke the rules of HTTP/2, so the connection was ended ({with})"),
        (false, true) => format!("the other side ended the request over HTTP/2 (RST_STREAM with {with})"),
        (false, false) => format!("the answer over HTTP/2 cannot be read, so the request was ended ({with})"),
    })
}

/// Returns the name of the code in RFC 9113, and its meaning if a few words can say it.
fn code_words(code: Reason) -> String {
    let meaning = match code {
        Reason::NO_ERROR => ": no error",
        Reason::REFUSED_STREAM => ": it did not look at the request",
        Reason::ENHANCE_YOUR_CALM => ": it gets too much",
        Reason::HTTP_1_1_REQUIRED => ": it wants HTTP/1.1",
        Reason::INADEQUATE_SECURITY => ": the connection is not safe enough for it",
        _ => "",
    };
    match format!("{code:?}") {
        unnamed if unnamed.starts_with("Reason") => format!("code {}", u32::from(code)),
        name => name + meaning,
    }
}
