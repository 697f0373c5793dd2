//! Every way in which a record, a key or a handshake message can be refused.
//!
//! A message names the value that was refused and what would be accepted. It never holds key material, and a
//! record whose tag does not verify is [`Error::BadRecord`] without any detail (RFC 8446 §5.2).

use crate::alert;
use crate::frame::MAX_FRAME_LEN;
use crate::suite::{Algorithm, Mac, Version};

/// Why an operation of this crate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cipher is not defined for this protocol version.
    #[error("{algorithm} is not defined for {version}; use {}", algorithm.versions())]
    UnsupportedSuite {
        /// The version that was asked for.
        version: Version,
        /// The cipher that was asked for.
        algorithm: Algorithm,
    },
    /// The cipher does not authenticate by itself.
    #[error("{algorithm} needs a MAC: HMAC-SHA1, or HMAC-SHA256 or HMAC-SHA384 in TLS 1.2")]
    MacRequired {
        /// The cipher that was asked for.
        algorithm: Algorithm,
    },
    /// The cipher authenticates by itself.
    #[error("{algorithm} is an AEAD and takes no MAC")]
    MacUnexpected {
        /// The cipher that was asked for.
        algorithm: Algorithm,
    },
    /// The MAC is not defined for this protocol version.
    #[error("{mac} with AES-CBC is not defined for {version}; use HMAC-SHA1, or TLS 1.2")]
    UnsupportedMac {
        /// The version that was asked for.
        version: Version,
        /// The MAC that was asked for.
        mac: Mac,
    },
    /// A key has the wrong number of bytes.
    #[error("{algorithm} takes a key of {expected} bytes, not {actual}")]
    KeyLen {
        /// The cipher the key is for.
        algorithm: Algorithm,
        /// Bytes it takes.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// An implicit IV has the wrong number of bytes.
    #[error("{algorithm} in {version} takes an IV of {expected} bytes, not {actual}")]
    IvLen {
        /// The cipher the IV is for.
        algorithm: Algorithm,
        /// The version, which decides the length for AES-GCM.
        version: Version,
        /// Bytes it takes.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// A MAC key has the wrong number of bytes.
    #[error("{}, not {actual}", mac_key_rule(*algorithm, *mac))]
    MacKeyLen {
        /// The cipher of the suite.
        algorithm: Algorithm,
        /// The MAC the key is for; an AEAD has none.
        mac: Option<Mac>,
        /// Bytes that were given.
        actual: usize,
    },
    /// A secret has a length that belongs to no hash of the key schedule.
    #[error("a TLS 1.3 traffic secret has 32 (SHA-256) or 48 (SHA-384) bytes, not {actual}")]
    SecretLen {
        /// Bytes that were given.
        actual: usize,
    },
    /// The key schedule asked for belongs to another protocol version.
    #[error("{version} does not derive its keys this way; {remedy}")]
    Schedule {
        /// The version of the suite that was given.
        version: Version,
        /// The function to use instead.
        remedy: &'static str,
    },
    /// More output was asked of a key derivation than it can give.
    #[error("HKDF-Expand-Label cannot give {len} bytes from label {label:?}; ask for less")]
    DerivationLen {
        /// The label of the derivation.
        label: String,
        /// Bytes that were asked for.
        len: usize,
    },
    /// No provider of this name was compiled in.
    #[error("no cipher provider is called {name:?}; compiled in: {}", known.join(", "))]
    UnknownProvider {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: &'static [&'static str],
    },
    /// The provider refused an operation that this crate considers valid.
    #[error("the cipher provider {provider} refused to {action}")]
    Provider {
        /// Name of the provider.
        provider: &'static str,
        /// What it was asked to do.
        action: &'static str,
    },
    /// A backend that came at run time failed, or did what it must not do.
    #[error("the backend {backend} failed: {reason}")]
    Backend {
        /// Its name.
        backend: Box<str>,
        /// What it did.
        reason: Box<str>,
    },
    /// An operation for AEAD suites was asked of another one.
    #[error("{algorithm} is no AEAD; take a provider compiled in for it")]
    NotAead {
        /// The algorithm of the suite.
        algorithm: Algorithm,
    },
    /// More payload than a record may carry (RFC 8446 §5.1).
    #[error("a record carries at most {MAX_FRAME_LEN} payload bytes, not {len}")]
    PayloadLen {
        /// Payload bytes that were given.
        len: usize,
    },
    /// Padding where there is none, or more than fits beside the payload (RFC 8446 §5.4).
    #[error(
        "{len} bytes of padding: TLS 1.3 alone has any, up to {MAX_FRAME_LEN} with the payload"
    )]
    PaddingLen {
        /// Padding bytes that were asked for.
        len: usize,
    },
    /// A payload that is not as long as its frame says.
    #[error("the frame says {expected} payload bytes, the payload has {actual}")]
    PayloadMismatch {
        /// Bytes that the frame says.
        expected: usize,
        /// Bytes of the payload.
        actual: usize,
    },
    /// A content type that no peer could read back (RFC 8446 §5.4: zero is padding).
    #[error("content type 0 cannot be sent in TLS 1.3, where it would read as padding")]
    ContentType,
    /// A buffer does not have the size that the frame, or the length field of the record, says.
    #[error("the record takes {expected} bytes, the buffer has {actual}")]
    RecordSize {
        /// Bytes that the record takes.
        expected: usize,
        /// Bytes of the buffer.
        actual: usize,
    },
    /// The last sequence number; the key must be changed before (RFC 8446 §5.3).
    #[error("the sequence numbers of this key are used up; change the key")]
    SequenceExhausted,
    /// A record whose IV is the end of another record that is not the one before (RFC 2246 §6.2.3.2).
    #[error(
        "record {actual} cannot come now, record {expected} is next: each needs the end of the one before"
    )]
    OutOfOrder {
        /// Sequence number of the record that is next.
        expected: u64,
        /// Sequence number that was given.
        actual: u64,
    },
    /// A record begins with another version than the session's.
    #[error("the record has version {}.{}, the session has 3.{expected_minor}", actual[0], actual[1])]
    WrongVersion {
        /// Version bytes of the record.
        actual: [u8; 2],
        /// Second version byte of the session's records.
        expected_minor: u8,
    },
    /// A protected TLS 1.3 record whose outer type is not application data (RFC 8446 §5.2).
    #[error("a TLS 1.3 record has outer content type {actual}, not 23")]
    OuterType {
        /// The outer type of the record.
        actual: u8,
    },
    /// A record too short for its header, nonce and tag.
    #[error("the record has {actual} bytes and the suite needs at least {minimum}")]
    RecordTooShort {
        /// Bytes of the record.
        actual: usize,
        /// Bytes that an empty record takes.
        minimum: usize,
    },
    /// A record longer than the protocol allows (RFC 8446 §5.2).
    #[error("the record has {actual} bytes after its header, at most {maximum} are allowed")]
    RecordOverflow {
        /// Bytes counted.
        actual: usize,
        /// Bytes allowed.
        maximum: usize,
    },
    /// The buffer for what a record holds is too small; nothing was opened.
    #[error("the output has {actual} bytes and the record needs {needed}")]
    OutputLen {
        /// Bytes of the output.
        actual: usize,
        /// Bytes that the record decrypts to.
        needed: usize,
    },
    /// The record does not authenticate.
    #[error("the record could not be opened")]
    BadRecord,
    /// A TLS 1.3 record that holds nothing but padding (RFC 8446 §5.4).
    #[error("the record has no content type, only padding")]
    NoContentType,
    /// A handshake message ends too early.
    #[error("the {message} ends inside its {field}")]
    Truncated {
        /// Name of the handshake message.
        message: &'static str,
        /// The field that is not whole.
        field: &'static str,
    },
    /// A handshake message is not what it should be.
    #[error("malformed {message}: {reason}")]
    Malformed {
        /// Name of the handshake message.
        message: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// [`Error::Backend`] of this name.
    #[must_use]
    pub fn backend(name: &str, reason: &str) -> Self {
        Self::Backend {
            backend: name.into(),
            reason: reason.into(),
        }
    }

    /// The alert to answer the peer with (RFC 8446 §6), or None where the fault is on this side.
    #[must_use]
    pub const fn alert(&self) -> Option<u8> {
        match self {
            Self::OuterType { .. } | Self::NoContentType => Some(alert::UNEXPECTED_MESSAGE),
            Self::BadRecord | Self::RecordTooShort { .. } => Some(alert::BAD_RECORD_MAC),
            Self::RecordOverflow { .. } => Some(alert::RECORD_OVERFLOW),
            Self::Truncated { .. } | Self::Malformed { .. } => Some(alert::DECODE_ERROR),
            Self::WrongVersion { .. } => Some(alert::PROTOCOL_VERSION),
            _ => None,
        }
    }
}

fn mac_key_rule(algorithm: Algorithm, mac: Option<Mac>) -> String {
    match mac {
        Some(mac) => format!("{mac} takes a key of {} bytes", mac.len()),
        None => format!("{algorithm} takes a MAC key of 0 bytes"),
    }
}
