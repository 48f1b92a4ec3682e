//! Mends heads of answers that the HTTP library refuses although their status can be read.
//!
//! A receiver whose answer has a status has decided about the message, whatever else is wrong with the answer. But one
//! mistake in the head is enough for the HTTP library to refuse the whole answer. [`mend`] mends exactly these
//! mistakes:
//!
//! | in the head | in the mended head |
//! |---|---|
//! | a Content-Length without a value | the line is left out |
//! | NUL or a bare carriage return in the value of a header | a space |
//! | NUL or a bare carriage return in the name of a header | the line is left out |
//! | a control character in the reason phrase (the words after the status) | a space |
//! | several spaces before the status, or a character other than a space after it | one space |
//! | `http/1.1` in small letters | `HTTP/1.1` |
//! | HTTP/1.0 with a Transfer-Encoding | HTTP/1.1 |
//!
//! Invariants: every other head stays as it is, byte for byte. Each mended head gets a `connection: close`, because the
//! relay can only guess where the body of the answer ends. So no byte of this answer can become part of another answer.
//! The head of an interim answer, such as 103, gets no such header, because an interim answer has no body. Lengths that
//! contradict each other, and lengths that are no number, are not mended.

use super::client_options::LARGEST_HEAD;

/// The result of reading a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadHead {
    /// The bytes may be the beginning of a head.
    Incomplete,
    /// The first `length` bytes are a head.
    Head {
        /// The length of the head as it came, with its last blank line.
        length: usize,
        /// The mended head; `None` if the head stays as it is.
        mended: Option<Vec<u8>>,
        /// Whether another head follows, because this head only announces the answer (a status from 100 to 199, but not
        /// 101).
        is_interim: bool,
    },
    /// The bytes are not a head that could be mended. The HTTP library gets them as they are.
    Other,
}

/// Reads the head at the beginning of `bytes`.
pub(super) fn read_head(bytes: &[u8]) -> ReadHead {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let (leading, rest) = bytes.split_at(blank);
    let Some(first_end) = line_end(rest) else {
        return match begins_like_a_head(rest) && !is_too_large(bytes.len()) {
            true => ReadHead::Incomplete,
            false => ReadHead::Other,
        };
    };
    let Some(status_line) = StatusLine::parse(without_line_end(&rest[..first_end])) else { return ReadHead::Other };
    let mut end = first_end;
    loop {
        let Some(next) = line_end(&rest[end..]) else {
            return if is_too_large(bytes.len()) { ReadHead::Other } else { ReadHead::Incomplete };
        };
        let is_last = without_line_end(&rest[end..end + next]).is_empty();
        end += next;
        if is_last {
            break;
        }
    }
    let mended = mend(&status_line, &rest[..first_end], &rest[first_end..end]).map(|head| [leading, &head].concat());
    // After a 101 the connection does not carry HTTP any more, so no further head follows.
    ReadHead::Head {
        length: blank + end,
        mended,
        is_interim: status_line.code[0] == b'1' && status_line.code != *b"101",
    }
}

/// Returns the mended head; `None` if the head stays as it is. `headers` are the headers with the blank line at their
/// end.
fn mend(status_line: &StatusLine<'_>, first_line: &[u8], headers: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(headers.len());
    let mut is_changed = false;
    let mut has_transfer_encoding = false;
    let mut rest = headers;
    while let Some(length) = header_length(rest) {
        let (header, after) = rest.split_at(length);
        rest = after;
        let (name, value) = name_and_value(header);
        let has_no_length = name.eq_ignore_ascii_case(b"content-length") && value.is_some_and(is_white_space);
        if has_no_length || name.iter().any(|byte| is_refused(*byte)) {
            is_changed = true;
        } else {
            has_transfer_encoding |= name.eq_ignore_ascii_case(b"transfer-encoding");
            is_changed |= push_without_refused(&mut kept, header);
        }
    }
    let needs_newer = status_line.is_version_1_0 && has_transfer_encoding;
    if !is_changed && !needs_newer && status_line.is_well_formed {
        return None;
    }
    let mut head = if needs_newer || !status_line.is_well_formed {
        status_line.rewritten(needs_newer)
    } else {
        first_line.to_vec()
    };
    let last = if kept.ends_with(b"\r\n") { 2 } else { 1 };
    let (headers, blank) = kept.split_at(kept.len() - last);
    head.extend_from_slice(headers);
    if status_line.code[0] != b'1' {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(blank);
    Some(head)
}

/// A first line with a status.
struct StatusLine<'h> {
    is_version_1_0: bool,
    code: [u8; 3],
    /// The reason phrase: the bytes after the code and the separator.
    reason: &'h [u8],
    /// Whether the HTTP library accepts the line as it is.
    is_well_formed: bool,
}

