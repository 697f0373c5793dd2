//! Sealing and opening of whole records, one file per construction.
//!
//! The traits here are what the rest of the world sees; which library does the arithmetic is the business of
//! [`provider`](crate::provider).

pub(crate) mod aead;

use crate::error::Error;
use crate::frame::Frame;
use crate::suite::Suite;

/// Seals records under one write key.
///
/// All methods take `&self`: the frame says everything that varies, so that several threads can seal records of
/// one connection. Whoever calls keeps the promise that a sequence number is sealed once.
pub trait Seal: Send + Sync {
    /// The suite of the key.
    fn suite(&self) -> Suite;

    /// Seal a record whose payload already lies in its place.
    ///
    /// `record` has exactly `record_size(payload_len)` bytes, the payload at `record[header_size..][..payload_len]`.
    /// Header and trailer are written, the payload is encrypted. On an error after the checks `record` is zeros.
    ///
    /// # Errors
    /// [`Error::PayloadLen`], [`Error::RecordSize`], [`Error::ContentType`], [`Error::SequenceExhausted`], or
    /// [`Error::Provider`].
    fn seal_in_place(&self, frame: Frame, record: &mut [u8]) -> Result<(), Error>;

    /// Seal a record whose payload lies elsewhere: in one pass where the provider can, else by a copy.
    ///
    /// # Errors
    /// As [`seal_in_place`](Self::seal_in_place); also [`Error::PayloadMismatch`] when `payload` is not as long as the
    /// frame says.
    fn seal_from(&self, frame: Frame, payload: &[u8], record: &mut [u8]) -> Result<(), Error>;
}

/// Opens records under one read key.
pub trait Open: Send + Sync {
    /// The suite of the key.
    fn suite(&self) -> Suite;

    /// Open one whole record in its own memory.
    ///
    /// When the record does not authenticate its bytes after the header are zeros.
    ///
    /// # Errors
    /// What is wrong with the header, [`Error::BadRecord`] without detail, [`Error::NoContentType`],
    /// [`Error::RecordOverflow`] or [`Error::SequenceExhausted`].
    fn open_in_place<'r>(&self, sequence: u64, record: &'r mut [u8]) -> Result<Opened<'r>, Error>;
}

/// What a record held.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'r> {
    /// The content type; in TLS 1.3 the inner one.
    pub content_type: u8,
    /// The payload, inside the record that was opened.
    pub payload: &'r mut [u8],
}
