//! An e-mail address with the name of its owner. Pure.

/// An e-mail address that can stand in a header and in a command of SMTP as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MailAddress {
    /// The name of the owner, if there is one.
    pub(super) name: Option<String>,
    /// The part before the `@`.
    pub(super) user: String,
    /// The part after the `@`.
    pub(super) domain: String,
}

impl MailAddress {
    /// Reads `user@domain` or `Name <user@domain>`; `None` if the text is neither.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, address) = match text.strip_suffix('>') {
            Some(rest) => {
                let (name, address) = rest.rsplit_once('<')?;
                let name = name.trim();
                let unquoted = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(name);
                (Some(unquoted.to_owned()).filter(|name| !name.is_empty()), address)
            }
            None => (None, text),
        };
        let (user, domain) = address.rsplit_once('@')?;
        let is_name =
            |name: &String| !name.chars().any(|next| next.is_control() || matches!(next, '"' | '\\' | '<' | '>'));
        let is_right = is_user(user) && is_domain(domain) && name.as_ref().is_none_or(is_name);
        is_right.then(|| Self { name, user: user.to_owned(), domain: domain.to_owned() })
    }

    /// Returns the address without the name.
    pub(super) fn bare(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }
}

/// Whether the text consists of atoms with dots between them, as RFC 5321 defines them.
fn is_user(text: &str) -> bool {
    let is_atom = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    text.len() <= 64 && text.split('.').all(is_atom)
}

/// Whether the text is the name of a host.
fn is_domain(text: &str) -> bool {
    let is_label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_name() {
        for (text, name, bare) in [
            ("ops@example.com", None, "ops@example.com"),
            ("root@localhost", None, "root@localhost"),
            ("a.b+c@ex-ample.com", None, "a.b+c@ex-ample.com"),
            ("Ann <ann@example.com>", Some("Ann"), "ann@example.com"),
            ("\"Müller, Ann\" <ann@example.com>", Some("Müller, Ann"), "ann@example.com"),
            ("<ann@example.com>", None, "ann@example.com"),
        ] {
            let address = MailAddress::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((address.name.as_deref(), address.bare().as_str()), (name, bare), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "a b@example.com",
            "a@b.c\r\nBcc: x@y.z",
            "a@b.c>",
            "a@b.c, d@e.f",
            "..@example.com",
            "a@-b.c",
            "a@b..c",
            "Ann\r\nBcc: <a@b.c>",
            "An\"n <a@b.c>",
            "a@bücher.example",
        ] {
            assert_eq!(MailAddress::parse(text), None, "{text}");
        }
    }
}