impl<'h> StatusLine<'h> {
    /// Reads a line without its end; `None` if the line has no status.
    fn parse(line: &'h [u8]) -> Option<Self> {
        let (version, rest) = line.split_at_checked(b"HTTP/1.1".len())?;
        let is_version_1_0 = version.eq_ignore_ascii_case(b"HTTP/1.0");
        if !is_version_1_0 && !version.eq_ignore_ascii_case(b"HTTP/1.1") {
            return None;
        }
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        let (code, after_code) = rest[spaces..].split_first_chunk::<3>()?;
        if spaces == 0 || !code.iter().all(u8::is_ascii_digit) || code[0] == b'0' {
            return None;
        }
        let reason = match after_code {
            [] => after_code,
            [b'0'..=b'9', ..] => return None,
            [_, reason @ ..] => reason,
        };
        let is_well_formed = version[..4] == *b"HTTP"
            && spaces == 1
            && matches!(after_code, [] | [b' ', ..])
            && !reason.iter().any(|byte| is_control(*byte));
        Some(Self { is_version_1_0, code: *code, reason, is_well_formed })
    }

    /// Returns the line in a form that the HTTP library accepts, with the end of the line.
    fn rewritten(&self, as_version_1_1: bool) -> Vec<u8> {
        let version = if self.is_version_1_0 && !as_version_1_1 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
        let reason = self.reason.iter().map(|byte| if is_control(*byte) { b' ' } else { *byte });
        version.iter().chain(&self.code).copied().chain([b' ']).chain(reason).chain(*b"\r\n").collect()
    }
}

/// Whether bytes without a line end may be the beginning of a status line.
fn begins_like_a_head(bytes: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let length = bytes.len().min(BEGINNING.len());
    bytes[..length].eq_ignore_ascii_case(&BEGINNING[..length])
}

/// Whether a head is longer than the HTTP library accepts.
fn is_too_large(length: usize) -> bool {
    u32::try_from(length).map_or(true, |length| length > LARGEST_HEAD)
}

/// The length of the first line with its line feed; `None` if the line has no end yet.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|place| place + 1)
}

/// A line without its line feed and the carriage return before it.
fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The length of the first header with its line end and with the lines that continue its value; `None` if no line is
/// left.
fn header_length(headers: &[u8]) -> Option<usize> {
    let mut length = line_end(headers)?;
    let continues = |length: usize| matches!(headers.get(length), Some(b' ' | b'\t'));
    while !without_line_end(&headers[..length]).is_empty() && continues(length) {
        length += line_end(&headers[length..])?;
    }
    Some(length)
}

/// Returns the name of a header without the white space after it, and the value with the lines that continue it. There
/// is no value if the first line has no colon.
fn name_and_value(header: &[u8]) -> (&[u8], Option<&[u8]>) {
    let first_line = &header[..line_end(header).unwrap_or(header.len())];
    match first_line.iter().position(|byte| *byte == b':') {
        Some(colon) => (trim_end(&header[..colon]), Some(&header[colon + 1..])),
        None => (without_line_end(first_line), None),
    }
}

