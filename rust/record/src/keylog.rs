//! One line of an NSS key log: `LABEL <client random> <secret>`, both in hexadecimal.
//!
//! Reads any label; which secret means what is for the caller. Finding the lines in a file is not done here.

use core::fmt;

use zeroize::Zeroizing;

/// A secret of a handshake, as logged.
///
/// `Debug` does not show the secret.
#[derive(Clone)]
pub struct Line {
    /// The label, for example `SERVER_TRAFFIC_SECRET_0`.
    pub label: String,
    /// The client random of the handshake.
    pub client_random: [u8; 32],
    /// The secret, wiped when dropped.
    pub secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// What a line says of the handshake that its client random names.
///
/// `Debug` does not show the secret.
#[derive(Clone)]
pub struct LoggedSecret {
    /// The label, for example `SERVER_TRAFFIC_SECRET_0`.
    pub label: String,
    /// The secret, wiped when dropped.
    pub secret: Zeroizing<Vec<u8>>,
}

impl From<Line> for LoggedSecret {
    fn from(line: Line) -> Self {
        Self {
            label: line.label,
            secret: line.secret,
        }
    }
}

impl fmt::Debug for LoggedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedSecret")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// The secret in a line, with or without its line end.
///
/// None for comments, blank lines, lines whose second field is no client random (`RSA`), and everything malformed.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut fields = line.split(|&byte| byte == b' ');
    let (label, random, secret) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || !is_label(label) {
        return None;
    }
    let mut client_random = [0; 32];
    decode_hex(random, &mut client_random)?;
    if secret.is_empty() || secret.len() > 2 * MAX_SECRET_LEN {
        return None;
    }
    let mut bytes = Zeroizing::new(vec![0; secret.len() / 2]);
    decode_hex(secret, &mut bytes)?;
    let label = core::str::from_utf8(label).ok()?.to_owned();
    Some(Line {
        label,
        client_random,
        secret: bytes,
    })
}

/// Longer than any secret of TLS 1.0 to 1.3 (a hash has at most 64 bytes).
const MAX_SECRET_LEN: usize = 128;

fn is_label(label: &[u8]) -> bool {
    !label.is_empty()
        && label
            .iter()
            .all(|&byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Decode exactly `out.len()` bytes.
fn decode_hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != 2 * out.len() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(())
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
