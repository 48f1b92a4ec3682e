//! The keys of `[sinks.NAME]` with `type = "file"`. The keys that every sink has are in `delivery/settings.rs`,
//! `formats/settings.rs` and `config/sinks.rs`.

use std::path::PathBuf;

use super::FileTarget;
use super::name::NamePattern;
use crate::settings::{self, FileUsage, Reader, WrittenText, settings};
use crate::sinks::require;

settings! {
    /// The keys that only a file sink has, as written.
    pub(super) struct Settings {
        /// The file to which messages are appended, one line for each; required. Conversions of strftime stand for
        /// parts of the date in UTC, so sms-%Y-%m-%d.jsonl makes a file for each day. Missing directories are made
        /// (mode 0700).
        path: Option<PathBuf> = settings::path().such_as("\"/var/lib/joltsms-relay/archive/%Y-%m-%d.jsonl\""),
        /// The permissions of files that the relay makes, in octal digits. Existing files keep their permissions.
        mode: Option<WrittenText> =
            settings::text("permissions", "octal digits in quotes, such as \"0640\"", Some("^0?[0-7]{3}$")).or("0600"),
    }
}

impl Settings {
    /// Returns the file; `None` if a required key is missing or wrong. Errors are added to the report. `is_meant`: the
    /// sink is of this type.
    pub(super) fn resolve(self, at: &mut Reader<'_>, is_meant: bool) -> Option<FileTarget> {
        let mode = self.mode.and_then(|text| permissions(at, &text));
        if is_meant {
            require(at, "a file", &["path"]);
        }
        let written = self.path?;
        let origin = at.origin("path").unwrap_or(at.place());
        at.note_file("path", origin, &written, FileUsage::Write);
        // People who read the path may not know in which directory the relay was started. So the path is made absolute.
        let written = std::path::absolute(&written).unwrap_or(written);
        let path = match NamePattern::new(&written) {
            Ok(path) => Some(path),
            Err(wrong) => {
                at.wrong("path", origin, &wrong, "write `%%` for a `%`");
                None
            }
        };
        Some(FileTarget { path: path?, mode: mode? })
    }
}

/// Reads permissions as octal digits.
fn permissions(at: &mut Reader<'_>, text: &WrittenText) -> Option<u32> {
    let digits = text.bare();
    let is_octal = matches!(digits.len(), 3 | 4) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    match mode {
        Some(mode) if mode & 0o600 == 0o600 => return Some(mode),
        Some(_) => at.refuse("mode", text, "takes the relay's own permissions away", "begin with 6, such as \"0640\""),
        None => at.refuse("mode", text, "is no permissions", "write octal digits, such as \"0640\""),
    }
    None
}
