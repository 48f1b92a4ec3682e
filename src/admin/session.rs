//! The session of a browser: the value of the cookie that a login sets. Pure.
//!
//! A value is the time at which the session ends, and a keyed hash of that time. The key is the token of the
//! configuration, so nothing is stored, and another token ends all sessions. The cookie does not contain the token.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::domain::UnixMs;
use crate::secret::Secret;

/// The name of the cookie.
pub(super) const COOKIE: &str = "joltsms_relay_session";

/// How long a session lasts, in milliseconds: twelve hours.
const LASTS_MS: i64 = 12 * 3600 * 1000;

/// This text is hashed together with the end of the session. So a hash that is made with the token for another purpose
/// is never the value of a session.
const PURPOSE: &str = "joltsms-relay session v1";

/// Makes the value of a session that begins at `now`.
pub(super) fn begin(token: &Secret, now: UnixMs) -> String {
    let ends = now.0.saturating_add(LASTS_MS);
    format!("{ends}.{}", signature(token, ends))
}

/// Whether this is the value of a session that has not ended at `now`.
pub(super) fn is_valid(value: &str, token: &Secret, now: UnixMs) -> bool {
    let Some((ends, shown)) = value.split_once('.') else { return false };
    let Ok(ends) = ends.parse::<i64>() else { return false };
    let is_signed: bool = shown.as_bytes().ct_eq(signature(token, ends).as_bytes()).into();
    is_signed && (now.0..=now.0.saturating_add(LASTS_MS)).contains(&ends)
}

/// Returns the value of the session in a `Cookie` header.
pub(super) fn in_cookies(cookies: &str) -> Option<&str> {
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn signature(token: &Secret, ends: i64) -> String {
    let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes()) else { return String::new() };
    hash.update(format!("{PURPOSE} {ends}").as_bytes());
    hex::encode(hash.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_750_000_000_000);

    #[test]
    fn a_session_lasts_twelve_hours_and_is_bound_to_the_token() {
        let (token, other) = (Secret::from("0123456789abcdef"), Secret::from("0123456789abcdeg"));
        let value = begin(&token, NOW);
        for (later, expected) in [(0, true), (LASTS_MS, true), (LASTS_MS + 1, false), (-1, false)] {
            assert_eq!(is_valid(&value, &token, UnixMs(NOW.0 + later)), expected, "{later}");
        }
        assert!(!is_valid(&value, &other, NOW));
        assert!(!value.contains("0123456789abcdef"));
    }

    #[test]
    fn a_changed_value_is_no_session() {
        let token = Secret::from("0123456789abcdef");
        let value = begin(&token, NOW);
        let (ends, signature) = value.split_once('.').unwrap();
        let other_end: i64 = ends.parse::<i64>().unwrap() - 1;
        for wrong in
            ["", ".", "x", ends, signature, &format!("{other_end}.{signature}"), &format!("{value}0"), "9.", "-1.x"]
        {
            assert!(!is_valid(wrong, &token, NOW), "{wrong}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(in_cookies("joltsms_relay_session=1.a"), Some("1.a"));
        assert_eq!(in_cookies("a=b; joltsms_relay_session=1.a; c=d"), Some("1.a"));
        for none in ["", "a=b", "joltsms_relay_session_x=1", "xjoltsms_relay_session=1"] {
            assert_eq!(in_cookies(none), None, "{none}");
        }
    }
}
