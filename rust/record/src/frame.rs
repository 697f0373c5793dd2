//! The plan of a record before it is sealed, and the bytes that are authenticated beside it.
//!
//! Writes and reads the record header (RFC 8446 §5.1) and the additional data of both AEAD forms, of which the older
//! is also what a MAC begins with; it does not touch payload bytes.

use crate::content_type::APPLICATION_DATA;
use crate::error::Error;
use crate::suite::{Suite, Version};

/// The most payload bytes that one record carries (RFC 8446 §5.1).
pub const MAX_FRAME_LEN: usize = 1 << 14;

/// Bytes of a record header (RFC 8446 §5.1).
pub const HEADER_LEN: usize = 5;

/// A record before it is sealed: all that varies from one record of a key to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The content type; in TLS 1.3 it travels encrypted.
    pub content_type: u8,
    /// The sequence number; each is sealed at most once under a key.
    pub sequence: u64,
    /// Payload bytes, at most [`MAX_FRAME_LEN`].
    pub payload_len: usize,
    /// Zeros after the inner content type (RFC 8446 §5.4), in TLS 1.3 only; with the payload at most
    /// [`MAX_FRAME_LEN`].
    pub padding_len: usize,
}

impl Frame {
    /// Bytes of the record on the wire.
    ///
    /// # Panics
    /// When the sum overflows.
    #[must_use]
    pub const fn record_size(self, suite: Suite) -> usize {
        suite.record_size(self.payload_len) + self.padding_len
    }

    /// Check the length of a payload that lies elsewhere.
    #[inline]
    pub(crate) fn check_payload(self, payload: &[u8]) -> Result<(), Error> {
        if payload.len() == self.payload_len {
            return Ok(());
        }
        Err(Error::PayloadMismatch {
            expected: self.payload_len,
            actual: payload.len(),
        })
    }

    /// Check the frame and the size of the buffer that its record is to fill.
    pub(crate) fn check(self, suite: Suite, record_size: usize) -> Result<(), Error> {
        if self.payload_len > MAX_FRAME_LEN {
            return Err(Error::PayloadLen {
                len: self.payload_len,
            });
        }
        let is_padded = self.padding_len > 0;
        if is_padded && suite.version() != Version::Tls13
            || self.padding_len > MAX_FRAME_LEN - self.payload_len
        {
            return Err(Error::PaddingLen {
                len: self.padding_len,
            });
        }
        if record_size != self.record_size(suite) {
            return Err(Error::RecordSize {
                expected: self.record_size(suite),
                actual: record_size,
            });
        }
        if self.content_type == 0 && suite.version() == Version::Tls13 {
            return Err(Error::ContentType);
        }
        check_sequence(self.sequence)
    }

    /// The header of the record on the wire; the frame has passed [`check`](Self::check).
    pub(crate) fn header(self, suite: Suite) -> [u8; HEADER_LEN] {
        let content_type = match suite.version() {
            Version::Tls13 => APPLICATION_DATA,
            Version::Tls10 | Version::Tls11 | Version::Tls12 => self.content_type,
        };
        let [major, minor] = suite.version().wire();
        let [high, low] = low_bytes(self.record_size(suite) - HEADER_LEN);
        [content_type, major, minor, high, low]
    }
}

/// The header of a received record, after its checks against the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    bytes: [u8; HEADER_LEN],
    text_len: usize,
}

