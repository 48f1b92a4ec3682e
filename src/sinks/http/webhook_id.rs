//! Makes the `webhook-id` of a message.

use sha2::{Digest as _, Sha256};

/// The longest id that is used unchanged, in characters. Receivers keep ids in database columns of limited length, so a
/// longer id is hashed.
const LONGEST: usize = 128;

/// Returns the message's own id if it has 1 to 128 characters, all of them letters, digits, `_` or `-`. For any other
/// id, returns `msg_` and the SHA-256 of the id in hexadecimal. (An id with a `.` would make the signed text of
/// Standard Webhooks ambiguous.)
pub(crate) fn webhook_id(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && id.len() <= LONGEST && id.bytes().all(plain) {
        return id.to_owned();
    }
    format!("msg_{}", hex::encode(Sha256::digest(id.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_ids_stay_as_they_are() {
        for id in ["m1", "01890a5d-ac96-774b-bcce-b302099a8057", "A_b-9", "x".repeat(128).as_str()] {
            assert_eq!(webhook_id(id), id);
        }
    }

    #[test]
    fn other_ids_are_hashed() {
        assert_eq!(webhook_id("a.b"), "msg_2e7336dc8eba87ef472df568c35482abf2575dc3e5eac0c5c62b8ffaeac2c934");
        for id in ["", "a.b", "a b", "ä", "a\r\nx-evil: 1", "a\0b", "x".repeat(129).as_str()] {
            let hashed = webhook_id(id);
            assert_eq!(hashed.len(), 4 + 64, "{id}");
            assert!(hashed.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{id}");
        }
        assert_ne!(webhook_id("a.b"), webhook_id("a.c"));
    }
}
