//! Makes random names: ids, keys, tokens. The names are drawn from the seed, so the same seed gives the same names.

use crate::switches::Ids;

/// Makes the id of a message.
pub(crate) fn message_id(random: &mut fastrand::Rng, style: Ids) -> String {
    let prefixed = match style {
        Ids::Uuid => false,
        Ids::Prefixed => true,
        Ids::Mixed => random.bool(),
    };
    if prefixed { format!("msg_{}", letters(random, 20)) } else { uuid(random) }
}

/// Makes a version 4 UUID.
pub(crate) fn uuid(random: &mut fastrand::Rng) -> String {
    let bits = random.u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Makes the secret of an API key: `jolt_sk_` and 32 hexadecimal characters.
pub(crate) fn secret(random: &mut fastrand::Rng) -> String {
    format!("jolt_sk_{:032x}", random.u128(..))
}

/// Makes the token of a browser session.
pub(crate) fn session(random: &mut fastrand::Rng) -> String {
    format!("jolt_session_{:032x}", random.u128(..))
}

/// Makes a text of `count` letters and digits.
pub(crate) fn letters(random: &mut fastrand::Rng, count: usize) -> String {
    (0..count).map(|_| random.alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_documented_shapes() {
        let mut random = fastrand::Rng::with_seed(1);
        let uuid = uuid(&mut random);
        let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]));
        let key = secret(&mut random);
        assert!(key.strip_prefix("jolt_sk_").is_some_and(|hex| hex.len() == 32));
        assert_ne!(key, secret(&mut random));
    }
}