/// Bytes without the spaces and tabs at their end.
fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether the bytes are only white space and line ends.
fn is_white_space(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether the HTTP library refuses a head with this byte within a line.
fn is_refused(byte: u8) -> bool {
    matches!(byte, b'\0' | b'\r')
}

/// Whether a reason phrase must not contain this byte.
fn is_control(byte: u8) -> bool {
    byte != b'\t' && byte.is_ascii_control()
}

/// Appends a header, with a space in place of each refused byte. Returns whether there was a refused byte.
fn push_without_refused(head: &mut Vec<u8>, header: &[u8]) -> bool {
    let begin = head.len();
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let (content, end) = line.split_at(without_line_end(line).len());
        head.extend(content.iter().map(|byte| if is_refused(*byte) { b' ' } else { *byte }));
        head.extend_from_slice(end);
    }
    head[begin..] != *header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mended(head: &str) -> Option<String> {
        match read_head(head.as_bytes()) {
            ReadHead::Head { length, mended, .. } => {
                assert_eq!(length, head.len(), "{head:?}");
                mended.map(|mended| String::from_utf8(mended).unwrap())
            }
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn a_head_that_is_refused_is_mended_and_ends_its_connection() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length : \t\r\n \r\nx: 1\r\n\r\n",
                "HTTP/1.1 200 OK\r\nx: 1\r\nconnection: close\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length:\r\ncontent-length: 2\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n",
            ),
            ("HTTP/1.1 200 OK\r\nx: a\0b\rc\r\r\n\r\n", "HTTP/1.1 200 OK\r\nx: a b c \r\nconnection: close\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nx: a\r\n b\0c\r\n\r\n",
                "HTTP/1.1 200 OK\r\nx: a\r\n b c\r\nconnection: close\r\n\r\n",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length\0: 2\r\n\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\n\0\r\ncontent-length: 2\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n",
            ),
            ("HTTP/1.1 200 O\0K\rx\x01\r\n\r\n", "HTTP/1.1 200 O K x \r\nconnection: close\r\n\r\n"),
            ("HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"),
            ("HTTP/1.1 200\tOK\n\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n\n"),
            ("HTTP/1.1 200; OK\r\n\r\n", "HTTP/1.1 200  OK\r\nconnection: close\r\n\r\n"),
            ("http/1.0 204\r\n\r\n", "HTTP/1.0 204 \r\nconnection: close\r\n\r\n"),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nconnection: close\r\n\r\n",
            ),
            ("\r\n\nHTTP/1.1 200 OK\r\nx:\0\r\n\r\n", "\r\n\nHTTP/1.1 200 OK\r\nx: \r\nconnection: close\r\n\r\n"),
            ("HTTP/1.1 103 Early\r\nx:\0\r\n\r\n", "HTTP/1.1 103 Early\r\nx: \r\n\r\n"),
        ] {
            assert_eq!(mended(head).as_deref(), Some(expected), "{head:?}");
            assert_eq!(mended(expected), None, "a mended head stays: {head:?}");
        }
    }

    #[test]
    fn a_head_with_other_mistakes_or_none_stays_as_it_is() {
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno header\r\n: v\r\n v\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: at once\r\n\t\r\nset-cookie: a=b\x7fc\x01d\r\n\r\n",
            "HTTP/1.1 200\nx:v\n\n",
            "HTTP/1.0 200 Schön\r\n\r\n",
        ] {
            assert_eq!(mended(head), None, "{head:?}");
        }
    }

    #[test]
    fn what_has_no_status_is_left_to_the_http_library() {
        for bytes in [
            "SSH-2.0-OpenSSH_9.9",
            "HTTP/2",
            "HTTP/1.2 200 OK\r\n",
            "HTTP/1.1 OK\r\n",
            "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 2000 OK\r\n",
            "HTTP/1.1 099 OK\r\n",
            "HTTP/1.1\t200 OK\r\n",
            "HTTP/1.1200 OK\r\n",
            "\n",
        ] {
            let expected = if bytes == "\n" { ReadHead::Incomplete } else { ReadHead::Other };
            assert_eq!(read_head(bytes.as_bytes()), expected, "{bytes:?}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(500 << 10));
        assert_eq!(read_head(endless.as_bytes()), ReadHead::Other);
        assert_eq!(read_head(&endless.as_bytes()[..100_000]), ReadHead::Incomplete);
        assert_eq!(read_head(endless.replace(['\r', '\n', ' '], "z").as_bytes()), ReadHead::Other);
    }

    #[test]
    fn an_interim_head_is_followed_by_another() {
        let is_interim = |code: u16| match read_head(format!("HTTP/1.1 {code}\r\n\r\nHTTP").as_bytes()) {
            ReadHead::Head { is_interim, .. } => is_interim,
            other => panic!("{other:?}"),
        };
        assert_eq!([100, 101, 103, 200, 500].map(is_interim), [true, false, true, false, false]);
    }

    proptest! {
        /// Any bytes are read without a panic. The result does not depend on the bytes after the head. If a mended head
        /// is read again, it stays as it is.
        #[test]
        fn any_bytes_are_read(lines in proptest::collection::vec("(HTTP/1.[01] [0-9]{2,4} ?O?|[a-zA-Z\0\r -]{0,4}:?[\0\r\t 0-9a-z]{0,3}|content-length:[ 2]{0,2}|)\r?\n", 0..6), after: Vec<u8>) {
            let text = lines.concat();
            let read = read_head(text.as_bytes());
            if let ReadHead::Head { length, mended, .. } = &read {
                prop_assert_eq!(&read_head(&[text.as_bytes(), &after].concat()), &read);
                for cut in 0..*length {
                    prop_assert_eq!(read_head(&text.as_bytes()[..cut]), ReadHead::Incomplete, "{}", cut);
                }
                if let Some(mended) = mended {
                    let stays =
                        matches!(read_head(mended), ReadHead::Head { mended: None, length, .. } if length == mended.len());
                    prop_assert!(stays, "{mended:?}");
                }
            }
        }

        /// A head that the HTTP library accepts stays as it is.
        #[test]
        fn a_well_formed_head_stays(
            code in 100_u16..1000,
            reason in "[ -~\t]{0,12}",
            headers in proptest::collection::vec(("[a-zA-Z0-9-]{1,12}[ \t]{0,2}", "[ -~\t\u{e9}\x01]{0,20}(\r\n [ -~]{0,5})?"), 0..8),
        ) {
            let lines: String = headers.iter().map(|(name, value)| format!("{name}: v{value}\r\n")).collect();
            let head = format!("HTTP/1.1 {code} {reason}\r\n{lines}\r\n");
            prop_assert_eq!(mended(&head), None);
        }
    }
}