impl RecordHeader {
    /// Read and check a header; the rest of the record need not have come yet.
    ///
    /// The sizes are RFC 5246 §6.2.3 (payload and the overhead of the suite) and RFC 8446 §5.2.
    ///
    /// # Errors
    /// [`Error::WrongVersion`], [`Error::OuterType`], [`Error::RecordOverflow`] or [`Error::RecordTooShort`].
    pub fn parse(suite: Suite, header: [u8; HEADER_LEN]) -> Result<Self, Error> {
        let [outer_type, major, minor, high, low] = header;
        let actual = [major, minor];
        if actual != suite.version().wire() {
            let [_, expected_minor] = suite.version().wire();
            return Err(Error::WrongVersion {
                actual,
                expected_minor,
            });
        }
        // RFC 8446 §5.2.
        if suite.version() == Version::Tls13 && outer_type != APPLICATION_DATA {
            return Err(Error::OuterType { actual: outer_type });
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let maximum = match suite.version() {
            Version::Tls13 => MAX_FRAME_LEN + MAX_EXPANSION_13,
            Version::Tls10 | Version::Tls11 | Version::Tls12 => {
                suite.record_size(MAX_FRAME_LEN) - HEADER_LEN + suite.extra_padding_len()
            }
        };
        if length > maximum {
            return Err(Error::RecordOverflow {
                actual: length,
                maximum,
            });
        }
        let minimum = suite.record_size(0);
        if HEADER_LEN + length < minimum {
            return Err(Error::RecordTooShort {
                actual: HEADER_LEN + length,
                minimum,
            });
        }
        Ok(Self {
            bytes: header,
            text_len: HEADER_LEN + length - suite.header_size() - suite.tag_len(),
        })
    }

    /// Read and check the header of one whole record.
    pub(crate) fn of_record(suite: Suite, record: &[u8]) -> Result<Self, Error> {
        let Some(&header) = record.first_chunk() else {
            return Err(Error::RecordTooShort {
                actual: record.len(),
                minimum: suite.record_size(0),
            });
        };
        let header = Self::parse(suite, header)?;
        if record.len() != header.record_size() {
            return Err(Error::RecordSize {
                expected: header.record_size(),
                actual: record.len(),
            });
        }
        Ok(header)
    }

    /// Bytes of the whole record, this header among them.
    #[must_use]
    pub fn record_size(self) -> usize {
        let [.., high, low] = self.bytes;
        HEADER_LEN + usize::from(u16::from_be_bytes([high, low]))
    }

    /// The content type as it travels: that of the payload, but 23 for every record of TLS 1.3.
    #[must_use]
    pub const fn outer_type(self) -> u8 {
        self.bytes[0]
    }

    /// Bytes that are decrypted: the payload and what is encrypted with it, which is the inner content type and padding
    /// in TLS 1.3, MAC and padding in AES-CBC, nothing for other suites. [`Open::open_into`](crate::Open::open_into)
    /// needs room for them.
    #[must_use]
    pub const fn text_len(self) -> usize {
        self.text_len
    }

    /// The additional data that an AEAD record was sealed with.
    pub(crate) fn aad(self, suite: Suite, sequence: u64) -> Aad {
        self.aad_of(suite, sequence, self.text_len)
    }

    /// The additional data for `len` bytes of text; takes the same time for every `len`.
    pub(crate) fn aad_of(self, suite: Suite, sequence: u64, len: usize) -> Aad {
        Aad::new(suite, sequence, self.bytes, len)
    }
}

/// Bytes that a TLS 1.3 record may be longer than its payload (RFC 8446 §5.2).
const MAX_EXPANSION_13: usize = 256;

/// Refuse the last sequence number: it must not wrap, and the one after it would (RFC 8446 §5.3).
pub(crate) const fn check_sequence(sequence: u64) -> Result<(), Error> {
    match sequence {
        u64::MAX => Err(Error::SequenceExhausted),
        _ => Ok(()),
    }
}

/// Bytes that a MAC of TLS 1.0 to 1.2 covers before the payload (RFC 5246 §6.2.3.1).
pub(crate) const MAC_PREFIX_LEN: usize = 13;

/// The additional data of one record.
pub(crate) enum Aad {
    /// Sequence number, type, version and payload length (RFC 5246 §6.2.3.1 and §6.2.3.3).
    Tls12([u8; MAC_PREFIX_LEN]),
    /// The record header as it travels (RFC 8446 §5.2).
    Tls13([u8; HEADER_LEN]),
}

impl Aad {
    /// The additional data of a record with this header; `text_len` is the length of what is authenticated.
    pub(crate) fn new(
        suite: Suite,
        sequence: u64,
        header: [u8; HEADER_LEN],
        text_len: usize,
    ) -> Self {
        if suite.version() == Version::Tls13 {
            return Self::Tls13(header);
        }
        let [content_type, major, minor, ..] = header;
        let [high, low] = low_bytes(text_len);
        let mut bytes = [0; MAC_PREFIX_LEN];
        bytes[..8].copy_from_slice(&sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&[content_type, major, minor, high, low]);
        Self::Tls12(bytes)
    }
}

impl AsRef<[u8]> for Aad {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Tls12(bytes) => bytes,
            Self::Tls13(bytes) => bytes,
        }
    }
}

/// The last two bytes in network order of a length below 2^16, which every length inside a record is.
const fn low_bytes(len: usize) -> [u8; 2] {
    let [.., high, low] = len.to_be_bytes();
    [high, low]
}
