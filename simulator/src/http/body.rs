//! Bodies of answers. A body is a text, or is as large as a fault wants; such a large body is never held in memory as a
//! whole.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The body of an answer: some text, padding, some more text.
#[derive(Debug, Default)]
pub(crate) struct ReplyBody {
    before: Bytes,
    padding: u64,
    after: Bytes,
}

/// A piece of the padding. Its bytes may stand inside a JSON string.
static PADDING: [u8; 64 * 1024] = [b'x'; 64 * 1024];

impl ReplyBody {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self { before: text.into(), ..Self::default() }
    }

    /// Makes a JSON object with an additional field that makes the whole body at least this long.
    pub(crate) fn padded(object: &str, length: u64) -> Self {
        let Some(fields) = object.trim_start().strip_prefix('{') else { return Self::text(object.to_owned()) };
        let separator = if fields.trim_start().starts_with('}') { "" } else { "," };
        let before = Bytes::from_static(b"{\"padding\":\"");
        let after = Bytes::from(format!("\"{separator}{fields}"));
        let padding = length.saturating_sub((before.len() + after.len()) as u64);
        Self { before, padding, after }
    }

    pub(crate) fn len(&self) -> u64 {
        self.padding + (self.before.len() + self.after.len()) as u64
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        let chunk = if !body.before.is_empty() {
            std::mem::take(&mut body.before)
        } else if body.padding > 0 {
            let length = usize::try_from(body.padding).unwrap_or(usize::MAX).min(PADDING.len());
            body.padding -= length as u64;
            Bytes::from_static(&PADDING[..length])
        } else if !body.after.is_empty() {
            std::mem::take(&mut body.after)
        } else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
