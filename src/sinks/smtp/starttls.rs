//! Begins a connection without encryption, and encrypts it by STARTTLS.
//!
//! Invariant: no byte that was read before the TLS handshake is used after the handshake.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answers::unready;
use crate::sinks::Attempt;
use crate::sinks::server::{Connector, ServerStream, failed, words};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 16 << 10;

/// Reads the greeting, and encrypts the connection if the server offers STARTTLS. `must`: whether the attempt fails if
/// the server does not offer STARTTLS.
///
/// # Errors
/// The failed attempt.
pub(super) async fn begin(
    mut stream: ServerStream,
    connector: &Connector,
    must: bool,
) -> Result<ServerStream, Attempt> {
    expect(&mut stream, 220).await?;
    let lines = ask(&mut stream, "EHLO [127.0.0.1]\r\n", 250).await?;
    let offers = lines.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS"));
    if offers {
        ask(&mut stream, "STARTTLS\r\n", 220).await?;
        return connector.encrypt(stream).await.map_err(failed);
    }
    if must {
        let answer = "the server offers no STARTTLS: use smtps://, or allow_plaintext if the way there is safe";
        return Err(Attempt::Gone { status: None, answer: answer.to_owned() });
    }
    Ok(stream)
}

async fn ask(stream: &mut ServerStream, command: &str, code: u16) -> Result<Vec<String>, Attempt> {
    stream.write_all(command.as_bytes()).await.map_err(|error| failed(words(&error)))?;
    stream.flush().await.map_err(|error| failed(words(&error)))?;
    expect(stream, code).await
}

/// Reads an answer, and returns its lines without their codes.
async fn expect(stream: &mut ServerStream, expected: u16) -> Result<Vec<String>, Attempt> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        // The answer is read byte by byte, so that no byte that comes after it is read here.
        let byte = stream.read_u8().await.map_err(|error| failed(words(&error)))?;
        length += 1;
        if length > LONGEST_ANSWER {
            return Err(failed("the answer is not SMTP"));
        }
        if byte != b'\n' {
            line.push(byte);
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        let Some((Ok(code), rest)) = text.split_at_checked(3).map(|(code, rest)| (code.parse::<u16>(), rest)) else {
            return Err(failed("the answer is not SMTP"));
        };
        lines.push(rest.get(1..).unwrap_or_default().trim().to_owned());
        if !rest.starts_with('-') {
            return if code == expected { Ok(lines) } else { Err(unready(code)) };
        }
    }
}
