//! The boot id: it identifies the present boot of the machine. A process that
//! starts in the same boot as the process before it continues the relay's time of that process.
//!
//! The kernel makes the id. If the process may not read the id from the kernel, as in a service with `ProcSubset=pid`,
//! the service manager may pass the id instead. The kernel writes the 128 bits of the id with dashes, the service
//! manager without dashes.

/// Returns the id of the present boot: the kernel's id, or `told` if the kernel's id cannot be read. `told` is the id
/// that was passed to the process at its start. Returns `None` if neither is a valid id.
pub(super) fn read(told: Option<String>) -> Option<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    first_valid([kernel, told])
}

/// Returns whether two ids identify the same boot. An invalid id identifies no boot.
pub(super) fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    let (one, other) = (one.and_then(digits), other.and_then(digits));
    one.is_some() && one == other
}

fn first_valid(ids: [Option<String>; 2]) -> Option<String> {
    let mut ids = ids.into_iter().flatten().map(|id| id.trim().to_owned());
    ids.find(|id| digits(id).is_some())
}

/// Returns the 32 hexadecimal digits of an id; `None` if the id is invalid.
fn digits(id: &str) -> Option<String> {
    let digits: String = id.chars().filter(|digit| *digit != '-').collect();
    let is_id = digits.len() == 32 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    is_id.then(|| digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    const SYSTEMD: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

    #[test]
    fn both_forms_of_an_id_identify_the_same_boot() {
        assert!(is_same(Some(KERNEL), Some(SYSTEMD)));
        assert!(is_same(Some(SYSTEMD), Some(SYSTEMD)));
        assert!(!is_same(Some(KERNEL), Some(&SYSTEMD.replace('f', "e"))));
        for nothing in [None, Some(""), Some("%b"), Some("unknown")] {
            assert!(!is_same(nothing, nothing), "{nothing:?}");
        }
    }

    #[test]
    fn the_passed_id_counts_if_the_kernels_id_cannot_be_read() {
        let name =
            |kernel: Option<&str>, told: Option<&str>| first_valid([kernel, told].map(|name| name.map(Into::into)));
        assert_eq!(name(Some(&format!("{KERNEL}\n")), Some(&SYSTEMD.replace('f', "e"))).as_deref(), Some(KERNEL));
        assert_eq!(name(None, Some(SYSTEMD)).as_deref(), Some(SYSTEMD));
        assert_eq!(name(Some(""), Some("%b")), None);
        assert_eq!(name(None, None), None);
    }
}
