//! Sealing and opening of whole records, one file per construction.
//!
//! The traits here are what the rest of the world sees; which library does the arithmetic is the business of
//! [`provider`](crate::provider).

pub(crate) mod aead;
pub(crate) mod cbc;
#[cfg(test)]
mod cbc_vectors;
mod constant_time;
mod iv;

use std::sync::Arc;

use crate::error::Error;
use crate::frame::Frame;
use crate::suite::Suite;

/// Seals records under one write key.
///
/// All methods take `&self`: the frame says everything that varies, so that several threads can seal records of
/// one connection, in any order unless the suite is [`sequential`](Suite::sequential). Whoever calls keeps the
/// promise that a sequence number is sealed once.
pub trait Seal: Send + Sync {
    /// The suite of the key.
    fn suite(&self) -> Suite;

    /// Seal a record whose payload already lies in its place.
    ///
    /// `record` has exactly the bytes that the frame takes ([`Frame::record_size`]), the payload at `record[header_size..][..payload_len]`.
    /// Header and trailer are written, the payload is encrypted. On an error after the checks `record` is zeros.
    ///
    /// # Errors
    /// [`Error::PayloadLen`], [`Error::PaddingLen`], [`Error::RecordSize`], [`Error::ContentType`], [`Error::SequenceExhausted`],
    /// [`Error::OutOfOrder`], or [`Error::Provider`].
    fn seal_in_place(&self, frame: Frame, record: &mut [u8]) -> Result<(), Error>;

    /// Seal a record whose payload lies elsewhere: in one pass where the provider can, else by a copy.
    ///
    /// # Errors
    /// As [`seal_in_place`](Self::seal_in_place); also [`Error::PayloadMismatch`] when `payload` is not as long as the
    /// frame says.
    fn seal_from(&self, frame: Frame, payload: &[u8], record: &mut [u8]) -> Result<(), Error>;

    /// Seal records whose payload already lies in its place, of which each is as for
    /// [`seal_in_place`](Self::seal_in_place). On an error nothing of them is to be used.
    ///
    /// # Errors
    /// As [`seal_in_place`](Self::seal_in_place).
    fn seal_batch(&self, batch: &mut [(Frame, &mut [u8])]) -> Result<(), Error> {
        batch
            .iter_mut()
            .try_for_each(|(frame, record)| self.seal_in_place(*frame, record))
    }

    /// Whether sealing may wait for others, so that the caller must hold no lock.
    fn may_wait(&self) -> bool {
        false
    }
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
    /// [`Error::RecordOverflow`], [`Error::SequenceExhausted`] or [`Error::OutOfOrder`].
    fn open_in_place<'r>(&self, sequence: u64, record: &'r mut [u8]) -> Result<Opened<'r>, Error>;

    /// Open one whole record into `out`: in one pass where the provider can, else by a copy.
    ///
    /// `out` needs room for all that is decrypted ([`RecordHeader::text_len`](crate::RecordHeader::text_len)), which is
    /// more than the payload in TLS 1.3 and AES-CBC. The payload is at the beginning of `out`, the rest of that room is
    /// overwritten, and what lies after it is not touched. When the record does not authenticate that room is zeros. A caller with room
    /// for the payload only opens in place and copies.
    ///
    /// # Errors
    /// As [`open_in_place`](Self::open_in_place); also [`Error::OutputLen`], with `out` untouched.
    fn open_into<'o>(
        &self,
        sequence: u64,
        record: &[u8],
        out: &'o mut [u8],
    ) -> Result<Opened<'o>, Error>;

    /// Open whole records in their own memory, of which each is as for [`open_in_place`](Self::open_in_place). The results
    /// are in their order; they may end with the first error.
    fn open_batch<'r>(&self, batch: Vec<(u64, &'r mut [u8])>) -> Vec<Result<Opened<'r>, Error>> {
        batch
            .into_iter()
            .map(|(sequence, record)| self.open_in_place(sequence, record))
            .collect()
    }

    /// Whether opening may wait for others, so that the caller must hold no lock.
    fn may_wait(&self) -> bool {
        false
    }

    /// An opener that goes on from here by itself; the same one where nothing is remembered between records.
    fn clone_state(self: Arc<Self>) -> Arc<dyn Open>;

    /// The IV of the next record where it is the end of the last one opened (TLS 1.0 AES-CBC), else None.
    fn chained_iv(&self) -> Option<[u8; 16]> {
        None
    }
}

/// What a record held.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'r> {
    /// The content type; in TLS 1.3 the inner one.
    pub content_type: u8,
    /// The payload, inside the record that was opened or at the beginning of the output.
    pub payload: &'r mut [u8],
}

/// The first `needed` bytes of an output.
pub(crate) fn room(out: &mut [u8], needed: usize) -> Result<&mut [u8], Error> {
    let actual = out.len();
    out.get_mut(..needed)
        .ok_or(Error::OutputLen { actual, needed })
}

/// Nothing of a failed operation stays readable: neither plaintext nor unverified text.
pub(crate) fn wiped_on_error<T>(result: Result<T, Error>, bytes: &mut [u8]) -> Result<T, Error> {
    if result.is_err() {
        bytes.fill(0);
    }
    result
}
