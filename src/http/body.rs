//! Reads the bodies of answers, but no more than a limit, however long a body is or claims to be.

use std::time::Duration;

use reqwest::Response;
use tokio::time::timeout;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body has more bytes than the cap.
    #[error("the answer has more than {cap} bytes")]
    TooLarge {
        /// The most bytes that the caller accepts.
        cap: usize,
    },
    /// The body broke off. The error contains no URL; [`super::failure::describe`] puts the error into words.
    #[error("the answer broke off")]
    Transport(#[source] reqwest::Error),
}

/// Reads the whole body, unless the body has more than `cap` bytes.
///
/// # Errors
/// [`BodyError::TooLarge`] as soon as the body is known to be too long, [`BodyError::Transport`] if the body does not
/// arrive whole.
pub async fn read_capped(mut response: Response, cap: usize) -> Result<Vec<u8>, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).map_or(true, |length| length > cap) {
        return Err(BodyError::TooLarge { cap });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| BodyError::Transport(error.without_url()))? {
        if chunk.len() > cap - body.len() {
            return Err(BodyError::TooLarge { cap });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads a body that is not needed, so that its connection can be used again. At most `cap` bytes are read, and the
/// reading takes at most as long as `deadline`. If the body does not end within these limits, or after an error, the
/// connection is dropped. Returns whether the end of the body was reached.
pub async fn discard(mut response: Response, cap: usize, deadline: Duration) -> bool {
    let to_the_end = async {
        let mut left = cap;
        while let Ok(chunk) = response.chunk().await {
            let Some(chunk) = chunk else { return true };
            match left.checked_sub(chunk.len()) {
                Some(fewer) => left = fewer,
                None => return false,
            }
        }
        false
    };
    timeout(deadline, to_the_end).await.unwrap_or(false)
}
