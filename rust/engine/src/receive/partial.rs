//! Where a record ends, and whether it can be one: FreeBSD's rules of what ends a connection and what loses a record.
//!
//! | what comes | verdict |
//! |---|---|
//! | fewer bytes than a record's header, or than the record | incomplete |
//! | a version that is not the session's; in TLS 1.3 an outer type other than 23 | EINVAL, ends the connection |
//! | shorter than the suite's header, or longer than any record | EMSGSIZE, ends the connection |
//! | too short for its cipher, or AES-CBC that is not whole blocks | EMSGSIZE, loses the record |

use ktls_record::{Error as RecordError, HEADER_LEN, RecordHeader, Suite};
use rustix::io::Errno;

use crate::error::Error;

/// What the bytes at the beginning of a record say.
pub(super) enum Framed {
    /// At least so many bytes are missing.
    Incomplete { missing: usize },
    /// A whole record that can be opened.
    Whole(RecordHeader),
    /// A whole record that cannot be opened, of so many bytes.
    Unopenable { size: usize, error: Error },
    /// No record begins here.
    Invalid(Error),
}

/// See the head of this file.
pub(super) fn frame(suite: Suite, bytes: &[u8]) -> Framed {
    let Some(&header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Framed::Incomplete {
            missing: HEADER_LEN - bytes.len(),
        };
    };
    let [.., high, low] = header;
    let size = HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
    let parsed = RecordHeader::parse(suite, header);
    let verdict = match parsed {
        Err(cause @ RecordError::RecordTooShort { .. }) if size >= suite.header_size() => {
            Framed::Unopenable {
                size,
                error: lost(Errno::MSGSIZE, cause),
            }
        }
        Err(cause @ (RecordError::WrongVersion { .. } | RecordError::OuterType { .. })) => {
            return Framed::Invalid(not_a_record(Errno::INVAL, cause));
        }
        Err(cause) => return Framed::Invalid(not_a_record(Errno::MSGSIZE, cause)),
        Ok(header) if suite.mac().is_some() && header.text_len() % BLOCK_LEN != 0 => {
            Framed::Unopenable {
                size,
                error: lost(Errno::MSGSIZE, RecordError::BadRecord),
            }
        }
        Ok(header) => Framed::Whole(header),
    };
    match size.checked_sub(bytes.len()) {
        Some(missing @ 1..) => Framed::Incomplete { missing },
        _ => verdict,
    }
}

/// Bytes of an AES block.
const BLOCK_LEN: usize = 16;

pub(super) fn lost(errno: Errno, cause: RecordError) -> Error {
    Error::RecordLost { errno, cause }
}

pub(super) fn not_a_record(errno: Errno, cause: RecordError) -> Error {
    Error::NotARecord { errno, cause }
}
